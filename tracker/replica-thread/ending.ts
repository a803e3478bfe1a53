// How a member in its thread comes to its end: leadership elsewhere, what was taken decided, the network and
// the log closed; and, with a purge, the group left before the data goes. Refuses: to delete data that the
// group still counts on; it says why and keeps it.

import { leaveGroup } from '../replica/membership/leave.ts'
import { monotonicMs, STOPPING } from '../threads/state.ts'
import type { Order } from './messages.ts'
import type { Parts } from './parts.ts'
import type { Saving } from './saving.ts'
import { viewOf } from './view.ts'

/** How long a clean stop waits for what is under way, milliseconds; and for leaving the group. */
const STOP_WAIT_MS = 3000
const LEAVE_WAIT_MS = 20_000

type Stop = { readonly number: number; readonly purge: boolean; byMs: number; moved: boolean; kept: string }

export class Ending {
  private readonly parts: Parts
  private readonly saving: Saving
  private stop: Stop | null = null

  constructor(parts: Parts, saving: Saving) {
    this.parts = parts
    this.saving = saving
  }

  get begun(): boolean {
    return this.stop !== null
  }

  /** When it ends at the latest, milliseconds; Infinity: nobody has asked. */
  get byMs(): number {
    return this.stop?.byMs ?? Number.POSITIVE_INFINITY
  }

  begin({ number, purge }: Extract<Order, { kind: 'stop' }>): void {
    const { member, network } = this.parts
    const leaves = purge && member.others.length > 0 && network !== null
    const stop = { number, purge, byMs: monotonicMs() + STOP_WAIT_MS, moved: false, kept: '' }
    if (leaves) {
      stop.byMs = monotonicMs() + LEAVE_WAIT_MS
      stop.kept = 'it did not come to leave the cluster in time'
      void this.leave(stop)
    }
    this.stop = stop
  }

  /** Before its data is deleted, the group must not count on this member any more. */
  private async leave(stop: Stop): Promise<void> {
    const { parts } = this
    const { identity, desk, loop } = parts
    const network = parts.network!
    stop.kept = await leaveGroup({
      identity,
      view: () => viewOf(parts),
      desk,
      ask: (address, question) => network.ask(address, question),
      now: monotonicMs,
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      untilMs: stop.byMs,
    })
    loop.wake(() => {
      stop.byMs = monotonicMs() + STOP_WAIT_MS
      stop.moved = true
    })
  }

  /**
   * Told to stop, leadership is elsewhere, and all that was taken from the rings is decided (or time is up).
   */
  may(): boolean {
    const { stop } = this
    const { member, log, feed } = this.parts
    if (stop === null) return false
    const nowMs = monotonicMs()
    if (nowMs >= stop.byMs || log.failed !== null) return true
    if (stop.kept !== '' && !stop.moved) return false
    if (!stop.moved && member.replica.leads && !member.replica.alone) {
      stop.moved = true
      void member.transfer(0, nowMs)
    }
    if (member.transferring) return false
    return feed.idle || member.removed
  }

  async end(): Promise<void> {
    const stop = this.stop!
    const { control, member, feed, transfers, log, say, network } = this.parts
    control.setState(STOPPING)
    member.replica.proposals.abandon()
    feed.refuseWaiting()
    feed.tell()
    this.saving.stop()
    await transfers?.stop()
    await network?.transport.close()
    await member.replica.snapshots.running
    await (stop.purge && stop.kept === '' ? log.purge() : log.close())
    if (stop.purge && stop.kept !== '')
      say({ kind: 'error', number: stop.number, message: `stopped, but its data was kept: ${stop.kept}` })
    else say({ kind: 'answer', number: stop.number, value: undefined })
  }
}
