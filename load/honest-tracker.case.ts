// A slow and obvious BEP 15 tracker in a thread, to test the generator against: honest, or lying in one
// chosen way. Refuses: to be used for anything else; it forgets nothing and checks little.

import { createSocket, type RemoteInfo } from 'node:dgram'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { type AnnounceRequest, decodeRequest, encodeAnswer } from '@skep/wire/udp-tracker.ts'

export type Lie =
  | 'none'
  | 'foreign peer'
  | 'duplicate peer'
  | 'asker'
  | 'count'
  | 'scrape'
  | 'transaction'
  | 'action'
  | 'short'
  | 'error'
  | 'silence'
  | 'stale id'

/** Starts one on a free port of `host`. */
export async function openTracker(lie: Lie, host: string): Promise<{ port: number; close(): Promise<void> }> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { lie, host } })
  const port = await new Promise<number>((done, fail) => {
    worker.once('message', done)
    worker.once('error', fail)
  })
  return {
    port,
    close: async () => {
      await worker.terminate()
    },
  }
}

type Peer = { address: string; port: number; left: bigint }

function serve({ lie, host }: { lie: Lie; host: string }): void {
  const family = host.includes(':') ? 6 : 4
  const swarms = new Map<string, Map<string, Peer>>()
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4')
  let announces = 0
  const swarmOf = (infoHash: Uint8Array): Map<string, Peer> => {
    const key = Buffer.from(infoHash).toString('hex')
    let swarm = swarms.get(key)
    if (swarm === undefined) swarms.set(key, (swarm = new Map()))
    return swarm
  }
  const counts = (swarm: Map<string, Peer>, off: number) => {
    const seeders = [...swarm.values()].filter(({ left }) => left === 0n).length
    return { seeders, completed: 0, leechers: swarm.size - seeders + off }
  }
  const announce = (request: AnnounceRequest, from: RemoteInfo): Uint8Array => {
    const swarm = swarmOf(request.infoHash)
    const self = `${from.address} ${request.port}`
    swarm.set(self, { address: from.address, port: request.port, left: request.left })
    const peers = [...swarm].filter(([key]) => key !== self || lie === 'asker').map(([, peer]) => peer)
    const first = (announces * 7) % Math.max(1, peers.length)
    const given = [...peers.slice(first), ...peers.slice(0, first)].slice(0, request.numWant)
    if (lie === 'foreign peer') given[0] = { address: from.address, port: 1000, left: 0n }
    if (lie === 'duplicate peer' && given.length > 1) given[1] = given[0]!
    const { seeders, leechers } = counts(swarm, lie === 'count' ? 5 : 0)
    const { transactionId } = request
    return encodeAnswer(
      { kind: 'announce', transactionId, intervalSeconds: 1800, leechers, seeders, peers: given },
      family,
    )
  }
  const answer = (bytes: Uint8Array, from: RemoteInfo): Uint8Array | undefined => {
    const request = decodeRequest(bytes)
    if (request.kind === 'refused') return undefined
    const { transactionId } = request
    if (request.kind === 'connect')
      return encodeAnswer({ kind: 'connect', transactionId, connectionId: 77n }, family)
    announces++
    if (lie === 'error') return encodeAnswer({ kind: 'error', transactionId, message: 'go away' }, family)
    if (lie === 'stale id' && announces % 50 === 0)
      return encodeAnswer({ kind: 'error', transactionId, message: 'bad connection id' }, family)
    if (request.kind === 'announce') return announce(request, from)
    const found = request.infoHashes.map((infoHash) => counts(swarmOf(infoHash), lie === 'scrape' ? 3 : 0))
    return encodeAnswer({ kind: 'scrape', transactionId, counts: found }, family)
  }
  socket.on('message', (bytes, from) => {
    const said = lie === 'silence' ? undefined : answer(bytes, from)
    if (said === undefined) return
    // A turn that is still to come: not late, never ours.
    if (said[3] === 1 && lie === 'transaction') said[4] = (said[4]! + 0x20) & 0xff
    if (said[3] === 1 && lie === 'action') said[3] = 2
    socket.send(
      lie === 'short' && said[3] === 1 ? said.subarray(0, said.length - 1) : said,
      from.port,
      from.address,
    )
  })
  socket.bind(0, host, () => parentPort!.postMessage(socket.address().port))
}

if (!isMainThread && parentPort !== null) serve(workerData as { lie: Lie; host: string })
