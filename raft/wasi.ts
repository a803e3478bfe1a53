// The host side of WASI preview 1, as little of it as the Go runtime needs: time and chance come from
// arguments, what it prints is collected, and there are no files, arguments, environment or sleep. So a seed
// replays everything. Functions that are not needed answer ENOSYS.
import type { WasmImports, WasmMemory } from './webassembly.ts'

/** Where the core gets what differs from run to run. */
export type World = {
  /** [0, 1): election jitter and the Go runtime's own hashing. */
  readonly random: () => number
  /** Milliseconds that never go back: only the collector looks at them. */
  readonly now: () => number
}

/** Thrown through the core when it ends itself; whoever called it turns that into a `RaftPanic`. */
export type Exit = { readonly exitCode: number }

export type Wasi = {
  readonly imports: WasmImports
  /** To be called once there is an instance. */
  readonly attach: (memory: WasmMemory) => void
  /** The end of what was printed to standard error. */
  readonly printed: () => string
}

const ENOSYS = 52
const EBADF = 8
const PRINTED_LIMIT_CHARACTERS = 64 * 1024

export const makeWasi = (world: World, names: readonly string[]): Wasi => {
  let memory: WasmMemory
  let text = ''
  /** Go sleeps by polling; the clock jumps ahead instead, so that nothing ever blocks. */
  let slept = 0
  const view = (): DataView => new DataView(memory.buffer)
  const nanoseconds = (): bigint => BigInt(Math.floor((world.now() + slept) * 1e6))

  const known: Record<string, (...words: number[]) => number> = {
    args_sizes_get: (count, size) => zeroTwo(count!, size!),
    environ_sizes_get: (count, size) => zeroTwo(count!, size!),
    args_get: () => 0,
    environ_get: () => 0,
    sched_yield: () => 0,
    fd_prestat_get: () => EBADF,
    clock_time_get: (_clock, _precision, at) => {
      view().setBigUint64(at! >>> 0, nanoseconds(), true)
      return 0
    },
    random_get: (at, length) => {
      const bytes = new Uint8Array(memory.buffer, at! >>> 0, length! >>> 0)
      for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(world.random() * 256)
      return 0
    },
    fd_write: (_fd, vectors, count, written) => {
      const v = view()
      let total = 0
      for (let k = 0, o = vectors! >>> 0; k < count!; k++, o += 8) {
        const length = v.getUint32(o + 4, true)
        text += new TextDecoder().decode(new Uint8Array(memory.buffer, v.getUint32(o, true), length))
        total += length
      }
      if (text.length > PRINTED_LIMIT_CHARACTERS) text = text.slice(-PRINTED_LIMIT_CHARACTERS)
      v.setUint32(written! >>> 0, total, true)
      return 0
    },
    // One event: the first subscription. A clock's timeout lies 24 bytes into it, in nanoseconds.
    poll_oneoff: (subscriptions, events, _count, ready) => {
      const v = view()
      const from = subscriptions! >>> 0
      const to = events! >>> 0
      if (v.getUint8(from + 8) === 0) slept += Number(v.getBigUint64(from + 24, true)) / 1e6
      v.setBigUint64(to, v.getBigUint64(from, true), true)
      v.setUint16(to + 8, 0, true)
      v.setUint8(to + 10, v.getUint8(from + 8))
      v.setUint32(ready! >>> 0, 1, true)
      return 0
    },
    proc_exit: (code) => {
      const exit: Exit = { exitCode: code! }
      throw exit
    },
  }
  const zeroTwo = (a: number, b: number): number => {
    view().setUint32(a >>> 0, 0, true)
    view().setUint32(b >>> 0, 0, true)
    return 0
  }
  const imports: WasmImports = {}
  for (const name of names) imports[name] = known[name] ?? ((): number => ENOSYS)
  return {
    imports,
    attach: (m) => {
      memory = m
    },
    printed: () => text,
  }
}
