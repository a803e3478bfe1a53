// What talking costs: CPU of a frame there and one back (both ends in this process), plain and with the
// network key; and the bytes that really go over the line for each change and each refresh, heads,
// acknowledgements, notices and TLS included. Refuses: to judge. Run it alone; ratios of one run count, not
// figures of two.

import { connect, createServer, type Socket } from 'node:net'
import { loadCore } from '@skep/raft'
import { MSG_APP, MSG_APP_RESP } from '@skep/raft/message.ts'
import type { Security } from '../replica/transport/dial.ts'
import { pskRing } from '../replica/transport/psk.ts'
import { TcpTransport } from '../replica/transport/tcp.ts'
import type { Address, Receiver } from '../replica/transport/transport.ts'

const PAIRS = 10_000
const ROUNDS = 5
/** The log's layout (IPv4, no details): a change, a touch, and around a batch of one member in one entry. */
const CHANGE_BYTES = 32
const TOUCH_BYTES = 4
const BATCH_BYTES = 16 + 24 + 16
const CYCLES = 200

type End = { transport: TcpTransport; arrived: (() => void) | null; ups: number; ready: () => void }

const open = async (id: number, security: Security): Promise<End & { address: Address }> => {
  const end: End = { transport: null as never, arrived: null, ups: 0, ready: () => {} }
  const receiver: Receiver = {
    frame: () => end.arrived?.(),
    received: () => {},
    stamp: () => {},
    admit: () => null,
    up: () => {
      if (++end.ups === 3) end.ready()
    },
    down: () => {},
    started: () => {},
    refused: (member, refusal) => console.error(`refused by ${member}: ${refusal.sentence}`),
    changed: () => {},
    turnedAway: (from, sentence) => console.error(`turned away ${from}: ${sentence}`),
    stream: () => ({ code: 'malformed', sentence: 'none here' }),
    question: async (q) => q,
  }
  end.transport = new TcpTransport({
    self: { clusterId: '0'.repeat(31).concat('1'), id, name: `r${id}`, level: 1, incarnation: 1 },
    listen: { host: '127.0.0.1', port: 0 },
    security,
    receiver,
    now: () => performance.now(),
    random: Math.random,
    // Pings would be counted as bytes of changes.
    keepaliveMs: 600_000,
    missed: 2,
  })
  return Object.assign(end, { address: await end.transport.listen() })
}

/** Two members; `through` may put something between them. */
const pair = async (
  security: Security,
  through: (a: Address) => Promise<Address>,
): Promise<[End, End, () => Promise<void>]> => {
  const [a, b] = [await open(1, security), await open(2, security)]
  const up = [a, b].map((e) => new Promise<void>((resolve) => (e.ready = resolve)))
  a.transport.setPeers([{ id: 2, name: 'r2', address: await through(b.address) }])
  b.transport.setPeers([{ id: 1, name: 'r1', address: await through(a.address) }])
  await Promise.all(up)
  return [a, b, async () => void (await Promise.all([a.transport.close(), b.transport.close()]))]
}

const raft = (type: number, bytes: number): Uint8Array => {
  const message = new Uint8Array(bytes)
  message.set([8, type, 16, 2, 24, 1, 32, 1])
  return message
}

/** Microseconds of CPU for a frame of `there` bytes and one of `back` bytes. */
const cpuOfPair = async (security: Security, there: number, back: number): Promise<number> => {
  const [a, b, close] = await pair(security, async (x) => x)
  const [question, answer] = [raft(MSG_APP, there), raft(MSG_APP_RESP, back)]
  b.arrived = () => {
    b.transport.send(0, 1, answer)
    b.transport.flush()
  }
  const run = (pairs: number): Promise<void> =>
    new Promise((resolve) => {
      let left = pairs
      const next = (): void => {
        if (left-- === 0) {
          resolve()
          return
        }
        a.transport.send(0, 2, question)
        a.transport.flush()
      }
      a.arrived = next
      next()
    })
  await run(PAIRS / 5)
  const before = process.cpuUsage()
  await run(PAIRS)
  const { user, system } = process.cpuUsage(before)
  await close()
  return (user + system) / PAIRS
}

