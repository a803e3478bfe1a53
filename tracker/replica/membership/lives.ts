// Which life of each member counts. A life is one start of a replica from its data folder; it tells of itself
// when it dials. Every member remembers of every other one which life it has dealt with and how many batches
// of its log that life has called synced, on its own disk, too. A folder that was set back to an older copy
// contradicts that memory, and so does a copy that is started beside the original: it is not let in. The
// leader's word about who is the rightful one counts for all, and only the leader's refusal is final
// (docs/decisions/0011-lives.md). Refuses: clocks and connections; and to judge a life that says nothing of
// itself: that is version 0.1.0.

import { crc32 } from 'node:zlib'
import { messageInfo } from '@skep/raft/message.ts'
import type { LogStore } from '../log/log.ts'
import type { Replica } from '../replica.ts'
import { type Hello, isCount, type Life, type Refusal } from '../transport/frame-body.ts'
import type { Standing, Whereabout } from './whereabouts.ts'

/** What a member remembers of another one's life. */
export type Known = {
  readonly id: number
  readonly nonce: string
  readonly incarnation: number
  /** So many batches of its log it has called synced. */
  readonly batch: number
}

/** What the judge sees beside his memory. */
export type Facts = {
  readonly name: string
  /** This member leads: its word is final. */
  readonly leads: boolean
  /** That member leads, as far as this one knows: whoever else says to be it is final, too. */
  readonly leader: boolean
  /** Last entry that the member has acknowledged to this leader; 0: none, or not the leader. */
  readonly match: number
  /** Another life of the same member is connected here; `alive`: it has answered since this one came. */
  readonly other: { readonly alive: boolean } | null
}

/** Members remembered: more than there may be at once, so that nobody who knocks can fill a disk. */
const MOST_KNOWN = 64
const SEAL_BYTES = 4

/** The cluster has dealt with a newer life of this member, or with another one that still runs. */
export class LifeRefused extends Error {
  override readonly name = 'LifeRefused'
}

const MEND =
  'It neither votes nor answers. If it is a copy beside the original, stop it, and the original goes on. If its data ' +
  'folder was set back, stop it, delete the folder and start it with --join: it takes its place as a new member ' +
  '(skep ctl remove NAME, at any other replica, gives the place up instead).'

const olderLife = (who: string, why: string): string =>
  `${who} runs from an older copy of its data folder: ${why}. What it has acknowledged since then is missing in it. ${MEND}`

const doubledLife = (who: string): string =>
  `${who} runs twice: another start of the same data folder is connected and answers. ${MEND}`

/**
 * Why a member that hears this heartbeat runs from an older copy; '': it does not. A leader speaks to nobody
 * of a commit beyond what that one has acknowledged, and the core would panic.
 */
export const forgotten = (
  heartbeat: Uint8Array,
  at: { readonly term: number; readonly lastIndex: number },
): string => {
  const { term = 0, commit = 0 } = messageInfo(heartbeat) ?? {}
  if (term < at.term || commit <= at.lastIndex) return ''
  return olderLife(
    'this replica',
    `its log ends at entry ${at.lastIndex}, and it has acknowledged entry ${commit}`,
  )
}

/**
 * A start makes its own batches, under an incarnation that no start before it had. If the log has one that it
 * did not make, another start went on from the folder that this one is a copy of.
 */
export const unmade = (incarnation: number, number: number): string =>
  olderLife(
    'this replica',
    `batch ${number} of its start ${incarnation} is in the log, and this start did not make it`,
  )

export class Lives {
  private readonly self: number
  readonly life: Life
  private readonly known = new Map<number, Known>()
  /** Lives that were let in and that no leader has spoken of yet. */
  private readonly present = new Map<number, Life>()
  /** Whose word was the leader's last: of which term, and which start of it. */
  private ruler = { id: 0, term: 0, nonce: '' }
  /** Why this folder is not to be used any more; '' as long as it is. */
  private verdict = ''
  /** Something is to be stored: 'soon', or 'now' because a life began. */
  unsaved: '' | 'soon' | 'now' = ''
  /** Dials that were refused, and why the last one was. */
  refused = 0
  refusedBecause = ''

