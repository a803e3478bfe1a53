// What clients do to a cluster while it is disturbed: joins, refreshes, completions, leaves and scrapes at a
// fixed rate, spread over all replicas, by UDP and HTTP. Some hop: as soon as one replica has answered they
// say the next thing to another one. Draws come from a seed. Refuses: to ask faster than told when it was
// late, but for those hops.

import type { Random } from '@skep/testing/random.ts'
import { EVENT_COMPLETED, EVENT_NONE, EVENT_STARTED, EVENT_STOPPED } from '@skep/wire/udp-tracker.ts'
import type { ClusterClient, Place } from './cluster-client.ts'
import { ALL, type Ask, type History, type Peer, SWARM_MOST } from './cluster-history.ts'

const TICK_MS = 5
/** What a late generator still owes, at most. */
const OWED_MOST_MS = 50
const SCRAPE_HASHES = 8
const SEEDERS = 0.3
/** Of the announces so many go by HTTP. */
const BY_HTTP = 0.15
/** After so many of the acknowledged events their peer hops, and so often in a row at most. */
const HOPPERS = 0.2
const HOPS_MOST = 3
/** Requests without an answer yet, over all replicas. */
const WAITING_MOST = 20_000

export class Load {
  private readonly client: ClusterClient
  private readonly history: History
  private readonly random: Random
  /** Of its own: hops come when answers do, and must not shift what else is drawn. */
  private readonly hops: Random
  private readonly boundMs: number
  private readonly perReplica: number
  private readonly targets: () => readonly Place[]
  private timer: NodeJS.Timeout | undefined
  private dueMs = 0
  private turn = 0

  /** `perReplica`: requests a second to each. `boundMs`: a peer says nothing new until all know the last. */
  constructor(
    client: ClusterClient,
    random: Random,
    options: { boundMs: number; perReplica: number; targets: () => readonly Place[] },
  ) {
    this.client = client
    this.history = client.history
    this.random = random
    this.hops = random.fork()
    this.boundMs = options.boundMs
    this.perReplica = options.perReplica
    this.targets = options.targets
  }

  start(): void {
    this.dueMs = performance.now()
    this.timer = setInterval(() => this.tick(), TICK_MS)
  }

  stop(): void {
    clearInterval(this.timer)
    this.timer = undefined
  }

  private tick(): void {
    const now = performance.now()
    const targets = this.targets()
    if (targets.length === 0) return
    const stepMs = 1000 / (this.perReplica * targets.length)
    this.dueMs = Math.max(this.dueMs, now - OWED_MOST_MS)
    for (; this.dueMs <= now; this.dueMs += stepMs) {
      this.turn = (this.turn + 1) % targets.length
      if (this.client.outstanding() < WAITING_MOST) this.one(targets[this.turn]!, now)
    }
  }

  private one(target: Place, now: number): void {
    const { random, client } = this
    const drawn = random.unit()
    if (drawn < (target.disturbed ? 0.85 : 0.2)) {
      const torrents = Array.from({ length: SCRAPE_HASHES }, () => random.below(this.history.count))
      void client.ask(
        (sentMs) => ({ kind: 'scrape', replica: target.name, torrents, event: 0, numWant: 0, sentMs }),
        target,
        random.pick(client.addresses),
      )
      return
    }
    const act = this.act(now)
    if (act === undefined) return
    const { peer, event } = act
    // Most ask for some, as clients do; the others for all, so that each can be looked for.
    const numWant = random.chance(0.15) ? ALL : random.pick([0, 30, 50])
    this.say(target, peer, event, numWant, random.chance(BY_HTTP), HOPS_MOST)
  }

  private say(
    target: Place,
    peer: Peer,
    event: number,
    numWant: number,
    byHttp: boolean,
    hopsMost: number,
  ): void {
    const { client } = this
    const make = (sentMs: number): Ask => announce(target.name, peer, event, numWant, sentMs)
    const told =
      byHttp && target.httpPort !== undefined
        ? client.askByHttp(make, target, peer.address)
        : client.ask(make, target, peer.address)
    void told.then((answer) => {
      if (answer?.kind === 'announce' && event !== EVENT_NONE && hopsMost > 0)
        this.hop(target, peer, hopsMost - 1)
    })
  }

  /**
   * What this peer was told must count wherever it goes on, although that replica may not have heard of it.
   */
  private hop(from: Place, peer: Peer, hopsMost: number): void {
    const { hops } = this
    if (this.timer === undefined || peer.waiting > 0 || peer.doubt || !hops.chance(HOPPERS)) return
    const others = this.targets().filter(({ name, disturbed }) => name !== from.name && !disturbed)
    if (others.length === 0) return
    const present = peer.sinceMs !== Infinity
    const leaves = present && (peer.seeder || hops.chance(0.5))
    const event = leaves ? EVENT_STOPPED : present ? EVENT_COMPLETED : EVENT_STARTED
    this.say(hops.pick(others), peer, event, 0, hops.chance(0.5), hopsMost)
  }

  /** The next thing some peer may say. */
  private act(now: number): { peer: Peer; event: number } | undefined {
    const { random, history } = this
    const torrent = random.below(history.count)
    const peers = history.peersOf(torrent)
    const at = random.below(SWARM_MOST)
    if (at >= peers.length) {
      const peer = history.newPeer(torrent, random.pick(this.client.addresses), random.chance(SEEDERS))
      return peer && { peer, event: EVENT_STARTED }
    }
    const peer = peers[at]!
    if (peer.waiting > 0 || now - peer.ackMs < this.boundMs || peer.mayLeave) return undefined
    if (history.isGone(peer, now)) return { peer, event: EVENT_STARTED }
    if (!history.isPresent(peer, now)) return { peer, event: EVENT_STARTED }
    const drawn = random.unit()
    if (drawn < 0.2) return { peer, event: EVENT_STOPPED }
    if (drawn < 0.35 && !peer.seeder) return { peer, event: EVENT_COMPLETED }
    return { peer, event: EVENT_NONE }
  }
}

export const announce = (
  replica: string,
  peer: Peer,
  event: number,
  numWant: number,
  sentMs: number,
): Ask => ({ kind: 'announce', replica, torrents: [peer.torrent], peer, event, numWant, sentMs })
