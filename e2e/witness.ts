// Remembers which joins a tracker answered, and asks it later whether they are all there.
// Refuses: to count what was never answered as lost; such a join may have taken effect or not.

import { type AnnounceAnswer, EVENT_NONE, EVENT_STARTED } from '@skep/wire/udp-tracker.ts'
import type { UdpClient } from './udp-client.ts'

/** Peers a swarm may have, so that one answer of at most 1,472 bytes names them all. */
export const SWARM_MOST = 200
/** Hashes of one scrape. */
const SCRAPE_MOST = 70
const ANSWER_MS = 3000
/** Questions at once while checking. */
const ABREAST = 64
const TRIES = 4
const PORT_FIRST = 2000

export type Fault = { readonly torrent: number; readonly what: string }

export class Witness {
  readonly torrents: number
  /** Ports whose join was answered, and ports that were asked, by torrent. */
  readonly answered: Set<number>[]
  readonly asked: Set<number>[]
  answeredJoins = 0
  private readonly seed: number
  private readonly source: string

  constructor(torrents: number, seed: number, source: string) {
    this.torrents = torrents
    this.seed = seed
    this.source = source
    this.answered = Array.from({ length: torrents }, () => new Set())
    this.asked = Array.from({ length: torrents }, () => new Set())
  }

  infoHash(torrent: number): Uint8Array {
    const bytes = Buffer.alloc(20, 0x5a)
    bytes.writeUInt32BE(this.seed >>> 0, 0)
    bytes.writeUInt32BE(torrent, 4)
    return new Uint8Array(bytes)
  }

  /** One new peer; true when the tracker answered. Undefined: every swarm is full. */
  async join(
    client: UdpClient,
    torrent: number,
    timeoutMs: number,
  ): Promise<AnnounceAnswer | string | undefined> {
    const port = PORT_FIRST + this.asked[torrent]!.size
    this.asked[torrent]!.add(port)
    const answer = await this.announce(client, torrent, port, EVENT_STARTED, 0, timeoutMs)
    if (typeof answer === 'object') {
      this.answered[torrent]!.add(port)
      this.answeredJoins++
    }
    return answer
  }

  isFull(torrent: number): boolean {
    return this.asked[torrent]!.size >= SWARM_MOST
  }

  /** An answer, the text of an error answer, or undefined for silence. */
  async announce(
    client: UdpClient,
    torrent: number,
    port: number,
    event: number,
    numWant: number,
    timeoutMs: number,
  ): Promise<AnnounceAnswer | string | undefined> {
    const peerId = Buffer.alloc(20, 0x2d)
    peerId.writeUInt32BE(torrent, 8)
    peerId.writeUInt32BE(port, 12)
    const answer = await client.ask(
      (connectionId, transactionId) => ({
        kind: 'announce',
        connectionId,
        transactionId,
        infoHash: this.infoHash(torrent),
        peerId: new Uint8Array(peerId),
        downloaded: 0n,
        left: port % 4 === 0 ? 0n : 1000n,
        uploaded: 0n,
        event,
        ip: 0,
        key: torrent * 65536 + port,
        numWant,
        port,
        urlData: new Uint8Array(0),
      }),
      timeoutMs,
    )
    if (answer?.kind === 'announce') return answer
    return answer?.kind === 'error' ? answer.message : undefined
  }

  /** Everything that is wrong. Counts first: an announce of a lost peer would bring it back. */
  async check(client: UdpClient): Promise<Fault[]> {
    const faults: Fault[] = []
    const known = [...this.answered.keys()].filter((torrent) => this.answered[torrent]!.size > 0)
    const groups: number[][] = []
    for (let i = 0; i < known.length; i += SCRAPE_MOST) groups.push(known.slice(i, i + SCRAPE_MOST))
    await abreast(groups, async (torrents) => faults.push(...(await this.checkCounts(client, torrents))))
    await abreast(known, async (torrent) => faults.push(...(await this.checkPeers(client, torrent))))
    return faults
  }

  private async checkCounts(client: UdpClient, torrents: readonly number[]): Promise<Fault[]> {
    const infoHashes = torrents.map((torrent) => this.infoHash(torrent))
    const answer = await again(() =>
      client.ask(
        (connectionId, transactionId) => ({ kind: 'scrape', connectionId, transactionId, infoHashes }),
        ANSWER_MS,
      ),
    )
    if (answer?.kind !== 'scrape') return [{ torrent: torrents[0]!, what: `no scrape: ${answer?.kind}` }]
    const faults: Fault[] = []
    for (const [i, torrent] of torrents.entries()) {
      const counts = answer.counts[i]!
      const there = counts.seeders + counts.leechers
      const [least, most] = [this.answered[torrent]!.size, this.asked[torrent]!.size]
      if (there < least) faults.push({ torrent, what: `counts ${there} of ${least} answered peers` })
      if (there > most) faults.push({ torrent, what: `counts ${there} peers, only ${most} ever asked` })
    }
    return faults
  }

  /** Two askers, each left out of its own answer: the first is known from elsewhere in the second's. */
  private async checkPeers(client: UdpClient, torrent: number): Promise<Fault[]> {
    const answered = this.answered[torrent]!
    const ports = [...answered]
    const askers = ports.length > 1 ? [ports.at(-1)!, ports[0]!] : [ports[0]!]
    const faults: Fault[] = []
    for (const asker of askers) {
      const answer = await again(async () => {
        const got = await this.announce(client, torrent, asker, EVENT_NONE, SWARM_MOST, ANSWER_MS)
        return typeof got === 'object' ? got : undefined
      })
      if (answer === undefined) {
        faults.push({ torrent, what: `no answer to the peer at port ${asker}` })
        continue
      }
      const shown = new Set(answer.peers.map((peer) => peer.port))
      for (const port of ports)
        if (port !== asker && !shown.has(port))
          faults.push({ torrent, what: `lost the peer at port ${port}` })
      for (const peer of answer.peers)
        if (peer.address !== this.source || !this.asked[torrent]!.has(peer.port))
          faults.push({ torrent, what: `names a peer nobody announced: ${peer.address}:${peer.port}` })
      if (shown.has(asker)) faults.push({ torrent, what: 'returns the asker' })
    }
    return faults
  }
}

async function again<T>(ask: () => Promise<T | undefined>): Promise<T | undefined> {
  for (let i = 0; i < TRIES; i++) {
    const answer = await ask()
    if (answer !== undefined) return answer
  }
  return undefined
}

async function abreast<T>(items: readonly T[], each: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0
  const work = async (): Promise<void> => {
    while (next < items.length) await each(items[next++]!)
  }
  await Promise.all(Array.from({ length: Math.min(ABREAST, items.length) }, work))
}
