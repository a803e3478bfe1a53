// Asks a tracker how many are in a swarm, as any client may (BEP 15 scrape, BEP 48 over HTTP).
// Refuses: to wait for ever; an unanswered question is undefined.

import { createSocket } from 'node:dgram'
import { isIP } from 'node:net'
import { type Counts, decodeAnswer, encodeRequest } from '@skep/wire/udp-tracker.ts'

const ANSWER_MS = 500

/** One request, one answer, over UDP. */
function ask(address: string, port: number, bytes: Uint8Array): Promise<Uint8Array | undefined> {
  const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4')
  return new Promise((done) => {
    const end = (answer: Uint8Array | undefined): void => {
      clearTimeout(timer)
      socket.close()
      done(answer)
    }
    const timer = setTimeout(() => end(undefined), ANSWER_MS)
    socket.once('error', () => end(undefined))
    socket.once('message', end)
    socket.send(bytes, port, address)
  })
}

let transaction = 1

/** Counts of one swarm, or undefined while the tracker does not answer. */
export async function scrape(
  address: string,
  port: number,
  infoHash: Uint8Array,
): Promise<Counts | undefined> {
  const family = isIP(address) === 6 ? 6 : 4
  const first = await ask(address, port, encodeRequest({ kind: 'connect', transactionId: transaction++ }))
  if (first === undefined) return undefined
  const connected = decodeAnswer(first, family)
  if (connected.kind !== 'connect') return undefined
  const { connectionId } = connected
  const request = {
    kind: 'scrape',
    connectionId,
    transactionId: transaction++,
    infoHashes: [infoHash],
  } as const
  const second = await ask(address, port, encodeRequest(request))
  if (second === undefined) return undefined
  const answer = decodeAnswer(second, family)
  return answer.kind === 'scrape' ? answer.counts[0] : undefined
}
