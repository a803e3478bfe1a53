// All that goes to one member: its three channels, what may wait on each, faults on request, and what is told
// of it. Refuses: Raft messages that find no room or no connection (counted: Raft repairs them), and batches,
// by saying so.

import type { LookupFunction } from 'node:net'
import { MSG_APP, MSG_APP_RESP, messageInfo } from '@skep/raft/message.ts'
import { addressText, type Security } from './dial.ts'
import { raftType, type WireClock } from './echo.ts'
import { BATCH, type Frame, KEEPALIVE, NOTICE, PONG, RAFT, STREAM_ACK } from './frame.ts'
import { encodeBatchHead, type Refusal } from './frame-body.ts'
import { Link } from './link.ts'
import type { Pen } from './pen.ts'
import { OutgoingStreams } from './stream.ts'
import {
  type Address,
  APPENDS,
  BULK,
  CHANNEL_NAMES,
  CHANNELS,
  type Channel,
  CONTROL,
  type Fault,
  type Peer,
  type PeerState,
  type PeerStatus,
} from './transport.ts'
import { newCounters } from './wire.ts'

/** What may wait on each channel, bytes. Appends: Raft has at most 8 MiB under way to a member. */
const QUEUE_BYTES: Record<Channel, number> = {
  [CONTROL]: 1024 * 1024,
  [APPENDS]: 32 * 1024 * 1024,
  [BULK]: 36 * 1024 * 1024,
}
/**
 * Batches are refused while this much waits: a leader that is this far behind would refuse them itself.
 * Bytes.
 */
export const BATCH_QUEUE_BYTES = 8 * 1024 * 1024
/** A longer message is no mere notice of a commit. */
const NOTICE_MOST_BYTES = 96

export type PeerOptions = {
  readonly pen: Pen
  readonly clock: WireClock
  readonly security: Security
  readonly lookup: LookupFunction | undefined
  readonly now: () => number
  readonly random: () => number
  readonly deadMs: number
  /**
   * How long a mere notice of a commit waits for an append that says the same, milliseconds; 0: not at all.
   */
  readonly noticeMs: number
  readonly up: (channel: Channel) => void
  readonly down: (channel: Channel, reason: string) => void
  readonly refused: (refusal: Refusal) => void
  readonly changed: () => void
}

export class PeerWay {
  readonly peer: Peer
  readonly counters = newCounters()
  readonly streams: OutgoingStreams
  private readonly o: PeerOptions
  private readonly links: readonly Link[]
  private notice: { group: number; message: Uint8Array } | null = null
  private noticeTimer: ReturnType<typeof setTimeout> | undefined
  private healing: ReturnType<typeof setTimeout> | undefined
  fault: Fault | null = null
  rttMs: number | null = null
  level = 0
  heardMs = Number.NEGATIVE_INFINITY
  droppedFrames = 0
  refusedBatches = 0

  constructor(peer: Peer, options: PeerOptions) {
    this.peer = peer
    this.o = options
    this.links = CHANNELS.map((channel) => this.link(channel))
    this.streams = new OutgoingStreams(options.pen, peer.id, () => this.links[BULK]!.wire)
  }

  start(): void {
    for (const link of this.links) link.start()
  }

  /** It was started anew, and has dialled us from there. */
  meet(host: string): void {
    for (const link of this.links) link.meet(host)
  }

  /** It may be there as well; null: it is where it was said to be. */
  moved(elsewhere: Address | null): void {
    for (const link of this.links) link.moved(elsewhere)
  }

  /** The IP address at the other end of this channel; '': it is not up. */
  reachedAt(channel: Channel): string {
    return this.links[channel]!.wire?.socket.remoteAddress ?? ''
  }

  stop(reason: string): void {
    clearTimeout(this.healing)
    this.fault = null
    this.disconnect(reason)
  }

  private disconnect(reason: string): void {
    clearTimeout(this.noticeTimer)
    this.notice = null
    for (const link of this.links) link.stop(reason)
  }

  raft(group: number, message: Uint8Array): void {
    const type = raftType(message)
    const append = type === MSG_APP
    const small = append && this.o.noticeMs > 0 && message.length <= NOTICE_MOST_BYTES
    if (small && messageInfo(message)?.entries === 0) {
      this.hold(group, message)
      return
    }
    // An append carries the commit index of its moment: it says all that the notice would have said.
    if (append && this.notice?.group === group) this.notice = null
    this.loose(append || type === MSG_APP_RESP ? APPENDS : CONTROL, RAFT, group, message)
  }

  /** False: neither sent nor kept. */
  batch(group: number, incarnation: number, number: number, section: Uint8Array): boolean {
    const wire = this.links[APPENDS]!.wire
    const prefix = encodeBatchHead(incarnation, number)
    const sent =
      wire !== null &&
      wire.queuedBytes + section.length <= BATCH_QUEUE_BYTES &&
      this.o.pen.stamped(wire, BATCH, group, this.peer.id, section, prefix)
    if (!sent) this.refusedBatches++
    return sent
  }

