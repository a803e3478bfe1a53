// The byte layouts between core.ts and core/*.go. All numbers are little-endian float64 (safe integers)
// unless called words (uint32); byte strings are a length number and the bytes, padded to 8. It knows no
// WebAssembly.
import type {
  ConfChange,
  ConfState,
  Entry,
  GroupOptions,
  HardState,
  Message,
  Progress,
  RaftErrorCode,
  ReadState,
  Ready,
  Snapshot,
} from './types.ts'

/** By the numbers of core/main.go; 0 is success. */
export const ERROR_CODES: readonly RaftErrorCode[] = [
  'bad-config', // never sent: 0 is success
  'proposal-dropped',
  'step-local-message',
  'step-peer-not-found',
  'compacted',
  'unavailable',
  'snapshot-out-of-date',
  'bad-message',
  'bad-config',
]

const DEFAULT_KEEP_BYTES = 16 * 1024 * 1024
const padded = (n: number): number => (n + 7) & ~7

/** Writes one request for the core. Grows as needed. */
export type Writer = { view: DataView; bytes: Uint8Array; length: number }

export const makeWriter = (size = 1024): Writer => {
  const bytes = new Uint8Array(size)
  return { bytes, view: new DataView(bytes.buffer), length: 0 }
}

const room = (w: Writer, n: number): void => {
  if (w.length + n <= w.bytes.length) return
  const bytes = new Uint8Array(Math.max(2 * w.bytes.length, w.length + n))
  bytes.set(w.bytes.subarray(0, w.length))
  w.bytes = bytes
  w.view = new DataView(bytes.buffer)
}

const putNumber = (w: Writer, n: number): void => {
  room(w, 8)
  w.view.setFloat64(w.length, n, true)
  w.length += 8
}

const putBytes = (w: Writer, data: Uint8Array): void => {
  putNumber(w, data.length)
  room(w, padded(data.length))
  w.bytes.set(data, w.length)
  w.bytes.fill(0, w.length + data.length, w.length + padded(data.length))
  w.length += padded(data.length)
}

const putConfState = (w: Writer, cs: ConfState): void => {
  const lists = [cs.voters, cs.learners, cs.votersOutgoing, cs.learnersNext]
  putNumber(w, cs.autoLeave ? 1 : 0)
  for (const ids of lists) putNumber(w, ids.length)
  for (const ids of lists) for (const id of ids) putNumber(w, id)
}

/** The answer of `readEntries`, and the entries a group starts with. */
export const putEntries = (w: Writer, entries: readonly Entry[]): void => {
  putNumber(w, entries.length)
  for (const e of entries) {
    putNumber(w, e.term)
    putNumber(w, e.index)
    putNumber(w, e.type)
    putBytes(w, e.data)
  }
}

const putHardState = (w: Writer, hs: HardState | null): void => {
  putNumber(w, hs === null ? 0 : 1)
  if (hs !== null) for (const n of [hs.term, hs.vote, hs.commit]) putNumber(w, n)
}

export const putOptions = (w: Writer, o: GroupOptions): void => {
  const numbers = [
    o.id,
    o.electionTicks,
    o.heartbeatTicks,
    o.maxSizePerMessageBytes,
    o.maxUncommittedBytes,
    o.maxInflightMessages,
    o.maxInflightBytes,
    o.applied,
    o.keepBytes ?? DEFAULT_KEEP_BYTES,
  ]
  for (const n of numbers) putNumber(w, n)
  putNumber(w, o.readEntries === undefined ? 0 : 1)
  putHardState(w, o.hardState)
  putNumber(w, o.snapshot === null ? 0 : 1)
  if (o.snapshot !== null) {
    putNumber(w, o.snapshot.index)
    putNumber(w, o.snapshot.term)
    putConfState(w, o.snapshot.confState)
    putBytes(w, o.snapshot.data)
  }
  putNumber(w, o.confState === undefined ? 0 : 1)
  if (o.confState !== undefined) putConfState(w, o.confState)
  putNumber(w, o.compacted === undefined ? 0 : 1)
  if (o.compacted !== undefined) for (const n of [o.compacted.index, o.compacted.term]) putNumber(w, n)
  putEntries(w, o.entries)
}

const TRANSITIONS = ['auto', 'joint-implicit', 'joint-explicit'] as const
/** raftpb.ConfChangeType. */
const STEP_TYPES = { 'add-voter': 0, remove: 1, 'add-learner': 3 } as const

