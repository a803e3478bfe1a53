// The compiled core as it lies beside this file. Committed is raft.wasm.br, not raft.wasm: 1.5 MB instead of
// 9, for some 30 ms at start; Brotli, because every Node since 12 can undo it.
import { readFileSync } from 'node:fs'
import { brotliDecompressSync } from 'node:zlib'
import { type WasmModule, webAssembly } from './webassembly.ts'

/** The bytes of the WebAssembly module. */
export const coreBytes = (): Uint8Array =>
  brotliDecompressSync(readFileSync(new URL('./raft.wasm.br', import.meta.url)))

let compiled: Promise<WasmModule> | null = null

/** The compiled module, once per thread. Posted to other threads it saves them the compilation. */
export const compileCore = (): Promise<WasmModule> => {
  compiled ??= webAssembly.compile(coreBytes())
  return compiled
}
