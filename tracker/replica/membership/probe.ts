// Questions to a replica from somebody who is no member of its cluster, or not yet: one connection, one
// question, one answer. An empty replica asks every named member who it is before it does anything
// (birth.ts). Refuses: to answer anybody without the network key. What other questions there are is the
// owner's affair.

import type { LookupFunction, Socket } from 'node:net'
import { dial, type Security } from '../transport/dial.ts'
import { WireClock } from '../transport/echo.ts'
import { ANSWER, HEADER_BYTES, MAX_FRAME_BYTES, QUESTION } from '../transport/frame.ts'
import { Pen } from '../transport/pen.ts'
import type { Address, Self } from '../transport/transport.ts'
import { WHO } from '../transport/who.ts'
import { newCounters, STRANGER_BODY_BYTES, Wire } from '../transport/wire.ts'
import type { Answer } from './birth.ts'

/** From the look-up of the name to the answer, milliseconds. */
const ASK_MS = 3000

export type AskOptions = {
  readonly security: Security
  readonly now: () => number
  readonly timeoutMs?: number
  readonly lookup?: LookupFunction
}

/** Nobody answered; the message says why. `wrongKey`: somebody is there, with another network key. */
export class AskFailed extends Error {
  override readonly name = 'AskFailed'
  readonly wrongKey: boolean
  constructor(sentence: string, wrongKey: boolean) {
    super(sentence)
    this.wrongKey = wrongKey
  }
}

/**
 * One question, at most 64 KiB. Rejects with AskFailed. Tries all keys before it says that the key is wrong.
 */
export const ask = async (address: Address, question: Uint8Array, o: AskOptions): Promise<Uint8Array> => {
  if (question.length > STRANGER_BODY_BYTES) throw new RangeError(`a question of ${question.length} bytes`)
  const keys = o.security === 'plain' ? 1 : o.security().length
  let failed = new AskFailed('there is no network key', true)
  for (let key = 0; key < keys; key++)
    try {
      return await attempt(address, question, o, key)
    } catch (error) {
      if (!(error instanceof AskFailed) || !error.wrongKey) throw error
      failed = error
    }
  throw failed
}

/** Nobody in particular. */
const NOBODY: Self = { clusterId: '', id: 0, name: '', level: 0, incarnation: 0 }

const attempt = (address: Address, question: Uint8Array, o: AskOptions, key: number): Promise<Uint8Array> => {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  const { security, lookup, now, timeoutMs = ASK_MS } = o
  const fail = (sentence: string, wrongKey = false): void => reject(new AskFailed(sentence, wrongKey))
  const opened = (socket: Socket): void => {
    const wire: Wire = new Wire(socket, 2 * STRANGER_BODY_BYTES, newCounters(), now, {
      frame: (frame) => {
        if (frame.kind === ANSWER) resolve(Uint8Array.from(frame.body))
        wire.close('answered')
        return undefined
      },
      closed: (reason) => fail(`no answer: ${reason}`),
    })
    wire.allow(MAX_FRAME_BYTES - HEADER_BYTES)
    const pen = new Pen(NOBODY, new WireClock(now(), 0), now, { stamp: () => {} })
    pen.plain(wire, QUESTION, 0, question)
  }
  const socket = dial({ address, security, key, lookup }, opened, (f) => fail(f.sentence, f.wrongKey))
  const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs)
  return promise.finally(() => {
    clearTimeout(timer)
    socket.destroy()
  })
}

/** What a named member says of itself, or why nothing is known of it. */
export type MemberAnswer =
  | Exclude<Answer, { kind: 'silent' } | { kind: 'member' }>
  | { readonly kind: 'member'; readonly clusterId: string; readonly id: number; readonly name: string }
  | { readonly kind: 'silent'; readonly reason: string }
  | { readonly kind: 'wrong key' }

/** Does the member at `address` know a cluster? Never rejects. */
export const askMember = async (address: Address, o: AskOptions): Promise<MemberAnswer> => {
  try {
    const said = JSON.parse(new TextDecoder().decode(await ask(address, WHO, o))) as Partial<Self>
    const { clusterId, id, name } = said
    if (clusterId === '') return { kind: 'empty' }
    if (typeof clusterId !== 'string' || typeof id !== 'number' || typeof name !== 'string')
      return { kind: 'silent', reason: 'what it answered is malformed' }
    return { kind: 'member', clusterId, id, name }
  } catch (error) {
    if (error instanceof AskFailed)
      return error.wrongKey ? { kind: 'wrong key' } : { kind: 'silent', reason: error.message }
    if (error instanceof SyntaxError) return { kind: 'silent', reason: 'what it answered is malformed' }
    throw error
  }
}
