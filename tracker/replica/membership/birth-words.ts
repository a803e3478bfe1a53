// What replicas ask each other outside of Raft, and what they answer: who are you, take this record, let me
// in, let me go. JSON, one question and one answer a connection; whoever asks has proved the network key.
// Refuses: by null, whatever is malformed.

import type { Pledge } from './birth.ts'
import type { Member } from './directory.ts'

export type Question =
  /** Who are you? */
  | { readonly ask: 'who' }
  /** Here is the record of the cluster that we form. */
  | { readonly ask: 'pledge'; readonly pledge: Pledge }
  /** What is the record of your cluster? For a newcomer, before it chooses an ID. */
  | { readonly ask: 'record'; readonly clusterId: string }
  /** Add me. Safe to repeat. */
  | {
      readonly ask: 'join'
      readonly clusterId: string
      readonly id: number
      readonly name: string
      readonly address: string
      readonly learner: boolean
      /** The highest level that it supports; the first version did not say. */
      readonly level?: number
    }
  /** Remove me: I am being stopped for good. Safe to repeat. */
  | { readonly ask: 'leave'; readonly clusterId: string; readonly id: number }

export type Said =
  | {
      readonly is: 'empty'
      readonly name: string
      readonly initialMembers: readonly string[]
      /** The highest level that it supports; the first version did not say. */
      readonly level?: number
    }
  | {
      readonly is: 'forming'
      readonly name: string
      readonly clusterId: string
      readonly initialMembers: readonly string[]
    }
  | { readonly is: 'member'; readonly name: string; readonly clusterId: string; readonly id: number }
  /** `birth`: as in the identity, keys and all. */
  | {
      readonly is: 'record'
      readonly clusterId: string
      readonly birth: unknown
      readonly members: readonly Member[]
    }
  /** Done: added, or removed. */
  | { readonly is: 'done'; readonly sentence: string; readonly members: readonly Member[] }
  /** Ask the leader. */
  | { readonly is: 'elsewhere'; readonly name: string; readonly address: string; readonly sentence: string }
  /** Ask again soon. */
  | { readonly is: 'later'; readonly sentence: string }
  /** `final`: asking again changes nothing. */
  | { readonly is: 'refused'; readonly sentence: string; readonly final: boolean }

export const encodeQuestion = (question: Question): Uint8Array => encode(question)
export const encodeSaid = (said: Said): Uint8Array => encode(said)

const encode = (value: unknown): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ v: 1, ...(value as object) }))

const FIELDS: Record<string, Record<string, 'string' | 'number' | 'boolean' | 'object'>> = {
  who: {},
  pledge: { pledge: 'object' },
  record: { clusterId: 'string' },
  join: { clusterId: 'string', id: 'number', name: 'string', address: 'string', learner: 'boolean' },
  leave: { clusterId: 'string', id: 'number' },
  empty: { name: 'string', initialMembers: 'object' },
  forming: { name: 'string', clusterId: 'string', initialMembers: 'object' },
  member: { name: 'string', clusterId: 'string', id: 'number' },
  'is record': { clusterId: 'string', birth: 'object', members: 'object' },
  done: { sentence: 'string', members: 'object' },
  elsewhere: { name: 'string', address: 'string', sentence: 'string' },
  later: { sentence: 'string' },
  refused: { sentence: 'string', final: 'boolean' },
}

export const decodeQuestion = (bytes: Uint8Array): Question | null => {
  const value = parse(bytes)
  if (value === null || typeof value.ask !== 'string' || !fits(value, value.ask)) return null
  if (!isLevel(value.level)) return null
  if (value.ask === 'pledge' && !isPledge(value.pledge)) return null
  return value as Question
}

export const decodeSaid = (bytes: Uint8Array): Said | null => {
  const value = parse(bytes)
  if (value === null || typeof value.is !== 'string') return null
  if (!fits(value, value.is === 'record' ? 'is record' : value.is)) return null
  if (!isLevel(value.level)) return null
  for (const key of ['members', 'initialMembers'])
    if (value[key] !== undefined && !Array.isArray(value[key])) return null
  return value as Said
}

const fits = (value: Record<string, unknown>, kind: string): boolean => {
  const fields = Object.hasOwn(FIELDS, kind) ? FIELDS[kind] : undefined
  if (fields === undefined) return false
  return Object.entries(fields).every(([key, type]) => typeof value[key] === type && value[key] !== null)
}

const isLevel = (level: unknown): boolean =>
  level === undefined || (Number.isSafeInteger(level) && (level as number) > 0)

const isPledge = (value: unknown): boolean => {
  const p = value as Record<string, unknown>
  if (!isLevel(p.level)) return false
  if (typeof p.clusterId !== 'string' || !Array.isArray(p.initialMembers) || p.birth === undefined)
    return false
  return p.initialMembers.every(
    (m: unknown) =>
      typeof m === 'object' &&
      m !== null &&
      typeof (m as Record<string, unknown>).name === 'string' &&
      Number.isSafeInteger((m as Record<string, unknown>).id),
  )
}

const parse = (bytes: Uint8Array): Record<string, unknown> | null => {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (typeof value !== 'object' || value === null) return null
    return (value as Record<string, unknown>).v === 1 ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}
