// The load's own door to Linux sockets: recvmmsg, sendmmsg and UDP segmentation through koffi, so that a
// generator in JavaScript spends less on a request than any server. Refuses: other systems (open returns
// undefined there), and to be shared with the tracker, which has a door of its own.

import { createRequire } from 'node:module'
import { parseIPv4, parseIPv6 } from '@skep/wire/ip.ts'
import type { LoadSockets, SocketOptions } from './sockets.ts'
import { RECEIVE_MOST, SEGMENT_BYTES, SEGMENTS_MOST, SLOT_BYTES, SLOTS_MOST } from './sockets.ts'

const AF_INET = 2
const AF_INET6 = 10
const SOCK_DGRAM = 2
const SOL_SOCKET = 1
const SO_SNDBUFFORCE = 32
const SO_RCVBUFFORCE = 33
const SOL_UDP = 17
const UDP_SEGMENT = 103
const MSG_DONTWAIT = 0x40
const MSG_TRUNC = 0x20
const POLLIN = 1
const EAGAIN = 11
/** sizeof(struct mmsghdr) and struct iovec on 64-bit Linux. */
const HEADER_BYTES = 64
const IOVEC_BYTES = 16
const BUFFER_BYTES = 16 << 20

type Call = (...args: unknown[]) => number
type Libc = Record<
  'socket' | 'bind' | 'connect' | 'setsockopt' | 'recvmmsg' | 'sendmmsg' | 'sendmsg',
  Call
> & {
  close: Call
  poll: Call
}
type Block = { pointer: unknown; address: bigint; bytes: Uint8Array; view: DataView; words: Int32Array }

/** Opens one connected socket per source, or says undefined where this system has no such calls. */
export function openMmsg(options: SocketOptions): LoadSockets | undefined {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined
  const koffi = loadKoffi()
  if (koffi === undefined) return undefined
  const libc = declare(koffi)
  const block = (size: number): Block => {
    const pointer = koffi.alloc('uint8_t', size)
    const buffer = koffi.view(pointer, size)
    const bytes = new Uint8Array(buffer)
    bytes.fill(0)
    return {
      pointer,
      address: BigInt(koffi.address(pointer)),
      bytes,
      view: new DataView(buffer),
      words: new Int32Array(buffer, 0, size >> 2),
    }
  }
  return sockets(options, libc, block, () => koffi.errno())
}

// biome-ignore lint/suspicious/noExplicitAny: koffi's own types follow its C declarations at run time
function loadKoffi(): any {
  try {
    return createRequire(import.meta.url)('koffi')
  } catch {
    return undefined
  }
}

// biome-ignore lint/suspicious/noExplicitAny: see loadKoffi
function declare(koffi: any): Libc {
  const lib = koffi.load('libc.so.6')
  return {
    socket: lib.func('int socket(int, int, int)'),
    bind: lib.func('int bind(int, void*, uint32_t)'),
    connect: lib.func('int connect(int, void*, uint32_t)'),
    setsockopt: lib.func('int setsockopt(int, int, int, void*, uint32_t)'),
    recvmmsg: lib.func('int recvmmsg(int, void*, uint32_t, int, void*)'),
    sendmmsg: lib.func('int sendmmsg(int, void*, uint32_t, int)'),
    sendmsg: lib.func('int64_t sendmsg(int, void*, int)'),
    close: lib.func('int close(int)'),
    poll: lib.func('int poll(void*, uint64_t, int)'),
  }
}

/** An iovec each, and message headers that name them: `count` messages over buffers `stride` bytes apart. */
function headers(block: (size: number) => Block, data: Block, count: number, stride: number, length: number) {
  const iovecs = block(count * IOVEC_BYTES)
  const messages = block(count * HEADER_BYTES)
  for (let i = 0; i < count; i++) {
    iovecs.view.setBigUint64(i * IOVEC_BYTES, data.address + BigInt(i * stride), true)
    iovecs.view.setBigUint64(i * IOVEC_BYTES + 8, BigInt(length), true)
    messages.view.setBigUint64(i * HEADER_BYTES + 16, iovecs.address + BigInt(i * IOVEC_BYTES), true)
    messages.view.setBigUint64(i * HEADER_BYTES + 24, 1n, true)
  }
  return { iovecs, messages }
}

function sockaddr(
  block: (size: number) => Block,
  address: string,
  port: number,
): { at: Block; size: number } {
  const four = parseIPv4(address)
  const at = block(28)
  at.view.setUint16(0, four === null ? AF_INET6 : AF_INET, true)
  at.view.setUint16(2, port)
  const raw = four ?? parseIPv6(address)
  if (raw === null) throw new Error(`${address} is no numeric address`)
  at.bytes.set(raw, four === null ? 8 : 4)
  return { at, size: four === null ? 28 : 16 }
}

