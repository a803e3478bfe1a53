// How fast a whole table reaches a new member, and how long the member that sends it is away from its own
// work meanwhile. npm run bench:transfer -- [million peers, default 10]: one line a step; beside it a plain
// TCP copy of as many bytes. Refuses: to stand in for a cluster; load/ measures those. Here are one snapshot,
// one stream, real sockets, TLS and disks.

import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { levelDisk } from '../replica/log/level.ts'
import type { LogStore, SnapshotRecord } from '../replica/log/log.ts'
import { openLog } from '../replica/log/store.ts'
import { restoreSnapshot } from '../replica/snapshots.ts'
import { TransferReceiver } from '../replica/transfer/receive.ts'
import { encodeHead, partsOf } from '../replica/transfer/transfer.ts'
import { pskRing } from '../replica/transport/psk.ts'
import { TcpTransport } from '../replica/transport/tcp.ts'
import { BULK, type Receiver } from '../replica/transport/transport.ts'
import { BatchWriter, batchEntry, birthEntry } from '../swarm/entry.ts'
import { allocate, type Limits, limitsFor } from '../swarm/layout.ts'
import { SwarmMachine } from '../swarm/machine.ts'
import { DEFAULT_SETTINGS } from '../swarm/settings.ts'
import { Store } from '../swarm/store.ts'

const CLUSTER = '00112233445566778899aabbccddeeff'
const KEYS = pskRing('a key for measuring only')
const SENDER = 1
const RECEIVER = 2
const CONF = {
  voters: [SENDER],
  learners: [RECEIVER],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}
const now = (): number => performance.now()

const machineOf = (limits: Limits): SwarmMachine =>
  new SwarmMachine(new Store(allocate(limits, true)), { part: () => {}, batch: () => {} }, () => {})

const receiverOf = (more: Partial<Receiver>): Receiver => ({
  frame: () => {},
  received: () => {},
  stamp: () => {},
  admit: () => null,
  up: () => {},
  down: () => {},
  started: () => {},
  refused: () => {},
  changed: () => {},
  turnedAway: () => {},
  stream: () => ({ code: 'malformed', sentence: 'not here' }),
  question: async () => new Uint8Array(),
  ...more,
})

const transportOf = async (id: number, receiver: Receiver): Promise<{ t: TcpTransport; port: number }> => {
  const self = { clusterId: CLUSTER, id, name: `r${id}`, level: 1, incarnation: 1 }
  const listen = { host: '127.0.0.1', port: 0 }
  const t = new TcpTransport({
    ...{
      self,
      listen,
      receiver,
      now,
      security: () => KEYS,
      random: Math.random,
      keepaliveMs: 1000,
      missed: 5,
    },
  })
  return { t, port: (await t.listen()).port }
}

/** The new member: takes the stream to disk, then into a table. */
const receiving = async (): Promise<void> => {
  const { dir, limits, senderPort } = workerData as { dir: string; limits: Limits; senderPort: number }
  const log = await openLog(levelDisk(dir), { group: 0, loose: false })
  const machine = machineOf(limits)
  const receiver = new TransferReceiver({
    ...{ log, now, term: () => 1, commit: () => 0 },
    install: (_message, record) => void install(log, machine, record!),
  })
  const { t, port } = await transportOf(RECEIVER, receiverOf({ stream: (begin) => receiver.stream(begin) }))
  t.setPeers([{ id: SENDER, name: 'r1', address: { host: '127.0.0.1', port: senderPort } }])
  const plain = createServer((socket) => {
    let bytes = 0
    socket.on('data', (piece) => {
      bytes += piece.length
    })
    socket.on('end', () => socket.end(String(bytes)))
  })
  plain.listen(0, '127.0.0.1', () => {
    parentPort!.postMessage({ port, plain: (plain.address() as { port: number }).port })
  })
}

const install = async (log: LogStore, machine: SwarmMachine, record: SnapshotRecord): Promise<void> => {
  await log.append({
    hardState: { term: 1, vote: 0, commit: record.index },
    entries: [],
    snapshot: record,
    sync: true,
  })
  const began = now()
  await restoreSnapshot(log, machine)
  parentPort!.postMessage({ restoredMs: now() - began })
}

/** Joins at a steady pace; the longest time between two turns is what an answer would have waited. */
class Work {
  longestMs = 0
  private readonly machine: SwarmMachine
  private readonly writer = new BatchWriter(1 << 20)
  private readonly words = new Int32Array(24 * 4096)
  private number = 0
  private made = 0
  private timer: NodeJS.Timeout | null = null

  constructor(machine: SwarmMachine) {
    this.machine = machine
  }

  joins(count: number): void {
    const { words, writer } = this
    for (let i = 0; i < count; i++) {
      const n = ++this.made
      const at = i * 24
      words.fill(0, at, at + 24)
      words[at] = 1 | (((n % 60_000) + 1) << 16)
      words[at + 1] = Math.imul(n, 0x9e3779b1) | 1
      for (let k = 5; k < 10; k++) words[at + k] = Math.imul((n % 200_000) + 1, 0x85ebca6b + k)
    }
    writer.begin(7, 1, ++this.number)
    writer.addChanges(0, { words, at: (k) => k * 24 }, 0, count)
    this.machine.apply(this.number + 2, 1, batchEntry(1000, [writer.bytes()]))
  }

