// UDP in batches: recvmmsg(2) and sendmmsg(2), and the kernel's structures for them. Where system calls are
// not to be had (native/libc.ts) importing it throws, and dgram.ts takes its place. Refuses: to know what is
// in a datagram; to block, except in `wait`.

import { getSystemErrorName } from 'node:util'
import { parseIPv4, parseIPv6 } from '@skep/wire/ip.ts'
import {
  addressOf,
  align,
  bind,
  close,
  errno,
  errorName,
  eventfd,
  getsockname,
  getsockopt,
  pin,
  poll,
  putAddress,
  read,
  recvmmsg,
  sendmmsg,
  setsockopt,
  socket,
  usleep,
  write,
} from '../native/libc.ts'
import { AF_INET, AF_INET6, Inbox, Outbox, RECEIVE_BYTES } from './slots.ts'
import { UdpOpenError, type UdpSocket, type UdpSocketOptions } from './socket.ts'

/** struct mmsghdr: bytes, and 32-bit word offsets of its fields. */
const HEAD_BYTES = 64
const HEAD_NAME = 0
const HEAD_NAME_BYTES = 2
const HEAD_IOV = 4
const HEAD_IOV_COUNT = 6
const HEAD_CONTROL = 8
const HEAD_CONTROL_BYTES = 10

const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_RCVBUF = 8
const SO_REUSEPORT = 15
const SO_SNDBUFFORCE = 32
const SO_RCVBUFFORCE = 33
const SO_MEMINFO = 55
/** Index of the drop count in what SO_MEMINFO fills. */
const SK_MEMINFO_DROPS = 8
const IPPROTO_IP = 0
const IP_PKTINFO = 8
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const IPV6_RECVPKTINFO = 49
const IPV6_PKTINFO = 50
const MSG_DONTWAIT = 0x40
const POLLIN = 1
const POLLOUT = 4
const EFD_FLAGS = 0o2000000 | 0o4000 // close on exec, never block
const EAGAIN = 11
const EINTR = 4
const ENOBUFS = 105

/** How long a full send buffer may hold the worker up, milliseconds. */
const SEND_WAIT_MS = 5

const { words: scratch, address: scratchAddress } = pin()

/** Opens and binds a socket; throws UdpOpenError. */
export function openUdp(options: UdpSocketOptions): UdpSocket {
  const raw4 = parseIPv4(options.host)
  const raw = raw4 ?? parseIPv6(options.host)
  if (raw === null) throw new UdpOpenError('EINVAL', options.host, options.port, 'the address')
  const family = raw4 === null ? 6 : 4
  const fd = socket(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  const fail = (step: string): never => {
    const error = new UdpOpenError(errorName(), options.host, options.port, step)
    if (fd >= 0) close(fd)
    throw error
  }
  if (fd < 0) fail('socket')
  const set = (level: number, option: number, value: number): boolean => {
    scratch[0] = value
    return setsockopt(fd, level, option, scratchAddress, 4) === 0
  }
  if (options.reusePort && !set(SOL_SOCKET, SO_REUSEPORT, 1)) fail('SO_REUSEPORT')
  if (family === 6 && !set(IPPROTO_IPV6, IPV6_V6ONLY, 1)) fail('IPV6_V6ONLY')
  // Bound to all addresses, the kernel would choose the answer's source by route: a client that asked another
  // of ours would not know the answer. One bound address needs none of it.
  const wildcard = raw.every((byte) => byte === 0)
  if (wildcard && !(family === 4 ? set(IPPROTO_IP, IP_PKTINFO, 1) : set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)))
    fail('PKTINFO')
  if (!set(SOL_SOCKET, SO_RCVBUFFORCE, options.receiveBufferBytes))
    set(SOL_SOCKET, SO_RCVBUF, options.receiveBufferBytes)
  if (!set(SOL_SOCKET, SO_SNDBUFFORCE, options.sendBufferBytes))
    set(SOL_SOCKET, SO_SNDBUF, options.sendBufferBytes)
  const name = new Uint8Array(scratch.buffer, 0, 28).fill(0)
  scratch[0] = family === 4 ? AF_INET : AF_INET6
  name[2] = options.port >>> 8
  name[3] = options.port & 0xff
  name.set(raw, family === 4 ? 4 : 8)
  if (bind(fd, scratchAddress, family === 4 ? 16 : 28) !== 0) fail('bind')
  scratch[16] = 28
  getsockname(fd, scratchAddress, scratchAddress + 64)
  const port = (name[2]! << 8) | name[3]!
  return new BatchSocket(fd, family, port, wildcard, options)
}

class BatchSocket implements UdpSocket {
  readonly fd: number
  readonly family: 4 | 6
  readonly port: number
  readonly receiveBufferBytes: number
  readonly inbox: Inbox
  readonly outbox: Outbox
  sendErrors = 0
  private readonly receiveHeads: number
  private readonly sendHeads: number
  /** What the kernel's pointers point at lives as long as the socket. */
  readonly memory: readonly ArrayBufferView[]

