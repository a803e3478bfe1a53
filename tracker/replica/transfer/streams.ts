// Both ends of state transfer as a member sees them: what Raft wants to send, what comes in, and how it all
// stands. Refuses: to decide anything; see transfer.ts.
//
// How a member drives it. `offer` instead of sending a MsgSnap; `stream` from `Receiver.stream`; `turn` and
// `due` with its own, outside the handling of a Ready; `only` after each change of the configuration and when
// leadership is lost.

import type { Refusal } from '../transport/frame-body.ts'
import type { StreamBegin, StreamSink } from '../transport/transport.ts'
import { TransferReceiver, type TransferReceiverOptions } from './receive.ts'
import { TransferSender, type TransferSenderOptions } from './send.ts'
import type { TransferStatus } from './transfer.ts'

export type TransfersOptions = TransferSenderOptions & TransferReceiverOptions

export class Transfers {
  readonly sender: TransferSender
  readonly receiver: TransferReceiver
  /** MsgSnaps that came without their stream: nobody of ours sends one. */
  stray = 0

  constructor(options: TransfersOptions) {
    this.sender = new TransferSender(options)
    this.receiver = new TransferReceiver(options)
  }

  offer(to: number, message: Uint8Array): void {
    this.sender.offer(to, message)
  }

  /** A MsgSnap that came as a plain message: its state is not here, so it is not stepped. */
  arrived(_from: number, _message: Uint8Array): void {
    this.stray++
  }

  stream(begin: StreamBegin): StreamSink | Refusal {
    return this.receiver.stream(begin)
  }

  turn(nowMs: number): void {
    this.sender.turn(nowMs)
    this.receiver.turn(nowMs)
  }

  due(): number {
    return Math.min(this.sender.due(), this.receiver.due())
  }

  only(members: ReadonlySet<number> | null): void {
    this.sender.only(members)
  }

  stop(): Promise<void> {
    this.sender.only(null)
    return this.receiver.stop()
  }

  status(nowMs: number): readonly TransferStatus[] {
    return [...this.sender.status(nowMs), ...this.receiver.status(nowMs)]
  }
}
