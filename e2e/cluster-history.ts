// What clients asked a cluster and what they were answered, and whether that can be true: every answer is
// held against all that was acknowledged before it was asked. Pure: times are arguments (milliseconds of one
// clock). Refuses: to judge what is not known. A request that got no answer may take effect at any later
// time, or never.

import { EVENT_COMPLETED, EVENT_STOPPED } from '@skep/wire/udp-tracker.ts'

/** Peers a swarm may ever have, so that one answer names them all. */
export const SWARM_MOST = 150
/** As many as are asked for when all must be named. */
export const ALL = 200
const PORT_FIRST = 2000
/** Faults that are kept; one mistake has many. */
const FAULTS_MOST = 50

export type Peer = {
  readonly torrent: number
  readonly port: number
  readonly address: string
  /** It has everything, or said so in a request that is under way. */
  seeder: boolean
  /** Acknowledged as a peer since, and by whom; Infinity: not, or no longer for certain. */
  sinceMs: number
  by: string
  /** Acknowledged as having left since, and by whom; Infinity: not. */
  goneMs: number
  goneBy: string
  /** Was ever announced in a way that was not refused. */
  asked: boolean
  /** Some request of it was never answered: it may take effect, again, later. */
  doubt: boolean
  /** That was a leave: it may be gone at any time. */
  mayLeave: boolean
  /** Requests under way. */
  waiting: number
  ackMs: number
}

export type Ask = {
  readonly kind: 'announce' | 'scrape'
  readonly replica: string
  /** One for an announce. */
  readonly torrents: readonly number[]
  readonly peer?: Peer
  readonly event: number
  readonly numWant: number
  readonly sentMs: number
}

export type Counts = { readonly seeders: number; readonly leechers: number; readonly completed?: number }
export type Told =
  | {
      readonly kind: 'announce'
      readonly counts: Counts
      readonly peers: readonly { readonly address: string; readonly port: number }[]
    }
  | { readonly kind: 'scrape'; readonly counts: readonly Counts[] }
  | { readonly kind: 'error'; readonly message: string }

type Torrent = { readonly peers: Peer[]; readonly completed: number[]; completionsAsked: number }
/** What must and what may be in a swarm. */
type Bounds = { least: number; most: number; seeders: number; leechers: number }

export class History {
  readonly faults: string[] = []
  faultCount = 0
  /** Answers that were held against the history. */
  checked = 0
  acknowledged = 0
  readonly errors = new Map<string, number>()
  /** So much later than it came an answer may have been noticed. */
  lagMs = 0
  private readonly torrents: Torrent[]
  private readonly boundMs: number
  private readonly silent = new Map<string, { fromMs: number; graceMs: number }>()

  /** `boundMs`: how old the table of a replica that answers may be. */
  constructor(torrents: number, boundMs: number) {
    this.boundMs = boundMs
    this.torrents = Array.from({ length: torrents }, () => ({
      peers: [],
      completed: [],
      completionsAsked: 0,
    }))
  }

  get count(): number {
    return this.torrents.length
  }

  peersOf(torrent: number): readonly Peer[] {
    return this.torrents[torrent]!.peers
  }

  /** A peer nobody has announced yet; undefined: the swarm is full. */
  newPeer(torrent: number, address: string, seeder: boolean): Peer | undefined {
    const { peers } = this.torrents[torrent]!
    if (peers.length >= SWARM_MOST) return undefined
    const peer: Peer = {
      ...{ torrent, port: PORT_FIRST + peers.length, address, seeder, asked: false, doubt: false },
      ...{ sinceMs: Infinity, by: '', goneMs: Infinity, goneBy: '', mayLeave: false, waiting: 0, ackMs: 0 },
    }
    peers.push(peer)
    return peer
  }

  /** Known to be there to all who may answer. */
  isPresent(peer: Peer, atMs: number): boolean {
    return peer.sinceMs <= atMs - this.boundMs && !peer.mayLeave
  }