  batchNotice(group: number, incarnation: number, number: number, verdict: number): void {
    const wire = this.links[APPENDS]!.wire
    const body = encodeBatchHead(incarnation, number, verdict)
    if (wire === null || !this.o.pen.stamped(wire, NOTICE, group, this.peer.id, body)) this.droppedFrames++
  }

  keepalive(group: number, body?: Uint8Array): void {
    this.loose(CONTROL, KEEPALIVE, group, body)
  }

  beat(nowMs: number): void {
    for (const link of this.links) link.beat(nowMs)
  }

  setFault(fault: Fault | null): void {
    clearTimeout(this.healing)
    this.fault = fault
    if (fault !== null) {
      const inMs = Math.max(0, Math.min(fault.untilMs - this.o.now(), 2 ** 31 - 1))
      this.healing = setTimeout(() => this.setFault(null), inMs)
    }
    for (const link of this.links) link.delayMs = fault?.delayMs ?? 0
    const cut = fault?.cut
    if (cut === 'out' || cut === 'both') this.disconnect('cut by a fault on request')
    else this.start()
    this.o.changed()
  }

  status(): PeerStatus {
    const { peer, counters } = this
    const state = this.state()
    const bad = this.links.find((l) => l.state !== 'up')
    const heard = Number.isFinite(this.heardMs) ? this.o.now() - this.heardMs : null
    return {
      id: peer.id,
      name: peer.name,
      address: addressText(peer.address),
      state,
      detail: detailOf(state, bad),
      lastError: this.links.find((l) => l.lastError !== '')?.lastError ?? '',
      rttMs: this.rttMs,
      level: this.level,
      heardMsAgo: heard,
      queuedBytes: this.links.reduce((sum, l) => sum + (l.wire?.queuedBytes ?? 0), 0),
      droppedFrames: this.droppedFrames,
      refusedBatches: this.refusedBatches,
      ...counters,
      connects: this.links.reduce((sum, l) => sum + l.connects, 0),
    }
  }

  private state(): PeerState {
    if (this.fault?.cut !== undefined) return 'cut'
    const up = this.links.filter((l) => l.state === 'up').length
    if (up === this.links.length) return 'connected'
    if (this.links.some((l) => l.state === 'refused')) return 'refused'
    return up > 0 ? 'connecting' : 'dialing'
  }

  /** What may be lost. */
  private loose(channel: Channel, kind: number, group: number, body?: Uint8Array): void {
    const { wire } = this.links[channel]!
    const lost = this.fault?.loss !== undefined && this.o.random() < this.fault.loss
    if (lost || wire === null || !this.o.pen.stamped(wire, kind, group, this.peer.id, body))
      this.droppedFrames++
  }

  private hold(group: number, message: Uint8Array): void {
    if (this.notice !== null && this.notice.group !== group) this.release()
    const waits = this.notice !== null
    this.notice = { group, message: Uint8Array.from(message) }
    if (waits) return
    clearTimeout(this.noticeTimer)
    this.noticeTimer = setTimeout(() => this.release(), this.o.noticeMs)
  }

  private release(): void {
    const { notice } = this
    this.notice = null
    if (notice !== null) this.loose(APPENDS, RAFT, notice.group, notice.message)
  }

  private link(channel: Channel): Link {
    const { pen, security, lookup, now, random, deadMs, up, down, refused, changed } = this.o
    return new Link({
      peer: this.peer,
      channel,
      pen,
      counters: this.counters,
      security,
      lookup,
      now,
      random,
      queueBytes: QUEUE_BYTES[channel],
      deadMs,
      up: () => up(channel),
      down: (reason) => {
        if (channel === BULK) this.streams.broken(reason)
        if (channel === CONTROL) this.rttMs = null
        down(channel, reason)
      },
      refused,
      changed,
      reply: (frame) => this.reply(channel, frame),
    })
  }

  private reply(channel: Channel, frame: Frame): void {
    const now = this.o.now()
    this.heardMs = now
    this.level = frame.level
    if (frame.kind === STREAM_ACK) this.streams.answered(frame)
    else if (frame.kind === PONG && channel === CONTROL) {
      const sent = this.o.clock.fromWire(frame.echoUs, now)
      const first = this.rttMs === null
      if (Number.isFinite(sent)) this.rttMs = now - sent
      if (first) this.o.changed()
    }
  }
}

const detailOf = (state: PeerState, link: Link | undefined): string => {
  if (state === 'connected') return 'connected'
  if (state === 'cut') return 'cut by a fault on request; heals by itself'
  const reason = link?.lastError === '' || link === undefined ? '' : `: ${link.lastError}`
  if (state !== 'refused')
    return link === undefined ? state : `dialing ${CHANNEL_NAMES[link.o.channel]}${reason}`
  return reason === ': wrong network key'
    ? 'refused: wrong network key; give both replicas the same --network-key-file'
    : `refused${reason}`
}