export const putConfChange = (w: Writer, change: ConfChange): void => {
  putNumber(w, TRANSITIONS.indexOf(change.transition))
  putNumber(w, change.steps.length)
  for (const step of change.steps) {
    putNumber(w, STEP_TYPES[step.type])
    putNumber(w, step.id)
  }
  putBytes(w, change.context)
}

export const putDescriptor = (w: Writer, confState: ConfState, data: Uint8Array): void => {
  putConfState(w, confState)
  putBytes(w, data)
}

/** The core's linear memory as it is now; views handed out are views of this. */
export type Linear = { buffer: ArrayBuffer; bytes: Uint8Array; view: DataView }

/** A position in the linear memory: readers move it on. */
type Cursor = { at: number }

const number = (m: Linear, c: Cursor): number => {
  const n = m.view.getFloat64(c.at, true)
  c.at += 8
  return n
}

/** Address and length words of bytes that lie elsewhere. */
const distant = (m: Linear, c: Cursor): Uint8Array => {
  const from = m.view.getUint32(c.at, true)
  const length = m.view.getUint32(c.at + 4, true)
  c.at += 8
  return new Uint8Array(m.buffer, length === 0 ? 0 : from, length)
}

const entry = (m: Linear, c: Cursor): Entry => {
  const term = number(m, c)
  const index = number(m, c)
  const type = m.view.getUint32(c.at, true)
  c.at += 4
  const data = distant(m, c)
  c.at += 4
  return { index, term, type, data }
}

const confState = (m: Linear, c: Cursor): ConfState => {
  const autoLeave = number(m, c) !== 0
  const lengths = [number(m, c), number(m, c), number(m, c), number(m, c)]
  const [voters, learners, votersOutgoing, learnersNext] = lengths.map((n) =>
    Array.from({ length: n }, () => number(m, c)),
  )
  return {
    voters: voters!,
    learners: learners!,
    votersOutgoing: votersOutgoing!,
    learnersNext: learnersNext!,
    autoLeave,
  }
}

export const readConfState = (m: Linear, at: number): ConfState => confState(m, { at })

const message = (m: Linear, c: Cursor): Message => {
  const at = c.at
  const length = m.view.getUint32(at + 20, true)
  c.at = at + 24 + padded(length)
  return {
    to: m.view.getFloat64(at, true),
    type: m.view.getUint32(at + 8, true),
    early: m.view.getUint32(at + 12, true) !== 0,
    slot: m.view.getUint32(at + 16, true) - 1,
    data: new Uint8Array(m.buffer, at + 24, length),
  }
}

const list = <T>(n: number, one: (m: Linear, c: Cursor) => T, m: Linear, c: Cursor): T[] => {
  const items: T[] = []
  for (let i = 0; i < n; i++) items.push(one(m, c))
  return items
}

const readState = (m: Linear, c: Cursor): ReadState => ({ index: number(m, c), context: distant(m, c) })

const snapshot = (m: Linear, c: Cursor): Snapshot => {
  const index = number(m, c)
  const term = number(m, c)
  const data = distant(m, c)
  return { index, term, data, confState: confState(m, c) }
}

/** Reads the Ready described at `ready` in core/ready.go. */
export const readReady = (m: Linear, at: number): Ready => {
  const c: Cursor = { at: at + 64 }
  const head = (k: number): number => m.view.getFloat64(at + 8 * k, true)
  const flags = head(4)
  const entries = list(head(0), entry, m, c)
  const committed = list(head(1), entry, m, c)
  const readStates = list(head(3), readState, m, c)
  const received = (flags & 4) === 0 ? null : snapshot(m, c)
  const messages = list(head(2), message, m, c)
  return {
    hardState: (flags & 1) === 0 ? null : { term: head(5), vote: head(6), commit: head(7) },
    entries,
    committed,
    messages,
    snapshot: received,
    readStates,
    mustSync: (flags & 2) !== 0,
  }
}

const PROGRESS_STATES = ['probe', 'replicate', 'snapshot'] as const

export const readProgress = (m: Linear, at: number): Progress[] => {
  const c: Cursor = { at }
  return list(
    number(m, c),
    () => {
      const [id, match, next, state] = [number(m, c), number(m, c), number(m, c), number(m, c)]
      const flags = number(m, c)
      return {
        id,
        match,
        next,
        state: PROGRESS_STATES[state]!,
        recentActive: (flags & 1) !== 0,
        isLearner: (flags & 2) !== 0,
        pendingSnapshot: number(m, c),
      }
    },
    m,
    c,
  )
}