  isGone(peer: Peer, atMs: number): boolean {
    return !peer.doubt && (!peer.asked || peer.goneMs <= atMs - this.boundMs)
  }

  /** Before it is sent. */
  asked({ peer, event }: Ask): void {
    if (peer === undefined) return
    peer.waiting++
    if (event === EVENT_STOPPED) {
      peer.sinceMs = Infinity
      return
    }
    peer.asked = true
    peer.goneMs = Infinity
    if (event === EVENT_COMPLETED) {
      peer.seeder = true
      this.torrents[peer.torrent]!.completionsAsked++
    }
  }

  /** No answer came in time. */
  unanswered({ peer, event }: Ask): void {
    if (peer === undefined) return
    peer.waiting--
    peer.doubt = true
    if (event === EVENT_STOPPED) peer.mayLeave = true
  }

  /** From now on this replica, cut off from a majority, must not answer; undefined ends that. */
  silence(replica: string, fromMs: number | undefined, graceMs = 0): void {
    if (fromMs === undefined) this.silent.delete(replica)
    else this.silent.set(replica, { fromMs, graceMs })
  }

  /** `late`: it had been given up before (`unanswered` was called). */
  answered(ask: Ask, told: Told, atMs: number, late: boolean): void {
    this.checked++
    this.heard(ask.replica, ask.sentMs, atMs)
    const { peer } = ask
    if (peer !== undefined && !late) peer.waiting--
    if (told.kind === 'error') this.refused(ask, told.message, late)
    else if (told.kind === 'scrape')
      for (const [i, torrent] of ask.torrents.entries()) this.checkCounts(ask, torrent, told.counts[i])
    else {
      this.checkCounts(ask, ask.torrents[0]!, told.counts)
      this.checkPeers(ask, told.peers)
      if (!late) this.acknowledge(ask, atMs)
    }
  }

  /** Any answer that needs a lease: all but that to a connect. */
  private heard(replica: string, sentMs: number, atMs: number): void {
    const silent = this.silent.get(replica)
    if (silent === undefined) return
    if (sentMs > silent.fromMs)
      this.fail(
        `${replica} was cut off and its lease had ended ${(sentMs - silent.fromMs).toFixed(0)} ms before it was asked, but it answered`,
      )
    else if (atMs - this.lagMs > silent.fromMs + silent.graceMs)
      this.fail(
        `${replica} was cut off and answered ${(atMs - silent.fromMs).toFixed(0)} ms after its lease had ended`,
      )
  }

  fail(what: string): void {
    this.faultCount++
    if (this.faults.length < FAULTS_MOST) this.faults.push(what)
  }

  /** Refused, never appended: a peer that was never acknowledged is not there. */
  private refused({ peer, event }: Ask, message: string, late: boolean): void {
    this.errors.set(message, (this.errors.get(message) ?? 0) + 1)
    if (/connection/i.test(message)) this.fail(`a connection ID of the cluster was refused: ${message}`)
    if (peer === undefined || late) return
    // Seeder or not: the request that said so had no effect, but nothing is lost by not knowing.
    if (event === EVENT_STOPPED || peer.sinceMs !== Infinity || peer.doubt) peer.doubt = true
    else peer.asked = false
    if (event === EVENT_STOPPED) peer.mayLeave = true
  }

  private acknowledge({ peer, event, replica }: Ask, atMs: number): void {
    if (peer === undefined) return
    this.acknowledged++
    peer.ackMs = atMs
    if (event === EVENT_STOPPED) {
      peer.goneMs = atMs
      peer.goneBy = replica
      return
    }
    if (event === EVENT_COMPLETED && !peer.doubt) this.torrents[peer.torrent]!.completed.push(atMs)
    // What is already known to be there stays so since then.
    if (peer.sinceMs !== Infinity) return
    peer.sinceMs = atMs
    peer.by = replica
  }

