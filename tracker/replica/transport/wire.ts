// One connection as frames: joined writes out, frames in, an account of both. Used alike by who dialled and
// who was dialled. Refuses: to know what a frame says, and to reconnect.

import type { Socket } from 'node:net'
import type { Frame, Head, Stamp } from './frame.ts'
import { FrameDecoder } from './frame-decoder.ts'
import { Outbox, type Turn } from './outbox.ts'

/** Longest body before it is known who is there, bytes. */
export const STRANGER_BODY_BYTES = 64 * 1024

/** Of one member, over all its connections. */
export type Counters = {
  sentFrames: number
  sentBytes: number
  writes: number
  receivedFrames: number
  receivedBytes: number
}

export const newCounters = (): Counters => ({
  sentFrames: 0,
  sentBytes: 0,
  writes: 0,
  receivedFrames: 0,
  receivedBytes: 0,
})

export type WireEvents = {
  /** A promise: nothing more is read before it resolves. A rejection closes the connection. */
  readonly frame: (frame: Frame) => Promise<void> | undefined
  /** All frames of one read are told. */
  readonly read?: () => void
  /** Once, whoever closed it. */
  readonly closed: (reason: string) => void
}

type Waiter = { readonly below: number; readonly resolve: () => void; readonly reject: (e: Error) => void }

export class Wire {
  readonly socket: Socket
  counters: Counters
  /** Clock of the last frame in, and of the last buffer that the socket passed on. */
  heardMs: number
  passedMs: number
  /** Faults on request: everything is written this much later. */
  delayMs = 0
  private readonly outbox: Outbox
  private readonly decoder = new FrameDecoder(STRANGER_BODY_BYTES)
  private readonly events: WireEvents
  private readonly now: () => number
  private readonly delayed: Turn[] = []
  private readonly waiters: Waiter[] = []
  private open = true
  private finishing = false
  private reading = false
  private reason = ''

  constructor(socket: Socket, limitBytes: number, counters: Counters, now: () => number, events: WireEvents) {
    this.socket = socket
    this.counters = counters
    this.now = now
    this.events = events
    this.outbox = new Outbox(limitBytes)
    this.heardMs = this.passedMs = now()
    socket.setNoDelay(true)
    socket.on('data', (piece: Buffer) => this.take(piece))
    socket.on('error', (error) => this.close(error.message.trim()))
    socket.on('end', () => this.close('the other side closed the connection'))
    socket.on('close', () => this.close('the connection was closed'))
  }

  get queuedBytes(): number {
    return this.outbox.queuedBytes
  }

  /** True while a frame is being worked off and nothing more is read. */
  get holdsReading(): boolean {
    return this.reading
  }

  /** Who is there is known now: frames may be this long. */
  allow(bodyBytes: number): void {
    this.decoder.maxBodyBytes = bodyBytes
  }

  /** False: closed, or the limit of what may wait is reached. Leaves with the next `flush`. */
  push(head: Head, stamp: Stamp, body: Uint8Array, prefix?: Uint8Array): boolean {
    return this.open && this.outbox.push(head, stamp, body, prefix)
  }

  flush(): void {
    if (!this.open) return
    const turn = this.outbox.take()
    if (turn === null) return
    if (this.delayMs === 0 && this.delayed.length === 0) this.write(turn)
    else this.hinder(turn)
  }

  private hinder(turn: Turn): void {
    this.delayed.push(turn)
    setTimeout(() => {
      const due = this.delayed.shift()
      if (due !== undefined && this.open) this.write(due)
    }, this.delayMs)
  }

  /** Resolves when fewer than `bytes` wait to be passed on; rejects when the connection closes. */
  below(bytes: number): Promise<void> {
    if (!this.open) return Promise.reject(new Error(this.reason))
    if (this.queuedBytes < bytes) return Promise.resolve()
    return new Promise((resolve, reject) => this.waiters.push({ below: bytes, resolve, reject }))
  }

  /** Nothing of what waits is sent any more. */
  close(reason: string): void {
    if (!this.open) return
    this.open = false
    this.reason = reason
    this.socket.destroy()
    for (const w of this.waiters.splice(0)) w.reject(new Error(reason))
    this.events.closed(reason)
  }

  /** Sends what waits, then closes. What still comes in is nobody's. */
  finish(reason: string): void {
    if (!this.open) return
    this.finishing = true
    this.flush()
    this.socket.end(() => this.close(reason))
  }

  private write(turn: Turn): void {
    this.counters.writes++
    this.counters.sentFrames += turn.frames
    this.counters.sentBytes += turn.bytes.length
    this.socket.write(turn.bytes, () => {
      this.outbox.written(turn)
      this.passedMs = this.now()
      if (!this.open) return
      this.flush()
      for (let i = this.waiters.length - 1; i >= 0; i--)
        if (this.queuedBytes < this.waiters[i]!.below) this.waiters.splice(i, 1)[0]!.resolve()
    })
  }

  private take(piece: Buffer): void {
    this.counters.receivedBytes += piece.length
    this.heardMs = this.now()
    if (this.finishing) return
    this.decoder.push(piece)
    this.drain()
  }

  private drain(): void {
    const { decoder } = this
    for (let f = decoder.next(); f !== null; f = decoder.next()) {
      this.counters.receivedFrames++
      const work = this.events.frame(f)
      if (work !== undefined) {
        void this.hold(work)
        return
      }
      if (!this.open || this.finishing) return
    }
    if (decoder.fault !== null) this.close(`what arrived is malformed: ${decoder.fault}`)
    else this.events.read?.()
  }

  /** Reads nothing while `work` lasts: what comes too fast waits at the sender. */
  private async hold(work: Promise<void>): Promise<void> {
    this.socket.pause()
    this.reading = true
    try {
      await work
    } catch (error) {
      this.close(error instanceof Error ? error.message : String(error))
    }
    this.reading = false
    if (!this.open || this.finishing) return
    this.heardMs = this.now()
    this.drain()
    if (!this.reading) this.socket.resume()
  }
}
