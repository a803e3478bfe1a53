// Where a load goes and where it comes from: reads the target, finds sources, opens sockets, refuses what is
// not ours. Refuses: targets elsewhere than on this machine unless the caller says that the tracker is
// theirs.

import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { parseIPv4, parseIPv6 } from '@skep/wire/ip.ts'
import { openDgram } from './dgram.ts'
import { openMmsg } from './mmsg.ts'
import type { Homes } from './model.ts'
import type { LoadSockets } from './sockets.ts'

export type Target = { readonly address: string; readonly port: number; readonly family: 4 | 6 }

/** A mistake of the caller, told in one sentence. */
export class TargetError extends Error {}

/** `udp://host:port/announce`, `host:port`, `[::1]:port` or a bare port of this machine. */
export async function readTarget(text: string): Promise<Target> {
  const plain = /^\d+$/.test(text) ? `127.0.0.1:${text}` : text
  let url: URL
  try {
    url = new URL(plain.includes('://') ? plain : `udp://${plain}`)
  } catch {
    throw new TargetError(`${text} is no target: give udp://host:port, host:port or a port`)
  }
  const port = Number(url.port)
  if (port === 0) throw new TargetError(`${text} names no port: give udp://host:port, host:port or a port`)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0) return { address: host, port, family: isIP(host) as 4 | 6 }
  const found = await lookup(host).catch(() => undefined)
  if (found === undefined) throw new TargetError(`${host} has no address`)
  return { address: found.address, port, family: found.family as 4 | 6 }
}

/** Is this address one of this machine's own? */
export function isLocal(target: Target): boolean {
  const own = new BlockList()
  own.addSubnet('127.0.0.0', 8, 'ipv4')
  own.addAddress('::1', 'ipv6')
  for (const list of Object.values(networkInterfaces()))
    for (const at of list ?? []) own.addAddress(at.address, at.family === 'IPv4' ? 'ipv4' : 'ipv6')
  return own.check(target.address, target.family === 4 ? 'ipv4' : 'ipv6')
}

/**
 * What the load binds to when nobody says: 127.0.0.1 and following, else the address this machine reaches it
 * from.
 */
export async function defaultSources(target: Target, count: number): Promise<string[]> {
  if (target.address.startsWith('127.'))
    return Array.from({ length: count }, (_, i) => `127.0.${i >> 8}.${(i & 255) + 1}`)
  const socket = createSocket(target.family === 4 ? 'udp4' : 'udp6')
  try {
    await new Promise<void>((done, fail) => {
      socket.once('error', fail)
      socket.connect(target.port, target.address, done)
    })
    const { address } = socket.address()
    return Array.from({ length: count }, () => address)
  } catch (error) {
    throw new TargetError(`no way from here to ${target.address}`, { cause: error })
  } finally {
    socket.close()
  }
}

/** Sockets, and which peers live where. Sources that repeat share their address. */
export async function openSources(
  target: Target,
  sources: readonly string[],
  options: { engine: 'auto' | 'mmsg' | 'dgram'; answerBytes: number },
): Promise<{ io: LoadSockets; homes: Homes; raw: Uint8Array[] }> {
  const distinct = [...new Set(sources)]
  const perAddress = Math.floor(sources.length / distinct.length)
  const all = distinct.flatMap((source) => Array.from({ length: perAddress }, () => source))
  const settings = { target, sources: all, answerBytes: options.answerBytes }
  const fast = options.engine === 'dgram' ? undefined : openMmsg(settings)
  if (fast === undefined && options.engine === 'mmsg')
    throw new TargetError('batched system calls are only to be had on Linux with koffi; leave --engine out')
  const io = fast ?? (await openDgram(settings))
  const raw = distinct.map((source) => parseIPv4(source) ?? parseIPv6(source) ?? new Uint8Array(4))
  return { io, homes: { addresses: distinct.length, sockets: all.length }, raw }
}
