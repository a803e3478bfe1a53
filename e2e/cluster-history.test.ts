// The judge of the cluster runs: true answers pass, and each kind of untrue one is found.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EVENT_COMPLETED, EVENT_NONE, EVENT_STARTED, EVENT_STOPPED } from '@skep/wire/udp-tracker.ts'
import { ALL, type Ask, type Counts, History, type Peer } from './cluster-history.ts'

const BOUND_MS = 1000
const HERE = '10.0.0.9'

/** A history that is told by steps. */
class Tale {
  readonly history = new History(1, BOUND_MS)
  readonly peers: Peer[] = []

  peer(seeder = false): Peer {
    const peer = this.history.newPeer(0, HERE, seeder)!
    this.peers.push(peer)
    return peer
  }

  say(peer: Peer, event: number, sentMs: number, replica = 'r0', numWant = 0): Ask {
    const ask = { kind: 'announce', replica, torrents: [0], peer, event, numWant, sentMs } as const
    this.history.asked(ask)
    return ask
  }

  /** An announce that is answered truly, 10 ms later; `others` are named. */
  said(
    peer: Peer,
    event: number,
    sentMs: number,
    replica = 'r0',
    counts = { seeders: 0, leechers: 0 },
  ): void {
    this.answer(this.say(peer, event, sentMs, replica), counts, [], sentMs + 10)
  }

  answer(ask: Ask, counts: Counts, shown: readonly Peer[], atMs: number, late = false): void {
    this.history.answered(ask, { kind: 'announce', counts, peers: shown }, atMs, late)
  }

  scraped(sentMs: number, seeders: number, leechers: number, completed = 0, replica = 'r1'): void {
    const ask = { kind: 'scrape', replica, torrents: [0], event: 0, numWant: 0, sentMs } as const
    this.history.answered(
      ask,
      { kind: 'scrape', counts: [{ seeders, leechers, completed }] },
      sentMs + 5,
      false,
    )
  }

  refuse(ask: Ask, message = 'tracker cannot store this now'): void {
    this.history.answered(ask, { kind: 'error', message }, ask.sentMs + 5, false)
  }

  found(pattern?: RegExp): void {
    const { faults } = this.history
    if (pattern === undefined) assert.deepEqual(faults, [])
    else assert.match(faults.join('\n'), pattern)
    faults.length = 0
  }
}

test('an acknowledged join is known everywhere once the bound is over, and where it was acknowledged at once', () => {
  const tale = new Tale()
  tale.said(tale.peer(), EVENT_STARTED, 0)
  tale.scraped(500, 0, 0)
  tale.found()
  tale.scraped(500, 0, 0, 0, 'r0')
  tale.found(/r0 counts in swarm 0 0 peers, but 1 were acknowledged/)
  tale.scraped(1100, 0, 1)
  tale.found()
  tale.scraped(1100, 0, 0)
  tale.found(/r1 counts in swarm 0 0 peers/)
})

test('who asks for all is named all, nobody twice, nobody else', () => {
  const tale = new Tale()
  const [one, two, asker] = [tale.peer(), tale.peer(), tale.peer()]
  tale.said(one, EVENT_STARTED, 0)
  tale.said(two, EVENT_STARTED, 0, 'r0', { seeders: 0, leechers: 1 })
  const counts = { seeders: 0, leechers: 3 }
  const ask = (): Ask => tale.say(asker, EVENT_STARTED, 2000, 'r1', ALL)
  tale.answer(ask(), counts, [one, two], 2010)
  tale.found()
  tale.answer(ask(), counts, [one], 2010)
  tale.found(/r1 does not name 10.0.0.9:2001 in swarm 0, acknowledged by r0/)
  tale.answer(ask(), counts, [one, two, two], 2010)
  tale.found(/twice/)
  tale.answer(ask(), counts, [one, two, asker], 2010)
  tale.found(/returns the asker/)
  tale.answer(ask(), counts, [one, two, { ...one, port: 9999 }], 2010)
  tale.found(/whom nobody announced/)
})

