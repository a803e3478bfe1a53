// How a member in its thread comes to its end: leadership elsewhere, what was taken decided, the network and
// the log closed; and, with a purge, the group left before the data goes. Refuses: to delete data that the
// group still counts on; it says why and keeps it.

import { leaveGroup } from '../replica/membership/leave.ts'
import { monotonicMs, STOPPING } from '../threads/state.ts'
import type { Order } from './handle.ts'
import type { Running } from './running.ts'

/** How long a clean stop waits for what is under way, milliseconds; and for leaving the group. */
const STOP_WAIT_MS = 3000
const LEAVE_WAIT_MS = 20_000

type Stop = { readonly number: number; readonly purge: boolean; byMs: number; moved: boolean; kept: string }

export class Ending {
  private readonly r: Running
  private stop: Stop | null = null

  constructor(running: Running) {
    this.r = running
  }

  get begun(): boolean {
    return this.stop !== null
  }

  /** When it ends at the latest, milliseconds; Infinity: nobody has asked. */
  get byMs(): number {
    return this.stop?.byMs ?? Number.POSITIVE_INFINITY
  }

  begin({ number, purge }: Extract<Order, { kind: 'stop' }>): void {
    const { member, p } = this.r
    const leaves = purge && member.others.length > 0 && p.network !== null
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
    const { r } = this
    const network = r.p.network!
    stop.kept = await leaveGroup({
      identity: r.p.identity,
      view: () => r.view(),
      desk: r.desk,
      ask: (address, question) => network.ask(address, question),
      now: monotonicMs,
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      untilMs: stop.byMs,
    })
    r.wake(() => {
      stop.byMs = monotonicMs() + STOP_WAIT_MS
      stop.moved = true
    })
  }

  /**
   * Told to stop, leadership is elsewhere, and all that was taken from the rings is decided (or time is up).
   */
  may(): boolean {
    const { stop } = this
    const { member, p, feed } = this.r
    if (stop === null) return false
    const nowMs = monotonicMs()
    if (nowMs >= stop.byMs || p.log.failed !== null) return true
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
    const { p, control, member, feed, transfers, saving } = this.r
    const { log, say, port, network } = p
    control.setState(STOPPING)
    member.replica.proposals.abandon()
    feed.refuseWaiting()
    feed.tell()
    saving.stop()
    await transfers?.stop()
    await network?.transport.close()
    await member.replica.snapshots.running
    await (stop.purge && stop.kept === '' ? log.purge() : log.close())
    if (stop.purge && stop.kept !== '')
      say({ kind: 'error', number: stop.number, message: `stopped, but its data was kept: ${stop.kept}` })
    else say({ kind: 'answer', number: stop.number, value: undefined })
    port.close()
  }
}
