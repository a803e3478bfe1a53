// What happened in a simulated world: every event folded into one hash, the last ones of each member kept as
// numbers and turned into sentences only when somebody reads them. Refuses: to influence anything: the same
// seed gives the same trace, whether it is printed or not.

import { MESSAGE_TYPES } from '@skep/raft/message.ts'

/** Numbers of an event as a sentence. A message's are: the other side, type, term, index, entries. */
const EVENTS = {
  start: (life: number) => `starts, life ${life}`,
  restored: (index: number, inc: number) => `log open, table as of ${index}, incarnation ${inc}`,
  installed: (index: number) => `installed the snapshot of ${index} from another member`,
  crash: (power: number) => (power === 1 ? 'POWER CUT' : 'KILLED'),
  exit: () => 'ends by itself: its disk takes nothing',
  gone: () => 'ends for good: it was removed',
  lostDisk: () => 'DISK LOST, for good',
  setBack: (batch: number) => `its disk is SET BACK to batch ${batch}`,
  doubles: (of: number) => `starts as a COPY of ${who(of)}`,
  takes: (of: number) => `is met where ${who(of)} was`,
  putBack: () => 'its own disk is PUT BACK',
  refused: () => 'ends for good: it runs from a copy',
  stops: () => 'is told to stop',
  stopped: () => 'has stopped',
  stand: () => 'STANDS STILL',
  goOn: () => 'goes on',
  send: (to: number, type: number, ...of: number[]) => `sends ${message(type, of)} to ${who(to)}`,
  receive: (from: number, type: number, ...of: number[]) => `gets ${message(type, of)} from ${who(from)}`,
  lost: (to: number, type: number, ...of: number[]) => `LOST ${message(type, of)} to ${who(to)}`,
  repeated: (to: number, type: number, ...of: number[]) => `repeats ${message(type, of)} to ${who(to)}`,
  role: (role: number, term: number, leader: number) =>
    `is ${ROLES[role]} of term ${term}, leader ${leader === 0 ? 'unknown' : who(leader)}`,
  leads: (term: number) => `LEADS term ${term}`,
  leadsNoMore: (term: number) => `leads no more, term ${term}`,
  write: (entries: number, last: number) => `writes ${entries} entries, up to ${last}`,
  written: (last: number) => `has written up to ${last}`,
  apply: (index: number, term: number, crc: number) => `applies ${index}/${term} (${hex(crc)})`,
  digest: (index: number, digest: number) => `table as of ${index}: ${hex(digest)}`,
  snapshot: (index: number) => `took a snapshot of ${index}`,
  request: (client: number, action: number, transaction: number) =>
    `asked by client ${client}: ${ACTIONS[action]} #${transaction}`,
  answer: (client: number, action: number, transaction: number, applied: number) =>
    `answers client ${client}: ${ACTIONS[action]} #${transaction} as of ${applied}`,
  diskFault: (fault: number) => `disk: ${DISK_FAULTS[fault]}`,
  diskPace: (syncMs: number) => `disk: a sync takes ${syncMs} ms`,
  jump: (ms: number) => `clock jumps ${ms} ms`,
  rate: (ppm: number) => `clock runs ${ppm} ppm off`,
  broken: (to: number, channel: number) => `connection ${channel} to ${who(to)} broke`,
  connected: (to: number, channel: number) => `connection ${channel} to ${who(to)} stands again`,
  change: (what: number) => `is asked to ${CHANGES[what]} members`,
  raise: (level: number) => `proposes that the cluster works at level ${level}`,
  members: (...voters: number[]) => `voters are ${voters.map(who).join(' ')} now`,
  joins: (life: number) => `is a new replica that wants to join${life > 1 ? ' again' : ''}`,
  cut: (to: number) => `way to ${who(to)} CUT`,
  mend: (to: number) => `way to ${who(to)} mended`,
  clog: (to: number, ms: number) => `way to ${who(to)} clogged for ${ms} ms`,
  weather: (loss: number, repeat: number, reorder: number, jitter: number) =>
    `weather: loss ${loss} %, repeat ${repeat} %, reorder ${reorder} %, jitter ${jitter} ms`,
  heal: () => 'everything heals',
  calm: () => 'as before the faults: all serve, all tables are equal',
} as const
export type EventKind = keyof typeof EVENTS

const KINDS = Object.keys(EVENTS) as EventKind[]
const NUMBERS = Object.fromEntries(KINDS.map((kind, i) => [kind, i])) as Record<EventKind, number>
export const ROLES = ['follower', 'candidate', 'leader', 'pre-candidate'] as const
export const DISK_FAULTS = ['none', 'full', 'fails', 'fails-but-lands'] as const
const CHANGES = ['add', 'promote', 'demote', 'remove', 'transfer leadership among'] as const
const ACTIONS = ['connect', 'announce', 'scrape', 'error'] as const
/** Messages that are not Raft's have types from here on. */
export const OWN_TYPES = 100
const OWN_NAMES = [
  'Batch',
  'Notice',
  'Keepalive',
  'Stream',
  'Question',
  'Answer',
  'Refusal',
  'StreamAck',
  'Ping',
] as const
/** Events kept for each member. */
const KEPT = 60
const NUMBERS_KEPT = 6

const who = (member: number): string => `m${member}`
const hex = (n: number): string => (n >>> 0).toString(16).padStart(8, '0')
const message = (type: number, [term, index, entries]: number[]): string => {
  const name = type >= OWN_TYPES ? OWN_NAMES[type - OWN_TYPES] : MESSAGE_TYPES[type]
  return `${name} term=${term} at=${index}${entries! > 0 ? ` entries=${entries}` : ''}`
}

type Note = readonly [time: number, member: number, kind: EventKind, numbers: readonly number[]]

export class Trace {
  /** Of all events so far. */
  hash = 0x811c9dc5 | 0
  events = 0
  readonly counts = new Map<EventKind, number>()
  private readonly now: () => number
  private readonly print: ((line: string) => void) | null
  private readonly kept: Note[][] = []

  constructor(now: () => number, print: ((line: string) => void) | null) {
    this.now = now
    this.print = print
  }

  /** `member` 0: the world itself. */
  note(member: number, kind: EventKind, ...numbers: number[]): void {
    const time = this.now()
    let h = this.hash
    h = Math.imul(h ^ Math.floor(time * 1024), 0x01000193)
    h = Math.imul(h ^ (member * 64 + NUMBERS[kind]), 0x01000193)
    for (const n of numbers) h = Math.imul(h ^ (n | 0), 0x01000193)
    this.hash = h ^ (h >>> 15)
    this.events++
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    const of = (this.kept[member] ??= [])
    const note: Note = [time, member, kind, numbers.length > NUMBERS_KEPT ? numbers.slice(0, 6) : numbers]
    of.push(note)
    if (of.length > 2 * KEPT) of.splice(0, KEPT)
    this.print?.(line(note))
  }

  /** The last events of each member and of the world, in the order of their times. */
  last(): string[] {
    const notes = this.kept.flatMap((of) => of.slice(-KEPT))
    return notes.sort((a, b) => a[0] - b[0]).map(line)
  }
}

const line = ([time, member, kind, numbers]: Note): string => {
  const say = EVENTS[kind] as (...n: readonly number[]) => string
  return `${(time / 1000).toFixed(6).padStart(12)} s  ${member === 0 ? '--' : who(member)}  ${say(...numbers)}`
}