/** A relay that counts: what passes is what is on the line above TCP. */
const counting = (): {
  through: (to: Address) => Promise<Address>
  bytes: () => number
  close: () => void
} => {
  let bytes = 0
  const servers: ReturnType<typeof createServer>[] = []
  const pass = (from: Socket, to: Socket): void => {
    from.on('data', (piece) => {
      bytes += piece.length
      to.write(piece)
    })
    from.on('close', () => to.destroy())
    from.on('error', () => to.destroy())
  }
  const through = async (to: Address): Promise<Address> => {
    const server = createServer({ noDelay: true }, (client) => {
      const inner = connect({ ...to, noDelay: true })
      pass(client, inner)
      pass(inner, client)
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { host: '127.0.0.1', port: (server.address() as { port: number }).port }
  }
  return { through, bytes: () => bytes, close: () => servers.forEach((s) => void s.close()) }
}

/**
 * The messages of one cycle between a leader and a follower, from the real core: append, answer, notice,
 * answer.
 */
const cycleOf = async (entryBytes: number): Promise<{ from: number; data: Uint8Array }[]> => {
  const core = await loadCore()
  const confState = { voters: [1, 2], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
  const groups = [1, 2].map((id) =>
    core.create({
      id,
      electionTicks: 20,
      heartbeatTicks: 10,
      maxSizePerMessageBytes: 256 * 1024,
      maxUncommittedBytes: 4 * 1024 * 1024,
      maxInflightMessages: 64,
      maxInflightBytes: 8 * 1024 * 1024,
      hardState: { term: 7, vote: 0, commit: 1_000_000 },
      snapshot: { index: 1_000_000, term: 7, confState, data: new Uint8Array(0) },
      entries: [],
      applied: 1_000_000,
    }),
  )
  const said: { from: number; data: Uint8Array }[] = []
  const settle = (): void => {
    for (let more = true; more; ) {
      more = false
      for (const [i, group] of groups.entries()) {
        const ready = core.ready(group)
        if (ready === null) continue
        more = true
        const messages = ready.messages.map((m) => Uint8Array.from(m.data))
        core.advance(group)
        for (const data of messages) {
          said.push({ from: i + 1, data })
          core.step(groups[1 - i]!, data)
        }
      }
    }
  }
  core.campaign(groups[0]!)
  settle()
  // The second proposal: the first one ends the leader's probing.
  for (let i = 0; i < 2; i++) {
    said.length = 0
    core.propose(groups[0]!, new Uint8Array(entryBytes))
    settle()
  }
  return said.slice()
}

/** Bytes on the line for each of `count` items of a batch, the whole cycle of one link counted. */
const bytesEach = async (
  security: Security,
  count: number,
  itemBytes: number,
  forwarded: boolean,
): Promise<number> => {
  const line = counting()
  const [a, b, close] = await pair(security, line.through)
  const sectionBytes = BATCH_BYTES - 16 + count * itemBytes
  const cycle = await cycleOf(BATCH_BYTES + count * itemBytes)
  const arrival = (e: End): Promise<void> => new Promise((resolve) => (e.arrived = resolve))
  const before = line.bytes()
  for (let i = 0; i < CYCLES; i++) {
    if (forwarded) {
      const there = arrival(a)
      b.transport.sendBatch(0, 1, 1, i, new Uint8Array(sectionBytes))
      await there
    }
    for (const { from, data } of cycle) {
      const there = arrival(from === 1 ? b : a)
      ;(from === 1 ? a : b).transport.send(0, 3 - from, data)
      await there
    }
  }
  const bytes = line.bytes() - before
  await close()
  line.close()
  return bytes / CYCLES / count
}

const median = (values: number[]): number => values.sort((x, y) => x - y)[values.length >> 1]!

const main = async (): Promise<void> => {
  const keys = pskRing('only for measuring, thirty-two characters')
  const secured: Security = () => keys
  console.log(`CPU of a frame there and one back, both ends, median of ${ROUNDS} x ${PAIRS}`)
  console.log('bytes there / back      plain us   with key us   ratio')
  for (const [there, back] of [
    [60, 60],
    [3300, 60],
    [12_900, 60],
  ] as const) {
    const plain: number[] = []
    const withKey: number[] = []
    for (let i = 0; i < ROUNDS; i++) {
      plain.push(await cpuOfPair('plain', there, back))
      withKey.push(await cpuOfPair(secured, there, back))
    }
    const [p, k] = [median(plain), median(withKey)]
    const name = `${there} / ${back}`.padEnd(20)
    console.log(
      `${name} ${p.toFixed(1).padStart(11)} ${k.toFixed(1).padStart(13)} ${(k / p).toFixed(2).padStart(7)}`,
    )
  }
  console.log('\nbytes on a link for each, a whole cycle (append, answer, notice, answer), with key')
  for (const [count, what, size] of [
    [100, 'changes', CHANGE_BYTES],
    [400, 'changes', CHANGE_BYTES],
    [1000, 'refreshes', TOUCH_BYTES],
    [10_000, 'refreshes', TOUCH_BYTES],
  ] as const) {
    const leader = await bytesEach(secured, count, size, false)
    const follower = await bytesEach(secured, count, size, true)
    const line = `${count} ${what} a batch`.padEnd(28)
    console.log(
      `${line} ${leader.toFixed(2)} from the leader's clients, ${follower.toFixed(2)} with the way to the leader`,
    )
  }
}

await main()
