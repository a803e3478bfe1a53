// The C library through FFI: its functions, and memory whose address the kernel may be given. The only door
// to koffi. Linux on 64-bit little-endian machines; importing it anywhere else throws, and callers go
// without. Refuses: to know what the calls are for.

import { endianness } from 'node:os'
import { getSystemErrorName } from 'node:util'
import koffi from 'koffi'

if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch) || endianness() !== 'LE')
  throw new Error(
    `system calls are made on Linux on x64 and arm64, not ${process.platform} on ${process.arch}`,
  )

const libc = koffi.load(null)
// Addresses are passed as numbers: below 2^53 on every such machine.
export const socket = libc.func('int socket(int, int, int)')
export const bind = libc.func('int bind(int, uintptr_t, uint32_t)')
export const setsockopt = libc.func('int setsockopt(int, int, int, uintptr_t, uint32_t)')
export const getsockopt = libc.func('int getsockopt(int, int, int, uintptr_t, uintptr_t)')
export const getsockname = libc.func('int getsockname(int, uintptr_t, uintptr_t)')
export const recvmmsg = libc.func('int recvmmsg(int, uintptr_t, uint32_t, int, uintptr_t)')
export const sendmmsg = libc.func('int sendmmsg(int, uintptr_t, uint32_t, int)')
export const poll = libc.func('int poll(uintptr_t, uint64_t, int)')
export const read = libc.func('int64_t read(int, uintptr_t, size_t)')
export const write = libc.func('int64_t write(int, uintptr_t, size_t)')
export const close = libc.func('int close(int)')
/** Ends the process at once, whatever its threads wait for. */
export const exitNow = libc.func('void _exit(int)')
export const usleep = libc.func('int usleep(uint32_t)')
export const eventfd = libc.func('int eventfd(uint32_t, int)')
export const syscall4 = libc.func('syscall', 'int64_t', ['int64_t', 'int64_t', 'uintptr_t', 'int64_t'])

/** The last call's error, as errno(3) has it. */
export const errno = (): number => koffi.errno()
export const addressOf = (view: ArrayBufferView): number => Number(koffi.address(view))
/** Offset in `buffer` of its first byte on a cache line. */
export const align = (buffer: ArrayBuffer): number => -addressOf(new Uint8Array(buffer)) & 63
/** The name of the last call's error, such as EAGAIN. */
export const errorName = (): string => getSystemErrorName(-koffi.errno())

/**
 * Words that never move, with their address, for calls that take pointers to small things. Always used
 * through this object: a variable that no function mentions any more is collected, and the kernel would write
 * into freed memory.
 */
export type Pinned = { readonly words: Int32Array; readonly address: number }
export const pin = (): Pinned => {
  const words = new Int32Array(new ArrayBuffer(4096))
  return { words, address: addressOf(words) }
}

/** `address` as a 64-bit word at 32-bit word `at`. */
export function putAddress(words: Int32Array, at: number, address: number): void {
  words[at] = address | 0
  words[at + 1] = Math.floor(address / 2 ** 32)
}
