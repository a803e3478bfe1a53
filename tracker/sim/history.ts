// The one history of a simulated cluster: committed entries as the first member to apply them saw them,
// decoded, and the slow twin of the table at any index. Refuses: the real table's code; batches and changes
// are read from the words.

import { crc32 } from 'node:zlib'
import { COMPLETED, IPV6, KIND_MASK, LEAVE, loggedWords, SEEDER } from '../swarm/change.ts'
import { BATCH, BIRTH, ENTRY_WORDS, jsonOf, LEVEL, PART_WORDS, SECTION_WORDS } from '../swarm/entry.ts'
import { Model } from '../swarm/model.ts'

export type Change = {
  /** First word of the info_hash: swarms of a simulation differ in it. */
  readonly swarm: number
  /** Family, address and port. */
  readonly peer: string
  readonly v6: boolean
  readonly leave: boolean
  readonly seeder: boolean
  readonly completed: boolean
  readonly tag: number
  /** Where it was asked for: sequence number in the front end's ring. */
  readonly sequence: number
}
export type Section = {
  readonly member: number
  readonly incarnation: number
  readonly number: number
  readonly changes: readonly Change[]
}
export type Recorded = {
  readonly index: number
  readonly term: number
  readonly crc: number
  readonly timeMs: number
  /** What the entry raises the level of behaviour to; 0: it does not. */
  readonly level: number
  readonly sections: readonly Section[]
}

export const peerName = (v6: boolean, address: ArrayLike<number>, at: number, port: number): string =>
  v6
    ? `6:${address[at]}.${address[at + 1]}.${address[at + 2]}.${address[at + 3]}:${port}`
    : `4:${address[at]}:${port}`

export const decode = (index: number, term: number, data: Uint8Array): Recorded => {
  const words = new Int32Array(data.slice().buffer, 0, data.length >>> 2)
  const timeMs = (words[1]! >>> 0) + words[2]! * 2 ** 32
  const sections: Section[] = []
  let at = ENTRY_WORDS
  const kind = words.length < ENTRY_WORDS ? 0 : words[0]! & 0xff
  const count = kind === BATCH ? words[3]! : 0
  const level = kind === BIRTH || kind === LEVEL ? (jsonOf(words) as { level: number }).level : 0
  for (let n = 0; n < count; n++, at += words[at + 4]!) sections.push(section(words, at))
  return { index, term, crc: crc32(data, term), timeMs, level, sections }
}

const section = (words: Int32Array, at: number): Section => {
  const changes: Change[] = []
  let o = at + SECTION_WORDS
  for (let part = 0; part < words[at + 5]!; part++) {
    const isChanges = words[o]! >>> 16 === 0
    const first = words[o + 1]!
    const count = words[o + 2]!
    const end = o + PART_WORDS + words[o + 3]!
    if (isChanges)
      for (let i = 0, c = o + PART_WORDS; i < count; i++, c += loggedWords(words[c]!))
        changes.push(change(words, c, (first + i) | 0))
    o = end
  }
  const member = (words[at]! >>> 0) + words[at + 1]! * 2 ** 32
  return { member, incarnation: words[at + 2]!, number: words[at + 3]!, changes }
}

const change = (words: Int32Array, at: number, sequence: number): Change => {
  const word0 = words[at]!
  const v6 = (word0 & IPV6) !== 0
  const hash = at + (v6 ? 5 : 2)
  return {
    swarm: words[hash]!,
    peer: peerName(v6, words, at + 1, word0 >>> 16),
    v6,
    leave: (word0 & KIND_MASK) === LEAVE,
    seeder: (word0 & SEEDER) !== 0,
    completed: (word0 & COMPLETED) !== 0,
    tag: words[hash + 5]!,
    sequence,
  }
}

/** What one member's table must hold: the slow twin, fed by the same history. */
export class Twin {
  readonly model = new Model()
  /** By swarm and peer: its last change, and of which entry and cluster time. */
  readonly last = new Map<string, { change: Change; index: number; timeMs: number }>()
  index = 0
  timeMs = 0
  private readonly batches = new Map<number, { incarnation: number; number: number }>()

  apply(entry: Recorded, heard?: (section: Section, change: Change) => void): void {
    this.index = entry.index
    this.model.level = Math.max(this.model.level, entry.level)
    if (entry.timeMs > this.timeMs) this.timeMs = Math.min(entry.timeMs, this.timeMs + 2000)
    for (const s of entry.sections) {
      if (!this.isNext(s)) continue
      for (const c of s.changes) {
        this.change(c)
        this.last.set(`${c.swarm} ${c.peer}`, { change: c, index: entry.index, timeMs: this.timeMs })
        heard?.(s, c)
      }
    }
  }

  /** A member was removed: nothing is known of its batches any more. */
  forget(member: number): void {
    this.batches.delete(member)
  }

  private isNext({ member, incarnation, number }: Section): boolean {
    const last = this.batches.get(member) ?? { incarnation: 0, number: 0 }
    const next =
      incarnation > last.incarnation
        ? number === 1
        : incarnation === last.incarnation && number === ((last.number + 1) | 0)
    if (next) this.batches.set(member, { incarnation, number })
    return next
  }

  private change(c: Change): void {
    const swarm = String(c.swarm)
    if (c.leave) this.model.leave(swarm, c.peer, c.v6, c.tag)
    else this.model.put(swarm, c.peer, c.v6, c.seeder, c.tag, c.completed)
    const left = this.model.swarms.get(swarm)
    // The table forgets an empty swarm that nobody ever completed.
    if (left?.peers.size === 0 && left.completed === 0) this.model.swarms.delete(swarm)
  }
}
