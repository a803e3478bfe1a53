// The small world that state transfer is tested in: real logs, a way between them that breaks, repeats,
// reorders and alters what it carries, and messages as the core writes them.

import type { ConfState } from '@skep/raft'
import type { LogStore, SnapshotRecord } from '../log/log.ts'
import type { StreamOut } from '../transport/transport.ts'
import { StreamFailed } from '../transport/transport.ts'
import { TransferReceiver } from './receive.ts'
import { TransferSender } from './send.ts'
import { encodeHead } from './transfer.ts'

const OF_ONE: ConfState = {
  voters: [1],
  learners: [2],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}

/** So that a test has many parts of few bytes. */
export const SMALL_PART_BYTES = 1024

/** A log whose snapshot has these chunks. */
export const withSnapshot = async (
  log: LogStore,
  index: number,
  chunks: readonly Uint8Array[],
): Promise<SnapshotRecord> => {
  const writer = await log.createSnapshot({ index, term: 1, confState: OF_ONE }, true)
  for (const chunk of chunks) await writer.write(chunk)
  return writer.commit()
}

const number = (field: number, n: number): number[] => [field << 3, ...varint(n)]
const bytes = (field: number, b: Uint8Array | number[]): number[] => [
  (field << 3) | 2,
  ...varint(b.length),
  ...b,
]
const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))])

/** raftpb.Message of type MsgSnap. */
export const msgSnap = (record: SnapshotRecord, term: number): Uint8Array => {
  const c = record.confState
  const conf = [...c.voters.flatMap((id) => number(1, id)), ...c.learners.flatMap((id) => number(2, id))]
  const meta = [...bytes(1, conf), ...number(2, record.index), ...number(3, record.term)]
  const snapshot = [...bytes(1, Buffer.from(JSON.stringify(record))), ...bytes(2, meta)]
  return Uint8Array.from([
    ...number(1, 7),
    ...number(2, 2),
    ...number(3, 1),
    ...number(4, term),
    ...bytes(9, snapshot),
  ])
}

/**
 * What the way does to a part. `break`: it is lost and so is the connection; `late`: it arrives, then the way
 * breaks.
 */
export type Fate = 'ok' | 'break' | 'late' | 'twice' | 'alter' | 'swap'

export type World = {
  readonly sender: TransferSender
  receiver: TransferReceiver
  readonly log: LogStore
  to: LogStore
  nowMs: number
  /** What comes next on the way, first to last; then everything is fine. Also of beginnings and ends. */
  readonly fates: Fate[]
  readonly reports: boolean[]
  installed: { message: Uint8Array; record: SnapshotRecord | null }[]
  pins: number
  retakes: number
  term: number
  commit: number
  /** Awaited before each part is handed over. */
  gate: (() => Promise<void>) | null
  parts: number
}

export const newWorld = (log: LogStore, to: LogStore): World => {
  const w: World = {
    sender: new TransferSender({
      group: 0,
      log,
      transport: { openStream: (_group, _to, head, total) => way(w, head, total) },
      now: () => w.nowMs,
      breathe: () => new Promise((resolve) => setImmediate(resolve)),
      report: (_to, ok) => void w.reports.push(ok),
      pin: () => {
        w.pins++
        return () => void w.pins--
      },
      retake: () => void w.retakes++,
      partBytes: SMALL_PART_BYTES,
    }),
    receiver: null as unknown as TransferReceiver,
    log,
    to,
    nowMs: 0,
    fates: [],
    reports: [],
    installed: [],
    pins: 0,
    retakes: 0,
    term: 1,
    commit: 0,
    gate: null,
    parts: 0,
  }
  startReceiver(w)
  return w
}

/** A receiver as after a start: what was unfinished is gone. */
export const startReceiver = (w: World): void => {
  w.receiver = new TransferReceiver({
    log: w.to,
    now: () => w.nowMs,
    term: () => w.term,
    commit: () => w.commit,
    install: (message, record) => void w.installed.push({ message, record }),
  })
}

const way = (w: World, head: Uint8Array, totalBytes: number): StreamOut => {
  const broken = (): StreamFailed => new StreamFailed('the way broke')
  const refused = (error: unknown): StreamFailed => new StreamFailed((error as Error).message, true)
  let open = true
  let held: Uint8Array | null = null
  const breaks = (why = 'the way broke'): StreamFailed => {
    open = false
    if (!('sentence' in sink)) sink.broken(why)
    return broken()
  }
  const fate = (): Fate => w.fates.shift() ?? 'ok'
  const sink = w.receiver.stream({ group: 0, from: 1, head: Uint8Array.from(head), totalBytes })
  const carry = async (part: Uint8Array): Promise<void> => {
    if ('sentence' in sink) return
    if (w.gate !== null) await w.gate()
    w.parts++
    await sink.write(part).catch((error: unknown) => {
      breaks((error as Error).message)
      throw refused(error)
    })
  }
  const begun = async (): Promise<number> => {
    if ('sentence' in sink) throw new StreamFailed(sink.sentence, true)
    if (fate() !== 'ok') throw breaks()
    return sink.first
  }
  const first = begun()
  first.catch(() => {})
  return {
    first,
    async write(part) {
      if (!open) throw broken()
      const copy = Uint8Array.from(part)
      const what = fate()
      if (what === 'break') throw breaks()
      if (what === 'alter') copy[8 + ((copy.length - 8) >> 1)]! ^= 1
      if (what === 'swap' && held === null) {
        held = copy
        return
      }
      await carry(copy)
      if (what === 'twice') await carry(copy)
      if (what === 'late') throw breaks()
      if (held !== null) await carry(held)
      held = null
    },
    async end() {
      if (!open || 'sentence' in sink) throw broken()
      const what = fate()
      if (what === 'break') throw breaks()
      await sink.end().catch((error: unknown) => {
        throw refused(error)
      })
      // All is there, but its sender does not hear of it.
      if (what !== 'ok') throw breaks()
    },
    abort() {
      if (open) breaks('given up by the sender')
    },
  }
}

/** Turns and time, until nothing is under way; at most so many attempts. */
export const run = async (w: World, most = 100): Promise<void> => {
  for (let i = 0; i < most && w.sender.status(w.nowMs).length > 0; i++) {
    const [s] = w.sender.status(w.nowMs)
    if (s?.state === 'waiting') w.nowMs = Math.max(w.nowMs, w.sender.due())
    w.sender.turn(w.nowMs)
    while (w.sender.status(w.nowMs)[0] !== undefined && w.sender.status(w.nowMs)[0]!.state !== 'waiting')
      await new Promise((resolve) => setImmediate(resolve))
  }
}

export const headOf = (record: SnapshotRecord, term: number): Uint8Array =>
  encodeHead(record, msgSnap(record, term))

export const readAll = async (log: LogStore, record: SnapshotRecord): Promise<Buffer> => {
  const out: Uint8Array[] = []
  for await (const chunk of log.readSnapshot(record)) out.push(Uint8Array.from(chunk))
  return Buffer.concat(out)
}
