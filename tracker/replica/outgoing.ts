// Raft messages on their way out: what only says how far the commit index is waits a moment for an append to
// ride on, snapshots go to whoever streams them, and who is asked to take over is remembered. Refuses: to
// hold back anything that others wait for longer than changes linger.

import { MSG_APP, MSG_SNAP, MSG_TIMEOUT_NOW, MSG_VOTE_RESP, messageInfo } from '@skep/raft/message.ts'
import type { Linger } from './batches/linger.ts'
import { raftType } from './transport/echo.ts'

/** An append without entries is shorter than this, bytes; one with them need not be taken apart to know. */
export const EMPTY_APPEND_BYTES = 96

export type OutgoingOptions = {
  readonly send: (to: number, message: Uint8Array) => void
  /** May `to` be sent entries now? */
  readonly admits: (to: number) => boolean
  /** A MsgSnap: its bytes are copied before this returns. */
  readonly snapshot: (to: number, message: Uint8Array) => void
  /** A vote was given to `to`. */
  readonly voted: (to: number) => void
  /** `to` is asked to stand at once: the lease of this term ends before the message leaves. */
  readonly yields: (to: number) => void
  readonly linger: Pick<Linger, 'ms'>
}

export class Outgoing {
  private readonly o: OutgoingOptions
  private readonly held = new Map<number, Uint8Array>()
  private heldMs = Number.POSITIVE_INFINITY
  private asked: { to: number; message: Uint8Array } | null = null
  /** Commit notices that rode on an append. */
  joined = 0

  constructor(options: OutgoingOptions) {
    this.o = options
  }

  /** The bytes are a view. */
  post(to: number, message: Uint8Array, nowMs: number): void {
    switch (raftType(message)) {
      case MSG_APP:
        if (message.length < EMPTY_APPEND_BYTES && messageInfo(message)?.entries === 0) {
          if (this.held.has(to)) this.joined++
          this.held.set(to, Uint8Array.from(message))
          this.heldMs = Math.min(this.heldMs, nowMs + this.o.linger.ms)
          return
        }
        // Raft repairs what does not come.
        if (!this.o.admits(to)) return
        // Each append tells the commit index as it is now.
        if (this.held.delete(to)) this.joined++
        break
      case MSG_SNAP:
        this.o.snapshot(to, message)
        return
      case MSG_VOTE_RESP:
        if (messageInfo(message)?.reject === false) this.o.voted(to)
        break
      case MSG_TIMEOUT_NOW:
        this.asked = { to, message: Uint8Array.from(message) }
        this.o.yields(to)
    }
    this.o.send(to, message)
  }

  /** Who was asked to take over is asked again: the request may be lost. */
  askAgain(): void {
    if (this.asked !== null) this.o.send(this.asked.to, this.asked.message)
  }

  /** Another term: nothing of the last one is worth sending. */
  forget(): void {
    this.held.clear()
    this.heldMs = Number.POSITIVE_INFINITY
    this.asked = null
  }

  get dueMs(): number {
    return this.heldMs
  }

  release(nowMs: number): void {
    if (nowMs < this.heldMs) return
    for (const [to, message] of this.held) this.o.send(to, message)
    this.held.clear()
    this.heldMs = Number.POSITIVE_INFINITY
  }
}
