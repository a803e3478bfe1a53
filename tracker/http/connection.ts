// One client connection as long as it speaks plain tracker requests: text in, answers out, in order, one
// parked at a time. Refuses: to parse anything else; at the first other byte the socket goes, with what was
// read, to the general server.

import type { Socket } from 'node:net'
import { monotonicMs } from '../threads/state.ts'
import type { Asker, TrustedNetworks } from './address.ts'
import type { HttpCounts } from './counters.ts'
import type { Waiter } from './pending.ts'
import type { PlainRequest } from './plain.ts'
import { httpResponse } from './reply.ts'
import type { HttpTracker } from './tracker.ts'

/** Most bytes a client may send ahead while its answer is parked. */
const MAX_AHEAD_BYTES = 64 * 1024
/**
 * Answers to requests sent in one go are written out at this many bytes; a client that does not read gets no
 * more.
 */
const MAX_BEHIND_BYTES = 64 * 1024

export type ConnectionOwner = {
  readonly tracker: HttpTracker
  readonly networks: TrustedNetworks
  readonly counts: HttpCounts
  /** Shared scratch: connections work one after another. */
  readonly plain: PlainRequest
  /** Requests came: outcomes will have to be waited for. */
  worked(): void
  /** The connection is over, or goes on at the general server. */
  left(connection: Connection): void
  handOver(socket: Socket): void
}

export class Connection implements Waiter {
  gone = false
  /** Monotonic milliseconds of the last byte or answer. */
  activeMs: number
  /** Between a request and its answer. */
  busy = false
  /** At least one request was answered. */
  served = false
  /** The client does not read its answers: nothing is taken until it does. */
  private clogged = false
  private rest = ''
  private closeAfter = false
  private ended = false
  private readonly socket: Socket
  private readonly asker: Asker
  private readonly trusted: boolean
  private readonly owner: ConnectionOwner

  constructor(socket: Socket, asker: Asker, trusted: boolean, owner: ConnectionOwner, nowMs: number) {
    this.socket = socket
    this.asker = asker
    this.trusted = trusted
    this.owner = owner
    this.activeMs = nowMs
    socket.on('data', this.onData)
    socket.on('end', this.onEnd)
    socket.on('drain', this.onDrain)
    socket.on('error', this.onError)
    socket.on('close', this.onClose)
  }

  private readonly onData = (chunk: Buffer): void => {
    const text = chunk.toString('latin1', 0, chunk.length)
    if (!this.busy && !this.clogged) {
      this.process(text)
      return
    }
    this.rest += text
    if (this.rest.length > MAX_AHEAD_BYTES) this.socket.destroy()
  }

  private readonly onEnd = (): void => {
    this.ended = true
    if (!this.busy) this.socket.end()
  }

  private readonly onDrain = (): void => {
    this.clogged = false
    this.socket.resume()
    if (!this.busy) this.continue()
  }

  private readonly onError = (): void => {
    this.socket.destroy()
  }

  private readonly onClose = (): void => {
    this.gone = true
    this.owner.left(this)
  }

  private process(text: string): void {
    const { owner } = this
    const { tracker, plain } = owner
    const now = monotonicMs()
    this.activeMs = now
    let out = ''
    for (let at = 0; at < text.length; ) {
      if (!plain.read(text, at)) {
        if (out !== '') this.socket.write(out, 'latin1')
        this.handOver(text.slice(at))
        return
      }
      const asker = this.trusted ? owner.networks.client(plain.forwardedFor) : this.asker
      const { close, next } = plain
      if (!tracker.request(plain.kind, text, plain.queryFrom, plain.queryEnd, asker, this, now)) {
        this.busy = true
        this.closeAfter = close
        this.rest = text.slice(next)
        break
      }
      this.served = true
      out += httpResponse(tracker.status, tracker.body, close)
      if (close) {
        this.socket.end(out, 'latin1')
        return
      }
      at = next
      if (out.length < MAX_BEHIND_BYTES) continue
      this.write(out)
      out = ''
      if (!this.clogged) continue
      this.rest = text.slice(at)
      break
    }
    if (out !== '') this.write(out)
    owner.worked()
  }

  answer(status: number, body: string): void {
    this.busy = false
    this.served = true
    this.activeMs = monotonicMs()
    const close = this.closeAfter || this.ended
    const response = httpResponse(status, body, close)
    if (close) {
      this.socket.end(response, 'latin1')
      return
    }
    this.write(response)
    if (!this.clogged) this.continue()
  }

  /** Goes on with what was read ahead. */
  private continue(): void {
    const { rest } = this
    this.rest = ''
    if (rest !== '') this.process(rest)
  }

  private write(text: string): void {
    if (this.socket.write(text, 'latin1')) return
    this.clogged = true
    this.owner.counts.clogged++
    this.socket.pause()
  }

  private handOver(rest: string): void {
    const { socket } = this
    socket.off('data', this.onData)
    socket.off('end', this.onEnd)
    socket.off('drain', this.onDrain)
    socket.off('error', this.onError)
    socket.off('close', this.onClose)
    this.owner.left(this)
    socket.unshift(Buffer.from(rest, 'latin1'))
    this.owner.handOver(socket)
  }

  /** Ends the connection; a parked answer is lost. */
  close(): void {
    this.socket.destroy()
  }
}