  constructor(fd: number, family: 4 | 6, port: number, wildcard: boolean, options: UdpSocketOptions) {
    this.fd = fd
    this.family = family
    this.port = port
    const { batch, answerBytes } = options
    this.inbox = new Inbox(family, batch, align)
    this.outbox = new Outbox(family, batch, answerBytes, align)
    const iov = new Int32Array(new ArrayBuffer(batch * 16))
    const receiveHeads = this.inbox.lengths
    const sendHeads = new Int32Array(new ArrayBuffer(batch * HEAD_BYTES + 64))
    this.memory = [iov, sendHeads]
    const { inbox, outbox } = this
    const head = (
      heads: Int32Array,
      i: number,
      box: Inbox | Outbox,
      addresses: Int32Array,
      vector: number,
    ) => {
      const at = (i * HEAD_BYTES) >> 2
      putAddress(heads, at + HEAD_NAME, addressOf(addresses) + i * 32)
      heads[at + HEAD_NAME_BYTES] = family === 4 ? 16 : 28
      putAddress(heads, at + HEAD_IOV, vector)
      heads[at + HEAD_IOV_COUNT] = 1
      if (!wildcard) return
      putAddress(heads, at + HEAD_CONTROL, addressOf(box.control) + i * box.controlWords * 4)
      heads[at + HEAD_CONTROL_BYTES] = box.controlWords * 4
    }
    for (let i = 0; i < batch; i++) {
      putAddress(iov, i * 4, addressOf(inbox.bytes) + i * inbox.strideWords * 4)
      iov[i * 4 + 2] = RECEIVE_BYTES
      head(receiveHeads, i, inbox, inbox.from, addressOf(iov) + i * 16)
      putAddress(outbox.lengths, i * 4, addressOf(outbox.bytes) + i * outbox.strideWords * 4)
      head(sendHeads, i, outbox, outbox.to, addressOf(outbox.lengths) + i * 16)
      // struct cmsghdr: bytes of it and its data (64 bits), level, type.
      const at = i * outbox.controlWords
      outbox.control[at] = family === 4 ? 28 : 36
      outbox.control[at + 2] = family === 4 ? IPPROTO_IP : IPPROTO_IPV6
      outbox.control[at + 3] = family === 4 ? IP_PKTINFO : IPV6_PKTINFO
    }
    this.receiveHeads = addressOf(receiveHeads)
    this.sendHeads = addressOf(sendHeads)
    scratch[1] = 4
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, scratchAddress, scratchAddress + 4)
    this.receiveBufferBytes = scratch[0]! >> 1 // the kernel reports twice what it grants
  }

  receive(): number {
    // Every datagram of a wildcard socket carries its control message, of one size, so the header needs no
    // repair.
    const n = recvmmsg(this.fd, this.receiveHeads, this.inbox.slots, MSG_DONTWAIT, 0) as number
    if (n >= 0) return n
    const code = errno()
    if (code === EAGAIN || code === EINTR) return 0
    throw new Error(`recvmmsg on UDP port ${this.port} says ${getSystemErrorName(-code)}`)
  }

  send(): number {
    const total = this.outbox.count
    this.outbox.count = 0
    let sent = 0
    let taken = 0
    while (sent < total) {
      const n = sendmmsg(this.fd, this.sendHeads + sent * HEAD_BYTES, total - sent, MSG_DONTWAIT) as number
      if (n > 0) {
        sent += n
        taken += n
        continue
      }
      const code = errno()
      if (code === EINTR) continue
      if (code === EAGAIN || code === ENOBUFS) {
        if (this.waitForRoom()) continue
        break
      }
      // The first of the rest cannot be sent, for a reason of its own: step over it.
      this.sendErrors++
      sent++
    }
    return taken
  }

  /** The send buffer is full: the network gets a few milliseconds, then the rest of the batch is given up. */
  private waitForRoom(): boolean {
    scratch[0] = this.fd
    scratch[1] = POLLOUT
    return (poll(scratchAddress, 1, SEND_WAIT_MS) as number) === 1
  }

  drops(): number {
    scratch[16] = 64
    if (getsockopt(this.fd, SOL_SOCKET, SO_MEMINFO, scratchAddress, scratchAddress + 64) !== 0) return 0
    return scratch[SK_MEMINFO_DROPS]! >>> 0
  }

  close(): void {
    close(this.fd)
  }
}

/** A new eventfd: written with 8 bytes (`signal`, or fs.writeSync) to wake a thread in `Poller.wait`. */
export function createEventFd(): number {
  const fd = eventfd(0, EFD_FLAGS) as number
  if (fd < 0) throw new Error(`eventfd says ${errorName()}`)
  return fd
}

/** Words 0-1: what `signal` writes. Words 16-17: what an eventfd held. */
const event = pin()
event.words[0] = 1

/** Wakes whoever sleeps on the eventfd. */
export function signal(fd: number): void {
  write(fd, event.address, 8)
}

/** Sleeps until a socket has datagrams or the eventfd was written. */
export class Poller {
  private readonly fds: Int32Array
  private readonly address: number
  private readonly count: number
  private readonly eventFd: number

  constructor(sockets: readonly UdpSocket[], eventFd: number) {
    const all = sockets.map((s) => (s as BatchSocket).fd)
    if (eventFd >= 0) all.push(eventFd)
    this.eventFd = eventFd
    this.count = all.length
    this.fds = new Int32Array(new ArrayBuffer(4096))
    all.forEach((fd, i) => {
      this.fds[i * 2] = fd
      this.fds[i * 2 + 1] = POLLIN
    })
    this.address = addressOf(this.fds)
  }

  /** Milliseconds, at most; returns at once when something is there already. Empties the eventfd. */
  wait(timeoutMs: number): void {
    if ((poll(this.address, this.count, timeoutMs) as number) <= 0) return
    if (this.eventFd >= 0 && this.fds[this.count * 2 - 1]! >>> 16 !== 0)
      read(this.eventFd, event.address + 64, 8)
  }
}

/** Blocks the calling thread, whatever arrives meanwhile. */
export function rest(microseconds: number): void {
  usleep(microseconds)
}
