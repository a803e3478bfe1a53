// UDP one datagram at a time over node:dgram: where batched system calls are not to be had (other systems, no
// FFI). The same slots and the same worker loop, driven by events. Refuses: to answer from the address that
// was asked when it is bound to all of them (node:dgram does not say which it was); to count what the kernel
// dropped (it does not say that either).

import { createSocket, type Socket } from 'node:dgram'
import { formatIPv4, formatIPv6, parseIPv4, parseIPv6 } from '@skep/wire/ip.ts'
import { ADDRESS_WORDS, AF_INET, AF_INET6, Inbox, Outbox, RECEIVE_BYTES } from './slots.ts'
import { UdpOpenError, type UdpSocket, type UdpSocketOptions } from './socket.ts'

export type EventSocket = UdpSocket & {
  /**
   * Calls `turn` whenever datagrams may be received: when the inbox is full, or when no more came in this
   * round.
   */
  listen(turn: () => void): void
}

/** Opens and binds a socket; rejects with UdpOpenError. */
export async function openDgram(options: UdpSocketOptions): Promise<EventSocket> {
  const { host, port } = options
  const family = parseIPv4(host) !== null ? 4 : parseIPv6(host) !== null ? 6 : 0
  if (family === 0) throw new UdpOpenError('EINVAL', host, port, 'the address')
  const socket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    // Said of an IPv4 socket it is an error.
    ipv6Only: family === 6,
    reusePort: options.reusePort,
  })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind({ port, address: host, exclusive: true }, () => {
        socket.removeListener('error', reject)
        resolve()
      })
    })
  } catch (error) {
    socket.close()
    const { code = 'unknown', syscall = 'bind' } = error as NodeJS.ErrnoException
    throw new UdpOpenError(code, host, port, syscall)
  }
  try {
    socket.setRecvBufferSize(options.receiveBufferBytes)
    socket.setSendBufferSize(options.sendBufferBytes)
  } catch {
    // More than the system allows: the default stays, and is reported below.
  }
  return new DatagramSocket(socket, family, options)
}

class DatagramSocket implements EventSocket {
  readonly family: 4 | 6
  readonly port: number
  readonly receiveBufferBytes: number
  readonly inbox: Inbox
  readonly outbox: Outbox
  sendErrors = 0
  private readonly socket: Socket
  /** Zones of link-local addresses by their place here + 1, which is what the address slot holds as scope. */
  private readonly zones: string[] = []
  private turn: () => void = () => {}
  private waiting = 0
  private scheduled = false
  private sending = 0
  private closing = false

  constructor(socket: Socket, family: 4 | 6, options: UdpSocketOptions) {
    this.socket = socket
    this.family = family
    this.port = socket.address().port
    this.receiveBufferBytes = socket.getRecvBufferSize() >> (process.platform === 'linux' ? 1 : 0)
    this.inbox = new Inbox(family, options.batch)
    this.outbox = new Outbox(family, options.batch, options.answerBytes)
    // Errors of single datagrams (ICMP, no route); whatever ends the socket ends the worker by its next use.
    socket.on('error', () => {
      this.sendErrors++
    })
    socket.on('message', (data, { address, port }) => this.take(data, address, port))
  }

  listen(turn: () => void): void {
    this.turn = turn
    if (this.waiting > 0) this.schedule()
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      this.turn()
    })
  }

  private take(data: Uint8Array, address: string, port: number): void {
    const { inbox } = this
    if (this.waiting === inbox.slots) this.turn()
    if (this.waiting === inbox.slots) return
    const i = this.waiting++
    const length = Math.min(data.length, RECEIVE_BYTES)
    inbox.bytes.set(length < data.length ? data.subarray(0, length) : data, i * inbox.strideWords * 4)
    inbox.lengths[i * 16 + 14] = length
    const at = i * ADDRESS_WORDS
    const raw = new Uint8Array(inbox.from.buffer, inbox.from.byteOffset + at * 4, ADDRESS_WORDS * 4).fill(0)
    inbox.from[at] = this.family === 4 ? AF_INET : AF_INET6
    raw[2] = port >>> 8
    raw[3] = port & 0xff
    if (this.family === 4) {
      raw.set(parseIPv4(address)!, 4)
    } else {
      const percent = address.indexOf('%')
      raw.set(parseIPv6(percent < 0 ? address : address.slice(0, percent))!, 8)
      inbox.from[at + 6] = percent < 0 ? 0 : this.zone(address.slice(percent))
    }
    this.schedule()
  }

  private zone(name: string): number {
    const known = this.zones.indexOf(name)
    return known < 0 ? this.zones.push(name) : known + 1
  }

  receive(): number {
    const n = this.waiting
    this.waiting = 0
    return n
  }

  send(): number {
    const { outbox } = this
    const n = outbox.count
    outbox.count = 0
    for (let o = 0; o < n; o++) {
      const from = o * outbox.strideWords * 4
      const to = outbox.to
      const raw = new Uint8Array(to.buffer, to.byteOffset + o * ADDRESS_WORDS * 4, ADDRESS_WORDS * 4)
      const zone = this.family === 4 ? 0 : to[o * ADDRESS_WORDS + 6]!
      const address =
        this.family === 4 ? formatIPv4(raw, 4) : formatIPv6(raw, 8) + (zone === 0 ? '' : this.zones[zone - 1])
      // A copy: the slot is written again before the socket has sent it.
      const answer = outbox.bytes.slice(from, from + outbox.lengths[o * 4 + 2]!)
      this.sending++
      this.socket.send(answer, (raw[2]! << 8) | raw[3]!, address, (error) => {
        if (error !== null) this.sendErrors++
        if (--this.sending === 0 && this.closing) this.socket.close()
      })
    }
    return n
  }

  drops(): number {
    return 0
  }

  /** Answers that node:dgram still has are sent before. */
  close(): void {
    this.closing = true
    if (this.sending === 0) this.socket.close()
  }
}