function openSockets(
  options: SocketOptions,
  libc: Libc,
  block: (size: number) => Block,
  errno: () => number,
) {
  const { target } = options
  const to = sockaddr(block, target.address, target.port)
  const size = block(4)
  size.words[0] = BUFFER_BYTES
  return options.sources.map((source) => {
    const fd = libc.socket(target.family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0)
    if (fd < 0) throw new Error(`no socket: errno ${errno()}`)
    libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size.pointer, 4)
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, size.pointer, 4)
    const from = sockaddr(block, source, 0)
    if (libc.bind(fd, from.at.pointer, from.size) !== 0)
      throw new Error(`${source} cannot be a source here: errno ${errno()}`)
    if (libc.connect(fd, to.at.pointer, to.size) !== 0)
      throw new Error(`${target.address} cannot be reached from ${source}: errno ${errno()}`)
    return fd
  })
}

function sockets(
  options: SocketOptions,
  libc: Libc,
  block: (size: number) => Block,
  errno: () => number,
): LoadSockets {
  const fds = openSockets(options, libc, block, errno)
  const segments = block(SEGMENTS_MOST * SEGMENT_BYTES)
  const slots = block(SLOTS_MOST * SLOT_BYTES)
  const incoming = block(RECEIVE_MOST * options.answerBytes)
  const one = headers(block, segments, 1, 0, 0)
  const each = headers(block, segments, SEGMENTS_MOST, SEGMENT_BYTES, SEGMENT_BYTES)
  const out = headers(block, slots, SLOTS_MOST, SLOT_BYTES, 0)
  const into = headers(block, incoming, RECEIVE_MOST, options.answerBytes, options.answerBytes)
  // One control message: UDP_SEGMENT, the kernel cuts one buffer into datagrams of that many bytes.
  const control = block(24)
  control.view.setBigUint64(0, 18n, true)
  control.view.setInt32(8, SOL_UDP, true)
  control.view.setInt32(12, UDP_SEGMENT, true)
  one.messages.view.setBigUint64(32, control.address, true)
  const polled = block(fds.length * 8)
  for (const [i, fd] of fds.entries()) {
    polled.view.setInt32(i * 8, fd, true)
    polled.view.setInt16(i * 8 + 4, POLLIN, true)
  }
  const inLengths = new Int32Array(RECEIVE_MOST)
  let refused = 0
  let segmentation = true
  const took = (sent: number, count: number): number => {
    const left = Math.max(sent, 0)
    if (left < count && errno() !== EAGAIN) refused += count - left
    return left
  }
  return {
    engine: 'mmsg',
    count: fds.length,
    segments: segments.bytes,
    segmentsMost: SEGMENTS_MOST,
    sendSegments(k, count, size) {
      if (segmentation && count > 1) {
        one.iovecs.words[2] = count * size
        one.messages.words[10] = 24
        control.view.setUint16(16, size, true)
        const sent = libc.sendmsg(fds[k], one.messages.pointer, MSG_DONTWAIT)
        if (sent >= 0) return Math.floor(sent / size)
        // EINVAL, EIO, ENOPROTOOPT: this kernel or device cannot cut; from now on one by one.
        if (![5, 22, 92].includes(errno())) return took(-1, count)
        segmentation = false
      }
      return took(libc.sendmmsg(fds[k], each.messages.pointer, count, MSG_DONTWAIT), count)
    },
    slots: slots.bytes,
    slotBytes: SLOT_BYTES,
    slotsMost: SLOTS_MOST,
    sendSlots(k, count, lengths) {
      for (let i = 0; i < count; i++) out.iovecs.words[i * 4 + 2] = lengths[i]!
      return took(libc.sendmmsg(fds[k], out.messages.pointer, count, MSG_DONTWAIT), count)
    },
    receive(k) {
      const n = libc.recvmmsg(fds[k], into.messages.pointer, RECEIVE_MOST, MSG_DONTWAIT | MSG_TRUNC, null)
      for (let i = 0; i < n; i++) inLengths[i] = into.messages.words[i * 16 + 14]!
      return n
    },
    inBytes: incoming.bytes,
    inStride: options.answerBytes,
    inLengths,
    refused: () => refused,
    wait: (milliseconds) => void libc.poll(polled.pointer, fds.length, milliseconds),
    close: () => {
      for (const fd of fds.splice(0)) libc.close(fd)
    },
  }
}