test('who left stays away, unless something it said before was never answered', () => {
  const tale = new Tale()
  const [gone, asker] = [tale.peer(), tale.peer()]
  tale.said(gone, EVENT_STARTED, 0)
  tale.said(gone, EVENT_STOPPED, 2000)
  tale.scraped(2500, 0, 1)
  tale.found()
  tale.scraped(4000, 0, 1)
  tale.found(/only 0 can be there/)
  tale.answer(tale.say(asker, EVENT_STARTED, 4000), { seeders: 0, leechers: 1 }, [gone], 4010)
  tale.found(/who left through r0/)

  const other = new Tale()
  const peer = other.peer()
  other.history.unanswered(other.say(peer, EVENT_STARTED, 0, 'r2'))
  other.said(peer, EVENT_STARTED, 7000, 'r0', { seeders: 0, leechers: 1 })
  other.said(peer, EVENT_STOPPED, 9000)
  other.scraped(20_000, 0, 1)
  other.scraped(20_000, 0, 0)
  other.found()
})

test('a leave without an answer may or may not have happened', () => {
  const tale = new Tale()
  const peer = tale.peer()
  tale.said(peer, EVENT_STARTED, 0)
  tale.history.unanswered(tale.say(peer, EVENT_STOPPED, 2000))
  tale.scraped(9000, 0, 0)
  tale.scraped(9000, 0, 1)
  tale.found()
  tale.scraped(9000, 0, 2)
  tale.found(/only 1 can be there/)
})

test('a refused join never happens', () => {
  const tale = new Tale()
  const peer = tale.peer()
  tale.refuse(tale.say(peer, EVENT_STARTED, 0))
  tale.scraped(5000, 0, 0)
  tale.found()
  tale.scraped(5000, 0, 1)
  tale.found(/only 0 can be there/)
  const ask = tale.say(tale.peer(), EVENT_STARTED, 6000, 'r0', ALL)
  tale.answer(ask, { seeders: 0, leechers: 1 }, [peer], 6010)
  tale.found(/was refused/)
  tale.refuse(tale.say(tale.peer(), EVENT_STARTED, 6000), 'connection ID is not valid')
  tale.found(/a connection ID of the cluster was refused/)
})

test('seeders, leechers and completions are counted', () => {
  const tale = new Tale()
  const [one, two] = [tale.peer(), tale.peer(true)]
  tale.said(one, EVENT_STARTED, 0)
  tale.said(two, EVENT_STARTED, 0, 'r0', { seeders: 0, leechers: 1 })
  tale.scraped(2000, 1, 1)
  tale.found()
  tale.scraped(2000, 2, 0)
  tale.found(/0 leechers, but 1 are/)
  tale.said(one, EVENT_COMPLETED, 3000, 'r0', { seeders: 2, leechers: 0 })
  tale.scraped(3500, 1, 1, 0)
  tale.scraped(5000, 2, 0, 1)
  tale.found()
  tale.scraped(5000, 1, 1, 1)
  tale.found(/1 seeders, but 2 are/)
  tale.scraped(5000, 2, 0, 0)
  tale.found(/0 completions, but 1 were acknowledged/)
  tale.scraped(5000, 2, 0, 2)
  tale.found(/2 completions, but 1 were ever announced/)
})

test('nobody answers after it was cut off and its lease has run out', () => {
  const tale = new Tale()
  tale.said(tale.peer(), EVENT_STARTED, 0, 'r1')
  tale.history.silence('r1', 3000, 100)
  tale.scraped(2990, 0, 1)
  tale.scraped(4000, 0, 1, 0, 'r0')
  tale.found()
  tale.scraped(3200, 0, 1)
  tale.found(/r1 was cut off and its lease had ended 200 ms before/)
  const early = { kind: 'scrape', replica: 'r1', torrents: [0], event: 0, numWant: 0, sentMs: 2900 } as const
  tale.history.answered(
    early,
    { kind: 'scrape', counts: [{ seeders: 0, leechers: 1, completed: 0 }] },
    3200,
    true,
  )
  tale.found(/answered 200 ms after its lease had ended/)
  tale.history.silence('r1', undefined)
  tale.scraped(3300, 0, 1)
  tale.found()
})

test('a late answer proves nothing, but must be true', () => {
  const tale = new Tale()
  const [peer, asker] = [tale.peer(), tale.peer()]
  tale.said(peer, EVENT_STARTED, 0)
  const ask = tale.say(asker, EVENT_NONE, 2000, 'r1', ALL)
  tale.history.unanswered(ask)
  tale.answer(ask, { seeders: 0, leechers: 0 }, [], 30_000, true)
  tale.found(/does not name/)
  assert.equal(asker.sinceMs, Infinity)
})
