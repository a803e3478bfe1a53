// One running WebAssembly instance: calls into it, its memory, the imports it needs, and what becomes of it
// when it panics. It knows nothing of Raft.
import { RaftPanic } from './errors.ts'
import { type Linear, makeWriter, putEntries, type Writer } from './layout.ts'
import type { ReadEntries } from './types.ts'
import { type Exit, makeWasi, type World } from './wasi.ts'
import { type WasmFunction, type WasmMemory, type WasmModule, webAssembly } from './webassembly.ts'

export type Instance = {
  /** Calls an export; throws `RaftPanic`, the same one for ever after the first. */
  readonly call: (name: string, a?: number, b?: number, c?: number) => number
  /** Views on the memory as it is now: growing it detaches the older ones. */
  readonly linear: () => Linear
  /** By handle: who brings old entries back. */
  readonly readers: Map<number, ReadEntries>
}

const MODULE_WASI = 'wasi_snapshot_preview1'
/** A call made by the host while the core is waiting for old entries: its stack would be torn. */
const REENTERED = 'readEntries must not call the core'

export const startInstance = (module: WasmModule, world: World): Instance => {
  const needed = webAssembly.Module.imports(module).filter((i) => i.module === MODULE_WASI)
  const wasi = makeWasi(
    world,
    needed.map((i) => i.name),
  )
  const readers: Instance['readers'] = new Map()
  const read_entries = makeReading(readers, () => linear())
  const wasm = new webAssembly.Instance(module, { [MODULE_WASI]: wasi.imports, skep: { read_entries } })
  const exports = wasm.exports as Record<string, WasmFunction>
  const linearMemory = (wasm.exports as { memory: WasmMemory }).memory
  wasi.attach(linearMemory)

  let views: Linear = viewsOf(linearMemory.buffer)
  const linear = (): Linear => {
    const buffer = linearMemory.buffer
    if (views.buffer !== buffer) views = viewsOf(buffer)
    return views
  }
  let panic: RaftPanic | null = null
  let inside = false
  const call = (name: string, a = 0, b = 0, c = 0): number => {
    if (panic !== null) throw panic
    if (inside) throw new Error(REENTERED)
    inside = true
    try {
      return exports[name]!(a, b, c)
    } catch (thrown) {
      panic = describePanic(thrown, wasi.printed())
      throw panic
    } finally {
      inside = false
    }
  }
  call('_initialize')
  return { call, linear, readers }
}

const viewsOf = (buffer: ArrayBuffer): Linear => ({
  buffer,
  bytes: new Uint8Array(buffer),
  view: new DataView(buffer),
})

const describePanic = (thrown: unknown, printed: string): RaftPanic => {
  // Go prints "panic: text", possibly more panics, then an empty line and the stack; then it traps or exits.
  const said = /(?:panic|fatal error): ([\s\S]*?)(?:\n\n|\n?$)/.exec(printed)?.[1]
  if (said !== undefined) return new RaftPanic(said, printed)
  const isExit = typeof thrown === 'object' && thrown !== null && 'exitCode' in thrown
  const text = isExit ? `exit code ${(thrown as Exit).exitCode}` : String(thrown)
  return new RaftPanic(`the Raft core was interrupted: ${text}`, printed, { cause: thrown })
}

/** The import that brings old entries back: bytes written, 0 if they are gone, or minus the bytes needed. */
const makeReading = (readers: Instance['readers'], linear: () => Linear): WasmFunction => {
  let waiting: Writer | null = null
  return (handle, from, to, maxBytes, at, size) => {
    if (waiting === null) {
      const entries = readers.get(handle!)?.(from!, to!, maxBytes!) ?? null
      if (entries === null || entries.length === 0) return 0
      waiting = makeWriter(64 * 1024)
      putEntries(waiting, entries)
    }
    const { bytes, length } = waiting
    if (length > size! >>> 0) return -length
    linear().bytes.set(bytes.subarray(0, length), at! >>> 0)
    waiting = null
    return length
  }
}
