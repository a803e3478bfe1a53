// Reads the two protobuf messages that a shell around the core has to look into: raftpb.Message (a transport
// routes by it and picks out snapshots) and raftpb.ConfChange(V2) (an apply loop wants to know who comes and
// goes). Field numbers are those of raftpb/raft.proto. It reads only, and refuses by null what is not
// well-formed.
import type { ConfChange, ConfChangeStep, ConfState, Entry, Snapshot } from './types.ts'
import { ENTRY_CONF_CHANGE } from './types.ts'

/** raftpb.MessageType, by number. */
export const MESSAGE_TYPES = [
  'MsgHup',
  'MsgBeat',
  'MsgProp',
  'MsgApp',
  'MsgAppResp',
  'MsgVote',
  'MsgVoteResp',
  'MsgSnap',
  'MsgHeartbeat',
  'MsgHeartbeatResp',
  'MsgUnreachable',
  'MsgSnapStatus',
  'MsgCheckQuorum',
  'MsgTransferLeader',
  'MsgTimeoutNow',
  'MsgReadIndex',
  'MsgReadIndexResp',
  'MsgPreVote',
  'MsgPreVoteResp',
  'MsgStorageAppend',
  'MsgStorageAppendResp',
  'MsgStorageApply',
  'MsgStorageApplyResp',
  'MsgForgetLeader',
] as const

export const MSG_APP = 3
export const MSG_APP_RESP = 4
export const MSG_VOTE = 5
export const MSG_VOTE_RESP = 6
export const MSG_SNAP = 7
export const MSG_HEARTBEAT = 8
export const MSG_HEARTBEAT_RESP = 9
export const MSG_TIMEOUT_NOW = 14

export type MessageInfo = {
  readonly type: number
  readonly to: number
  readonly from: number
  readonly term: number
  /** Term of the entry at `index`. */
  readonly logTerm: number
  readonly index: number
  readonly commit: number
  readonly reject: boolean
  readonly rejectHint: number
  /** How many entries it carries, and the bytes of their data. */
  readonly entries: number
  readonly entryBytes: number
  /** Of MsgSnap; its data is a view of the message. */
  readonly snapshot: Snapshot | null
}

/** One field of a protobuf message: a varint (or other number) in `value`, bytes between `from` and `to`. */
type Field = { number: number; value: number; from: number; to: number }
type Scan = { readonly bytes: Uint8Array; at: number; readonly end: number; readonly field: Field }

const scan = (bytes: Uint8Array, from = 0, end = bytes.length): Scan => {
  return { bytes, at: from, end, field: { number: 0, value: 0, from: 0, to: 0 } }
}

class Malformed extends Error {}

const varint = (s: Scan): number => {
  let n = 0
  let unit = 1
  for (let i = 0; i < 10; i++) {
    if (s.at >= s.end) break
    const b = s.bytes[s.at++]!
    n += (b & 0x7f) * unit
    unit *= 128
    if (b < 128) {
      if (!Number.isSafeInteger(n)) throw new Malformed()
      return n
    }
  }
  throw new Malformed()
}

/** Moves to the next field; false at the end. */
const next = (s: Scan): boolean => {
  if (s.at === s.end) return false
  const key = varint(s)
  const f = s.field
  f.number = Math.floor(key / 8)
  f.value = 0
  f.from = s.at
  const wireType = key % 8
  if (f.number === 0) throw new Malformed()
  if (wireType === 0) f.value = varint(s)
  else if (wireType === 2) {
    const length = varint(s)
    f.from = s.at
    s.at += length
  } else if (wireType === 1) s.at += 8
  else if (wireType === 5) s.at += 4
  else throw new Malformed()
  if (s.at > s.end) throw new Malformed()
  f.to = s.at
  return true
}

const inner = (s: Scan): Scan => scan(s.bytes, s.field.from, s.field.to)

const orNull = <T>(read: () => T): T | null => {
  try {
    return read()
  } catch (e) {
    if (e instanceof Malformed) return null
    throw e
  }
}

/** The head of an encoded raftpb.Message; null if it is none. Costs about a microsecond. */
export const messageInfo = (bytes: Uint8Array): MessageInfo | null => orNull(() => readMessage(bytes))