  /** `stored`: what `encode` gave to the log. Throws LifeRefused for a folder that was refused for good. */
  constructor(self: number, life: Life, stored: Uint8Array | null) {
    this.self = self
    this.life = life
    const { known, verdict } = decode(stored)
    if (verdict !== '') throw new LifeRefused(verdict)
    for (const k of known) this.known.set(k.id, k)
  }

  /** What is remembered of a member; null: nothing. */
  of(id: number): Known | null {
    return this.known.get(id) ?? null
  }

  /** What the word of a start is worth: a leader's judgement, or none yet. */
  standing({ id, nonce, incarnation }: Pick<Whereabout, 'id' | 'nonce' | 'incarnation'>): Standing {
    const counting = id === this.self ? this.life : this.known.get(id)
    if (counting !== undefined && counting.nonce === nonce) return 'counts'
    if (counting !== undefined && incarnation <= counting.incarnation) return 'past'
    return nonce === undefined ? 'counts' : 'open'
  }

  /** Null: let it in. Its other connections, of another life, are to be closed then. */
  judge(id: number, life: Life | null, facts: Facts): Refusal | null {
    if (life === null) return null
    const refusal = this.contradiction(id, life, facts)
    if (refusal !== null) {
      if (refusal.code === 'held') return refusal
      this.refused++
      this.refusedBecause = refusal.sentence
      return refusal
    }
    this.present.set(id, life)
    if (facts.leads) this.adopt(id, life)
    return null
  }

  private contradiction(id: number, life: Life, facts: Facts): Refusal | null {
    const known = this.known.get(id)
    if (known?.nonce === life.nonce) return null
    const who = `"${facts.name}" (member ${id})`
    const older = (why: string): Refusal => ({
      code: 'older life',
      sentence: olderLife(who, why),
      final: facts.leads || (facts.leader && facts.other !== null),
    })
    if (known !== undefined && life.began < known.batch)
      return older(
        `its log had written ${life.began} batches when it was opened, and batch ${known.batch} was on its disk`,
      )
    if (facts.match > life.lastIndex)
      return older(`its log ended at entry ${life.lastIndex}, and it has acknowledged entry ${facts.match}`)
    if (known !== undefined && life.incarnation <= known.incarnation)
      return older(`this is its start ${life.incarnation}, and another start ${known.incarnation} was here`)
    if (facts.other === null) return null
    if (!facts.other.alive)
      return {
        code: 'held',
        sentence: `another start of ${who} was here a moment ago: it is asked whether it still is`,
      }
    return { code: 'doubled', sentence: doubledLife(who), final: facts.leads || facts.leader }
  }

  private adopt(id: number, life: Life): void {
    const known = this.known.get(id)
    if (known?.nonce === life.nonce) return
    this.put({ id, nonce: life.nonce, incarnation: life.incarnation, batch: life.began })
    this.unsaved = 'now'
  }

  private put(known: Known): void {
    this.known.set(known.id, known)
    for (const id of this.known.keys()) if (this.known.size > MOST_KNOWN) this.known.delete(id)
  }

  /**
   * This member leads from now on, and whoever it has let in and is still here counts; or it leads no more.
   * Who has gone meanwhile may have been a copy that the last leader has refused: it is judged anew.
   */
  leads(leads: boolean, isHere: (id: number, nonce: string) => boolean): void {
    if (leads) for (const [id, life] of this.present) if (isHere(id, life.nonce)) this.adopt(id, life)
  }

  /** What this member tells the others. `synced`: batches of its own log that are on disk. */
  tell(synced: number): Known[] {
    const { nonce, incarnation } = this.life
    return [{ id: this.self, nonce, incarnation, batch: synced }, ...this.known.values()]
  }

