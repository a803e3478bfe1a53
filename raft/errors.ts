// What the core throws. Expected refusals are values (`Result`), never these.
import type { RaftErrorCode } from './types.ts'

/** A call that cannot be made: bad options, an unknown handle, an entry that is no configuration change. */
export class RaftError extends Error {
  override readonly name = 'RaftError'
  readonly code: RaftErrorCode
  constructor(code: RaftErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * The core found its own state impossible, or `readEntries` threw. Nothing of the instance can be trusted any
 * more: this call and every later one throws the same error, and nothing of an unfinished Ready may be used.
 */
export class RaftPanic extends Error {
  override readonly name = 'RaftPanic'
  /** What the Go runtime printed: the message and the stack. */
  readonly trace: string
  constructor(message: string, trace: string, options?: ErrorOptions) {
    super(message, options)
    this.trace = trace
  }
}