  start(): void {
    this.longestMs = 0
    let last = now()
    this.timer = setInterval(() => {
      const at = now()
      this.longestMs = Math.max(this.longestMs, at - last)
      last = at
      this.joins(50)
    }, 1)
  }

  stop(): number {
    clearInterval(this.timer!)
    return this.longestMs
  }
}

const sending = async (millions: number): Promise<void> => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-bench-transfer-'))
  const limits = limitsFor(Math.max(64, millions * 60) << 20, false)
  const machine = machineOf(limits)
  const birth = { clusterId: CLUSTER, hashSeed: randomBytes(4).readInt32LE(), idKey: [1, 2] as const, limits }
  machine.apply(2, 1, birthEntry({ ...birth, settings: DEFAULT_SETTINGS, level: 1 }))
  const work = new Work(machine)
  for (let i = 0; i < millions * 1e6; i += 4000) work.joins(4000)
  const log = await openLog(levelDisk(join(dir, 'a')), { group: 0, loose: false })

  work.start()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const alone = work.stop()
  work.start()
  let cpu = process.cpuUsage()
  const beganTaking = now()
  const writer = await log.createSnapshot({ index: 9, term: 1, confState: CONF }, true)
  const state = machine.snapshot()
  for await (const chunk of state.chunks()) await writer.write(chunk)
  const record = await writer.commit()
  const mb = record.bytes / 1e6
  // CPU of both sides, which are threads of this process: what it costs whoever else is on the machine.
  const say = (what: string, ms: number, pauseMs: number | null): void => {
    const { user, system } = process.cpuUsage(cpu)
    const pause = pauseMs === null ? '' : `, longest pause ${pauseMs.toFixed(1)} ms`
    const price = `${((user + system) / mb / 1000).toFixed(2)} ns CPU a byte`
    console.log(
      `${what.padEnd(34)} ${(ms / 1000).toFixed(2)} s, ${((mb * 1000) / ms).toFixed(0)} MB/s, ${price}${pause}`,
    )
    cpu = process.cpuUsage()
  }
  console.log(
    `${millions}M peers: ${mb.toFixed(0)} MB, 50,000 joins/s meanwhile; longest pause without: ${alone.toFixed(1)} ms`,
  )
  say('snapshot taken, synced', now() - beganTaking, work.stop())

  let opened: () => void
  const up = new Promise<void>((resolve) => (opened = resolve))
  const { t, port: senderPort } = await transportOf(
    SENDER,
    receiverOf({ up: (_member, channel) => void (channel === BULK && opened()) }),
  )
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { dir: join(dir, 'b'), limits, senderPort },
  })
  const told = (): Promise<Record<string, number>> =>
    new Promise((resolve) => worker.once('message', resolve))
  const ports = await told()
  t.setPeers([{ id: RECEIVER, name: 'r2', address: { host: '127.0.0.1', port: ports.port! } }])
  await up

  const plain = async (): Promise<void> => {
    const socket = connect(ports.plain!, '127.0.0.1')
    const piece = Buffer.alloc(256 * 1024, 1)
    cpu = process.cpuUsage()
    const began = now()
    for (let sent = 0; sent < record.bytes; sent += piece.length)
      if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
    socket.end()
    await new Promise((resolve) => socket.once('data', resolve))
    say('plain TCP copy, thrown away', now() - began, null)
  }
  await plain()
  const restored = told()
  work.start()
  cpu = process.cpuUsage()
  const began = now()
  const out = t.openStream(0, RECEIVER, encodeHead(record, msgSnap(record)), record.bytes)
  await out.first
  for await (const part of partsOf(log.readSnapshot(record))) {
    await out.write(part)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await out.end()
  say('sent over TLS, synced there', now() - began, work.stop())
  say('restored into its table', (await restored).restoredMs!, null)
  await plain()
  await worker.terminate()
  await t.close()
  await log.close()
  rmSync(dir, { recursive: true, force: true })
  process.exit(0)
}

/** MsgSnap of the record, as the core would write it. */
const msgSnap = (record: SnapshotRecord): Uint8Array => {
  const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))])
  const field = (number: number, b: ArrayLike<number>): number[] => [
    (number << 3) | 2,
    ...varint(b.length),
    ...Array.from(b),
  ]
  const meta = [...field(1, []), 16, ...varint(record.index), 24, ...varint(record.term)]
  const snapshot = [...field(1, Buffer.from(JSON.stringify(record))), ...field(2, meta)]
  return Uint8Array.from([8, 7, 16, RECEIVER, 24, SENDER, 32, 1, ...field(9, snapshot)])
}

await (isMainThread ? sending(Number(process.argv[2] ?? 10)) : receiving())