  /**
   * What another one has told; `leader`: it leads that term, by its ID. Returns whose connections may be of a
   * life that does not count.
   */
  told(said: readonly Known[], leader: { readonly id: number; readonly term: number } | null): number[] {
    const out: number[] = []
    const byLeader = leader !== null && this.rules(said, leader)
    for (const k of said) {
      if (k.id === this.self) continue
      const mine = this.known.get(k.id)
      if (mine?.nonce === k.nonce) {
        if (k.batch <= mine.batch) continue
        this.put({ ...mine, batch: k.batch })
        this.unsaved ||= 'soon'
      } else if (byLeader) {
        this.put(k)
        this.unsaved = 'now'
        const here = this.present.get(k.id)
        if (here === undefined || here.nonce === k.nonce) continue
        this.present.delete(k.id)
        out.push(k.id)
      }
    }
    return out
  }

  /** A start leads to the end of it or of its term: another one that says so in that term is its copy. */
  private rules(said: readonly Known[], { id, term }: { id: number; term: number }): boolean {
    const nonce = said.find((k) => k.id === id)?.nonce ?? ''
    const { ruler } = this
    if (ruler.id === id && ruler.term === term) return ruler.nonce === nonce
    this.ruler = { id, term, nonce }
    return true
  }

  /** Members that were removed need not be remembered: their IDs are never used again. */
  forget(id: number): void {
    this.present.delete(id)
    if (this.known.delete(id)) this.unsaved ||= 'soon'
  }

  /** This folder is not to be used any more; `encode` says so from now on. */
  condemn(sentence: string): void {
    this.verdict = sentence
    this.unsaved = 'now'
  }

  /** What is new is stored, unless the disk fails just now. */
  async save(log: Pick<LogStore, 'setLives' | 'failed'>): Promise<void> {
    const { unsaved } = this
    if (unsaved === '' || log.failed !== null) return
    this.unsaved = ''
    // A failed write stays pending in the log until it is mended.
    await log.setLives(this.encode(), unsaved === 'now').catch(() => {})
  }

  /** For the log's own disk: CRC-32 of the rest (little-endian), JSON. */
  encode(): Uint8Array {
    const { verdict } = this
    const text = Buffer.from(JSON.stringify({ v: 1, verdict, known: [...this.known.values()] }))
    const out = Buffer.alloc(SEAL_BYTES + text.length)
    out.writeUInt32LE(crc32(text))
    out.set(text, SEAL_BYTES)
    return out
  }
}

/** A member that dials, or why its life may not come in. */
export const admitLife = (
  lives: Lives,
  replica: Pick<Replica, 'leads' | 'status' | 'progress'>,
  hello: Pick<Hello, 'from' | 'name' | 'life'>,
  other: Facts['other'],
): Refusal | null => {
  const { from, name, life = null } = hello
  const acked = replica.status.role === 'leader' && life !== null ? replica.progress() : []
  const match = acked.find((p) => p.id === from)?.match ?? 0
  return lives.judge(from, life, {
    ...{ name, match, other, leads: replica.leads },
    leader: replica.status.leader === from,
  })
}

const decode = (stored: Uint8Array | null): { known: Known[]; verdict: string } => {
  const bytes = Buffer.from(stored ?? [])
  const text = bytes.subarray(SEAL_BYTES)
  // A memory that is lost is no reason to stay away: the others have theirs.
  if (text.length === 0 || crc32(text) !== bytes.readUInt32LE()) return { known: [], verdict: '' }
  const value = JSON.parse(text.toString()) as Record<string, unknown>
  return { known: knownOf(value.known), verdict: typeof value.verdict === 'string' ? value.verdict : '' }
}

/** What was said or stored, as far as it is well-formed. */
export const knownOf = (value: unknown): Known[] =>
  (Array.isArray(value) ? value : []).slice(0, MOST_KNOWN).flatMap((one): Known[] => {
    const { id, nonce, incarnation, batch } = (one ?? {}) as Record<string, unknown>
    if (!isCount(id) || !isCount(incarnation) || !isCount(batch) || typeof nonce !== 'string') return []
    return [{ id, nonce: nonce.slice(0, 64), incarnation, batch }]
  })
