// The log of a process: JSON lines for machines, one short line for people. The one door to pino.
// Refuses: lines a request, and secrets.

import { STANDARD_OUTPUT } from '@skep/cli/output.ts'
import { type Logger, pino, stdSerializers } from 'pino'

export type { Logger }

export type LogOptions = {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'
  readonly format: 'auto' | 'json' | 'pretty'
  /** Name of the replica, on each line. */
  readonly name: string
}

/** Where lines go: stdout, or a test's array. */
export type LogOutput = { write(text: string): void; readonly isTTY?: boolean }

/** Keys whose values are never written, at the top and one level down. */
const SECRET = ['token', 'key', 'networkKey', 'authorization', 'secret', 'password']

export function openLogger(options: LogOptions, output: LogOutput = STANDARD_OUTPUT): Logger {
  const pretty = options.format === 'pretty' || (options.format === 'auto' && output.isTTY === true)
  const colour = pretty && output.isTTY === true && process.env.NO_COLOR === undefined
  const stream = pretty ? { write: (line: string) => output.write(prettyLine(line, colour)) } : output
  const log = pino(
    {
      level: options.level,
      base: { name: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: stdSerializers.errWithCause },
      redact: { paths: SECRET.flatMap((name) => [name, `*.${name}`]), censor: '[secret]' },
    },
    stream,
  )
  if (output === STANDARD_OUTPUT)
    STANDARD_OUTPUT.again = (lines, why) => log.warn({ lines, why }, 'lines of this log were lost')
  return log
}

const COLOURS: Readonly<Record<string, number>> = {
  trace: 90,
  debug: 90,
  info: 32,
  warn: 33,
  error: 31,
  fatal: 31,
}

/** `12:34:56 warn  r0  the disk is full  free=0`: a JSON line for people. */
function prettyLine(line: string, colour: boolean): string {
  let record: Record<string, unknown>
  try {
    record = JSON.parse(line)
  } catch {
    return line
  }
  const { level, time, name, msg, err, ...rest } = record
  const paint = (code: number, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text)
  const fields = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  const at = String(time).slice(11, 19)
  const label = paint(COLOURS[String(level)] ?? 0, String(level).padEnd(5))
  const text = [paint(90, at), label, paint(90, String(name)), msg, paint(90, fields.join(' '))]
    .filter((part) => part !== undefined && part !== '')
    .join(' ')
  const stack =
    err === undefined
      ? ''
      : `\n${String((err as { stack?: string }).stack ?? JSON.stringify(err)).replaceAll(/^/gm, '  ')}`
  return `${text.trimEnd()}${stack}\n`
}
