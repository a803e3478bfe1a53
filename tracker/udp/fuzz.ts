// The real packet code without a socket: for fuzzing, and for tests that build a datagram byte by byte.
// Refuses: threads; changes that are asked for are answered REFUSED, APPLIED or not at all, as the caller
// says.

import { Announcer } from '../swarm/announce.ts'
import { ConnectionIds } from '../swarm/connection-id.ts'
import type { StoreBuffers } from '../swarm/layout.ts'
import { Store } from '../swarm/store.ts'
import { APPLIED, type Outcome } from '../threads/outcome.ts'
import { type ProducerBuffers, producerBuffers } from '../threads/producer.ts'
import { ChangeRing, WordRing } from '../threads/ring.ts'
import { type Counts, counterBuffer, countsOf } from './counters.ts'
import { LocalReplica } from './local-replica.case.ts'
import { Packets } from './packet.ts'
import { Pending } from './pending.ts'
import { ADDRESS_WORDS, AF_INET, AF_INET6, Inbox, Outbox, RECEIVE_BYTES } from './slots.ts'

export type PacketBench = {
  readonly packets: Packets
  readonly pending: Pending
  readonly ring: ChangeRing
  readonly touches: WordRing
  readonly counts: Counts
  readonly ids: ConnectionIds
  /**
   * One datagram from `address` (4 or 16 raw bytes, network order) and `port`; the answer, or null for
   * silence. The bytes are a view that the next call overwrites.
   */
  handle(datagram: Uint8Array, address: Uint8Array, port: number): Uint8Array | null
  /** Tells the outcome of the oldest parked change; its answer, or null. */
  resolve(outcome: Outcome): Uint8Array | null
  /** Parked changes without an outcome. */
  readonly parked: number
  begin(nowMs: number, intervalSeconds: number, storeFull?: boolean): void
}

export type PacketBenchOptions = {
  /** Rings of the caller's, who applies what is in them. */
  readonly producer?: ProducerBuffers
  readonly answerBytes?: number
  readonly parkForMs?: number
  readonly seed?: number
}

/** Packet code over a store of the caller's. */
export function packetBench(buffers: StoreBuffers, options: PacketBenchOptions = {}): PacketBench {
  const { answerBytes = 1200, parkForMs = 3500, seed = 1 } = options
  const producer = options.producer ?? producerBuffers(1024, 1024)
  const store = new Store(buffers)
  const ring = new ChangeRing(producer.changes)
  const touches = new WordRing(producer.touches)
  const pending = new Pending(ring.slots, ring.tail)
  const counts = countsOf(counterBuffer())
  const ids = new ConnectionIds(store)
  const announcer = new Announcer(store, seed)
  const packets = new Packets({
    store,
    announcer,
    ids,
    ring,
    touches,
    pending,
    counts,
    seed,
    answerBytes,
    parkForMs,
  })
  packets.begin(0, 1800, 0, false)
  const boxes = { 4: new Inbox(4, 1), 6: new Inbox(6, 1) }
  const outs = { 4: new Outbox(4, 1, answerBytes), 6: new Outbox(6, 1, answerBytes) }
  let resolved = ring.tail
  const answered = (outbox: Outbox, length: number): Uint8Array | null => {
    outbox.count = 0
    return length === 0 ? null : outbox.bytes.subarray(0, length)
  }
  return {
    packets,
    pending,
    ring,
    touches,
    counts,
    ids,
    handle(datagram, address, port) {
      const family = address.length === 4 ? 4 : 6
      const inbox = boxes[family]
      const length = Math.min(datagram.length, RECEIVE_BYTES)
      inbox.bytes.set(datagram.subarray(0, length))
      inbox.lengths[14] = length
      const raw = new Uint8Array(inbox.from.buffer, inbox.from.byteOffset, ADDRESS_WORDS * 4)
      inbox.from[0] = family === 4 ? AF_INET : AF_INET6
      raw[2] = port >>> 8
      raw[3] = port & 0xff
      raw.set(address, family === 4 ? 4 : 8)
      return answered(outs[family], packets.handle(inbox, 0, outs[family], family === 4 ? 0 : 1))
    },
    resolve(outcome) {
      const slot = pending.slot(resolved)
      if (slot < 0) return null
      resolved = (resolved + 1) | 0
      const outbox = outs[pending.sockets[slot] === 0 ? 4 : 6]
      return answered(outbox, packets.release(slot, outcome, outbox))
    },
    get parked() {
      return pending.count
    },
    begin(nowMs, intervalSeconds, storeFull = false) {
      packets.begin(nowMs, intervalSeconds, 0, storeFull)
    },
  }
}

/** Packet code with a table behind it that takes the changes. */
export function fuzzBench(): { readonly bench: PacketBench; readonly replica: LocalReplica } {
  const replica = new LocalReplica(16 << 20, { allowPrivate: 'auto' })
  const producer = producerBuffers(64, 1024)
  replica.serve(producer)
  return { replica, bench: packetBench(replica.buffers, { producer }) }
}

/**
 * One datagram through the packet code, as it came or made to pass the first checks: byte 0 of `bytes`
 * chooses the family, whether connection ID and action are put right, and what becomes of a change; the rest
 * is the datagram. Throws if an answer is larger than allowed, or than was asked by somebody who has proven
 * nothing.
 */
export function fuzzDatagram({ bench, replica }: ReturnType<typeof fuzzBench>, bytes: Uint8Array): void {
  const how = bytes[0] ?? 0
  const datagram = bytes.slice(1)
  const address = new Uint8Array((how & 1) === 0 ? 4 : 16)
  address.set((how & 2) === 0 ? [10, 0, how, 1] : [0x2a, 1, how, 9])
  const proven = (how & 4) !== 0 && datagram.length >= 16
  if (proven) {
    const words = new Int32Array(4)
    new Uint8Array(words.buffer).set(address)
    bench.ids.make(words[0]!, words[1]!, words[2]!, words[3]!)
    const view = new DataView(datagram.buffer)
    view.setInt32(0, bench.ids.lo, true)
    view.setInt32(4, bench.ids.hi, true)
    view.setUint32(8, (how >>> 3) & 3)
  }
  const answer = bench.handle(datagram, address, 1 + how)
  if (answer !== null) {
    if (answer.length > 1200) throw new Error(`an answer of ${answer.length} bytes`)
    if (!proven && answer.length > datagram.length) throw new Error('more was answered than asked')
  }
  bench.ring.publish()
  bench.touches.publish()
  if (bench.parked === 0 || how >>> 6 === 3) return
  replica.step()
  const late = bench.resolve(((how >>> 6) + APPLIED) as Outcome)
  if (late !== null && late.length > 1200) throw new Error(`a late answer of ${late.length} bytes`)
}
