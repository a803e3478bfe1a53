// The part of the platform's WebAssembly that is used here, typed. TypeScript knows it only together with a
// whole browser, which a server's code should not be able to name by mistake.

/** A compiled module: opaque, can be posted to other threads. */
export type WasmModule = object
export type WasmMemory = { readonly buffer: ArrayBuffer }
export type WasmFunction = (...values: number[]) => number
export type WasmImports = Record<string, WasmFunction>

type Platform = {
  readonly compile: (bytes: Uint8Array) => Promise<WasmModule>
  readonly Module: {
    readonly imports: (module: WasmModule) => readonly { readonly module: string; readonly name: string }[]
  }
  readonly Instance: new (
    module: WasmModule,
    imports: Record<string, WasmImports>,
  ) => { readonly exports: unknown }
}

export const webAssembly = (globalThis as unknown as { readonly WebAssembly: Platform }).WebAssembly