  /** Must an answer of `ask` know of what `by` acknowledged at `atMs`? Who acknowledged it must, at once. */
  private knows(ask: Ask, atMs: number, by: string): boolean {
    return atMs <= ask.sentMs - this.boundMs || (by === ask.replica && atMs < ask.sentMs)
  }

  private must(ask: Ask, peer: Peer): boolean {
    return peer !== ask.peer && !peer.mayLeave && this.knows(ask, peer.sinceMs, peer.by)
  }

  private may(ask: Ask, peer: Peer): boolean {
    if (!peer.asked) return false
    return peer.doubt || peer.goneMs === Infinity || !this.knows(ask, peer.goneMs, peer.goneBy)
  }

  private bounds(ask: Ask, torrent: number): Bounds {
    const bounds: Bounds = { least: 0, most: 0, seeders: 0, leechers: 0 }
    for (const peer of this.torrents[torrent]!.peers) {
      if (this.may(ask, peer)) bounds.most++
      if (!this.must(ask, peer)) continue
      bounds.least++
      // Not while it says something new: it may have been heard, or not.
      if (peer.doubt || peer.waiting > 0 || !this.knows(ask, peer.ackMs, '')) continue
      if (peer.seeder) bounds.seeders++
      else bounds.leechers++
    }
    return bounds
  }

  private checkCounts(ask: Ask, torrent: number, counts: Counts | undefined): void {
    const what = `${ask.replica} counts in swarm ${torrent}`
    if (counts === undefined) {
      this.fail(`${ask.replica} left out the counts of swarm ${torrent}`)
      return
    }
    const { least, most, seeders, leechers } = this.bounds(ask, torrent)
    const there = counts.seeders + counts.leechers
    if (there < least) this.fail(`${what} ${there} peers, but ${least} were acknowledged and have not left`)
    if (there > most) this.fail(`${what} ${there} peers, but only ${most} can be there`)
    if (counts.seeders < seeders) this.fail(`${what} ${counts.seeders} seeders, but ${seeders} are`)
    if (counts.leechers < leechers) this.fail(`${what} ${counts.leechers} leechers, but ${leechers} are`)
    if (counts.completed === undefined) return
    const { completed, completionsAsked } = this.torrents[torrent]!
    const done = completed.filter((atMs) => this.knows(ask, atMs, '')).length
    if (counts.completed < done)
      this.fail(`${what} ${counts.completed} completions, but ${done} were acknowledged`)
    if (counts.completed > completionsAsked)
      this.fail(`${what} ${counts.completed} completions, but ${completionsAsked} were ever announced`)
  }

  private checkPeers(ask: Ask, shown: readonly { address: string; port: number }[]): void {
    const torrent = ask.torrents[0]!
    const { peers } = this.torrents[torrent]!
    const named = new Set<Peer>()
    for (const { address, port } of shown) {
      const peer = peers[port - PORT_FIRST]
      const who = `${address}:${port} in swarm ${torrent}`
      if (peer === undefined || peer.address !== address)
        this.fail(`${ask.replica} names ${who}, whom nobody announced`)
      else if (peer === ask.peer) this.fail(`${ask.replica} returns the asker, ${who}`)
      else if (named.has(peer)) this.fail(`${ask.replica} names ${who} twice`)
      else if (!this.may(ask, peer))
        this.fail(
          `${ask.replica} names ${who}, who ${peer.asked ? `left through ${peer.goneBy}` : 'was refused'}`,
        )
      if (peer !== undefined) named.add(peer)
    }
    if (ask.numWant < ALL || ask.event === EVENT_STOPPED) return
    for (const peer of peers)
      if (!named.has(peer) && this.must(ask, peer))
        this.fail(
          `${ask.replica} does not name ${peer.address}:${peer.port} in swarm ${torrent}, acknowledged by ${peer.by} ${(ask.sentMs - peer.sinceMs).toFixed(0)} ms before`,
        )
  }
}
