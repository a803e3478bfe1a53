// A member at work in its thread: the loop, its sleep, and what the front ends see of it.
// Refuses: to decide; the member does, and the desk for changes of members.

import type { MessagePort } from 'node:worker_threads'
import { type Driven, drive, newDriven } from '../replica/drive.ts'
import { encodeIdentity } from '../replica/membership/birth.ts'
import { LifeRefused } from '../replica/membership/lives.ts'
import { monotonicMs, SERVING, STOPPING, WAITING } from '../threads/state.ts'
import { handOver } from './drain.ts'
import { Ending } from './ending.ts'
import { ordersOf } from './orders.ts'
import { assemble, type Loop, type Opened, type Parts } from './parts.ts'
import { Saving } from './saving.ts'
import type { Standing } from './status.ts'

/** Between syncs of the mark (and, with `--fsync interval`, of the log). */
const FLUSH_MS = 1000
/** Between looks for changes that wait too long. */
const HOUSEKEEPING_MS = 100
/** Between looks at who might be a member next. */
const TEND_MS = 200
const LONGEST_SLEEP_MS = 1000

/** Runs until it is told to stop, and ends in good order. Rejects: a panic, a failed log, a bug. */
export async function runMember(opened: Opened, port: MessagePort): Promise<void> {
  let running: Running | null = null
  const sleeper = new Sleeper()
  const parts = await assemble(opened, {
    wake: (what) => sleeper.wake(what),
    received: () => running?.publish(),
    removed: (sentence) => running?.remove(sentence),
    unwelcome: (sentence) => running?.avoid(sentence),
  })
  running = new Running(parts, sleeper)
  await running.run(port)
}

/** A sleep that whoever brings something ends. */
class Sleeper {
  private wakeUp: (() => void) | null = null

  readonly wake: Loop['wake'] = (what) => {
    const done = what()
    this.wakeUp?.()
    return done
  }

  /** Resolves at the next `wake`. */
  woken(): Promise<void> {
    return new Promise((resolve) => (this.wakeUp = resolve))
  }
}

class Running {
  private readonly parts: Parts
  private readonly sleeper: Sleeper
  private readonly driven: Driven = newDriven()
  private readonly saving: Saving
  private readonly ending: Ending
  private diskError = ''
  /** Why this replica is not wanted any more; '' while it is. */
  private removedBecause = ''
  /** Why another member does not let it in. */
  private avoidedBecause = ''
  private served = false
  /** The level that the folder's identity says. */
  private marked: number
  private tendMs = Number.NEGATIVE_INFINITY

  constructor(parts: Parts, sleeper: Sleeper) {
    this.parts = parts
    this.marked = parts.identity.version
    this.sleeper = sleeper
    this.saving = new Saving(parts)
    this.ending = new Ending(parts, this.saving)
  }

  async run(port: MessagePort): Promise<void> {
    const { parts, ending, saving } = this
    const { member, log, say, store, lives } = parts
    const carryOut = ordersOf({ parts, saving, ending, standing: () => this.standing() })
    port.on('message', (order) => {
      this.sleeper.wake(() => carryOut(order))
      if (ending.begun) this.publish()
    })
    say({ kind: 'open', store: store.buffers })
    const flushing = setInterval(() => this.flush(), FLUSH_MS)
    const housekeeping = setInterval(() => member.abandonLate(monotonicMs()), HOUSEKEEPING_MS)
    await drive(
      {
        member,
        log,
        now: monotonicMs,
        between: (nowMs) => this.between(nowMs),
        published: () => this.publish(),
        sleep: (untilMs) => this.sleep(untilMs),
        pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        failing: (error) => {
          this.diskError = error?.message ?? ''
        },
        ended: () => ending.may(),
      },
      this.driven,
    ).catch((error: unknown) => this.refused(error))
    clearInterval(flushing)
    clearInterval(housekeeping)
    // Whose start was let in a moment ago is remembered through a stop of everybody.
    await lives.save(log)
    await ending.end()
    port.close()
  }

  /** Written down, so that this folder says no by itself from now on. */
  private async refused(error: unknown): Promise<never> {
    const { control, lives, log } = this.parts
    if (error instanceof LifeRefused) {
      control.setState(STOPPING)
      lives.condemn(error.message)
      await lives.save(log)
    }
    throw error
  }

  private standing(): Standing {
    const { diskError, removedBecause, driven } = this
    return { diskError, removedBecause, driven }
  }

  avoid(sentence: string): void {
    if (sentence === this.avoidedBecause) return
    this.avoidedBecause = sentence
    this.parts.say({ kind: 'unwelcome', sentence })
  }

  remove(sentence: string): void {
    if (this.removedBecause !== '') return
    this.removedBecause = sentence
    this.parts.member.leave(monotonicMs())
    this.parts.say({ kind: 'removed', sentence })
    this.publish()
  }

  /** Snapshots on their way, and changes of members that nobody has to ask for. */
  private between(nowMs: number): void {
    const { transfers, desk, bulletin, member, lives, log } = this.parts
    if (transfers === null) return
    this.parts.network?.note()
    if (transfers.due() <= nowMs) transfers.turn(nowMs)
    if (nowMs < this.tendMs) return
    this.tendMs = nowMs + TEND_MS
    this.parts.network?.look()
    // A start that counts from now on is told at once: whoever else is asked about a copy must know of it.
    bulletin.tell(nowMs, lives.unsaved === 'now')
    void lives.save(log)
    if (!member.replica.leads) return
    // Elected again while it is being drained: not for long.
    if (bulletin.draining && !member.transferring) void handOver(this.parts)
    if (desk.due <= nowMs) void desk.turn(nowMs).catch(() => {})
  }

  /**
   * Until something comes in or the time is there. While changes wait (for company, for a leader) the rings
   * are not watched: each front end's next batch would wake this thread for nothing.
   */
  private async sleep(dueMs: number): Promise<void> {
    const { transfers, feed, control } = this.parts
    const untilMs = Math.min(dueMs, transfers?.due() ?? dueMs, this.ending.byMs)
    const ms = Math.max(0, Math.min(untilMs - monotonicMs(), LONGEST_SLEEP_MS))
    const woken = this.sleeper.woken()
    if (feed.waiting()) {
      const timer = setTimeout(() => this.sleeper.wake(() => {}), Math.max(1, ms))
      await woken
      clearTimeout(timer)
      return
    }
    const slept = control.sleepReplica(ms)
    // Published between the last look and the sleep: nobody has seen that this thread sleeps.
    if (slept.async && !feed.waiting()) await Promise.race([slept.value, woken])
    control.replicaAwake()
  }

  /** What front ends test before they answer. */
  publish(): void {
    const { control, member, born, say } = this.parts
    control.setLeaseUntil(member.leaseUntilMs)
    const full = member.refusing || this.diskError !== ''
    if (control.diskFull !== full) control.setDiskFull(full)
    const serving = born() && !this.ending.begun && member.mayAnswer(monotonicMs())
    if (!serving) {
      if (control.state === SERVING) control.setState(WAITING)
      return
    }
    if (control.state !== STOPPING && control.state !== SERVING) control.setState(SERVING)
    if (!this.served) say({ kind: 'serving' })
    this.served = true
  }

  private flush(): void {
    const { log, store, identity } = this.parts
    if (log.failed !== null) return
    void log.flush().catch(() => {})
    if (store.level <= this.marked) return
    // Versions that do not know the cluster's rules refuse this folder from now on.
    this.marked = store.level
    void log.setIdentity(encodeIdentity({ ...identity, version: store.level })).catch(() => {
      this.marked = 0
    })
  }
}
