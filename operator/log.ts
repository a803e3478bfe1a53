// The operator's log: a JSON object a line, on standard output.
// Refuses: secrets; nothing that holds a key is ever given to it.

import { STANDARD_OUTPUT } from '@skep/cli/output.ts'

export type Level = 'debug' | 'info' | 'warn' | 'error'
export const LEVELS: readonly Level[] = ['debug', 'info', 'warn', 'error']
export type Log = (level: Level, message: string, fields?: Readonly<Record<string, unknown>>) => void

export const openLog =
  (least: Level, write: (line: string) => void = (line) => STANDARD_OUTPUT.write(line)): Log =>
  (level, msg, fields = {}) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return
    write(`${JSON.stringify({ level, time: new Date().toISOString(), name: 'operator', msg, ...fields })}\n`)
  }