const readMessage = (bytes: Uint8Array): MessageInfo => {
  const numbers = new Array<number>(14).fill(0)
  let entries = 0
  let entryBytes = 0
  let snapshot: Snapshot | null = null
  for (const s = scan(bytes); next(s); ) {
    const { number, value } = s.field
    if (number === 7) {
      entries++
      entryBytes += dataLength(inner(s))
    } else if (number === 9) snapshot = readSnapshot(inner(s))
    else if (number < numbers.length) numbers[number] = value
  }
  return {
    type: numbers[1]!,
    to: numbers[2]!,
    from: numbers[3]!,
    term: numbers[4]!,
    logTerm: numbers[5]!,
    index: numbers[6]!,
    commit: numbers[8]!,
    reject: numbers[10] !== 0,
    rejectHint: numbers[11]!,
    entries,
    entryBytes,
    snapshot: snapshot !== null && snapshot.index > 0 ? snapshot : null,
  }
}

const dataLength = (s: Scan): number => {
  let length = 0
  while (next(s)) if (s.field.number === 4) length = s.field.to - s.field.from
  return length
}

const readSnapshot = (s: Scan): Snapshot => {
  let data: Uint8Array = new Uint8Array()
  let meta: Omit<Snapshot, 'data'> = { index: 0, term: 0, confState: readConfState(scan(data)) }
  while (next(s)) {
    if (s.field.number === 1) data = s.bytes.subarray(s.field.from, s.field.to)
    else if (s.field.number === 2) meta = readSnapshotMetadata(inner(s))
  }
  return { ...meta, data }
}

const readSnapshotMetadata = (s: Scan): Omit<Snapshot, 'data'> => {
  let confState = readConfState(scan(new Uint8Array()))
  let index = 0
  let term = 0
  while (next(s)) {
    if (s.field.number === 1) confState = readConfState(inner(s))
    else if (s.field.number === 2) index = s.field.value
    else if (s.field.number === 3) term = s.field.value
  }
  return { index, term, confState }
}

const readConfState = (s: Scan): ConfState => {
  const lists: number[][] = [[], [], [], []]
  let autoLeave = false
  while (next(s)) {
    const list = lists[s.field.number - 1]
    if (list !== undefined) list.push(s.field.value)
    else if (s.field.number === 5) autoLeave = s.field.value !== 0
  }
  const [voters, learners, votersOutgoing, learnersNext] = lists as [number[], number[], number[], number[]]
  return { voters, learners, votersOutgoing, learnersNext, autoLeave }
}

const TRANSITIONS = ['auto', 'joint-implicit', 'joint-explicit'] as const
/** raftpb.ConfChangeType; an update changes nothing and is left out. */
const STEP_TYPES = ['add-voter', 'remove', null, 'add-learner'] as const

/**
 * What a configuration change entry changes; null if it is not well-formed. No steps: it leaves a joint
 * configuration. The context is a view of the entry's data.
 */
export const confChangeOf = (entry: Entry): ConfChange | null =>
  orNull(() => (entry.type === ENTRY_CONF_CHANGE ? readFirst(entry.data) : readSecond(entry.data)))

const pushStep = (steps: ConfChangeStep[], type: number, id: number): void => {
  const name = STEP_TYPES[type]
  if (name === undefined) throw new Malformed()
  if (name !== null) steps.push({ type: name, id })
}

/** raftpb.ConfChange, the older form: exactly one step. */
const readFirst = (bytes: Uint8Array): ConfChange => {
  let [type, id] = [0, 0]
  let context: Uint8Array = new Uint8Array()
  for (const s = scan(bytes); next(s); ) {
    if (s.field.number === 2) type = s.field.value
    else if (s.field.number === 3) id = s.field.value
    else if (s.field.number === 4) context = bytes.subarray(s.field.from, s.field.to)
  }
  const steps: ConfChangeStep[] = []
  pushStep(steps, type, id)
  return { steps, transition: 'auto', context }
}

const readSecond = (bytes: Uint8Array): ConfChange => {
  const steps: ConfChangeStep[] = []
  let transition = 0
  let context: Uint8Array = new Uint8Array()
  for (const s = scan(bytes); next(s); ) {
    if (s.field.number === 1) transition = s.field.value
    else if (s.field.number === 3) context = bytes.subarray(s.field.from, s.field.to)
    else if (s.field.number === 2) {
      let [type, id] = [0, 0]
      for (const one = inner(s); next(one); ) {
        if (one.field.number === 1) type = one.field.value
        else if (one.field.number === 2) id = one.field.value
      }
      pushStep(steps, type, id)
    }
  }
  const name = TRANSITIONS[transition]
  if (name === undefined) throw new Malformed()
  return { steps, transition: name, context }
}
