// Lays the sources of options over each other: flag over variable over file over default, and remembers which
// won. Refuses: unknown names, with the nearest known one; values outside their limits; several faults are
// told at once.

import * as v from 'valibot'
import { parse } from 'yaml'
import { configFault } from './faults.ts'
import { CONFIG_KEYS, type ConfigKey, OPTIONS, type TrackerConfig, variableOf } from './options.ts'
import type { OptionType } from './values.ts'

export type Source = 'flag' | 'environment' | 'file' | 'default'

export type Given = {
  /** By key, as commander collected them. */
  readonly flags: ReadonlyMap<ConfigKey, unknown>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Name and text of the file; null without one. */
  readonly file: { readonly path: string; readonly text: string } | null
}

export type Layered =
  | { readonly ok: true; readonly config: TrackerConfig; readonly sources: ReadonlyMap<ConfigKey, Source> }
  | { readonly ok: false; readonly faults: readonly string[] }

/** Variables that are not options, but ours. */
const OTHER_VARIABLES = ['SKEP_CONFIG']
/** Largest configuration file, bytes. */
export const CONFIG_FILE_BYTES = 1024 * 1024

export function layer(given: Given): Layered {
  const faults: string[] = []
  const values = new Map<ConfigKey, unknown>()
  const sources = new Map<ConfigKey, Source>()
  const set = (key: ConfigKey, raw: unknown, source: Source, shown: string): void => {
    const type = OPTIONS[key].type as OptionType<unknown>
    const read = v.safeParse(type.schema, raw)
    if (!read.success) faults.push(`${shown} is ${JSON.stringify(raw)}: it must be ${type.limits}`)
    else {
      values.set(key, read.output)
      sources.set(key, source)
    }
  }
  for (const key of CONFIG_KEYS) {
    values.set(key, OPTIONS[key].default)
    sources.set(key, 'default')
  }
  if (given.file !== null)
    for (const [key, raw] of fileKeys(given.file.path, given.file.text, faults))
      set(key, raw, 'file', `${given.file.path}: ${OPTIONS[key].flag}`)
  for (const [key, raw] of variables(given.environment, faults))
    set(key, raw, 'environment', variableOf(OPTIONS[key].flag))
  for (const [key, raw] of given.flags) set(key, raw, 'flag', `--${OPTIONS[key].flag}`)
  const config = Object.fromEntries(values) as TrackerConfig
  if (sources.get('parkForMs') === 'default') Object.assign(config, { parkForMs: parkForOf(config) })
  if (faults.length === 0) {
    const fault = configFault(config)
    if (fault !== null) faults.push(fault)
  }
  return faults.length > 0 ? { ok: false, faults } : { ok: true, config, sources }
}

/** Nobody is answered during an election: requests wait through it, milliseconds. */
const ELECTION_MS = 1500
const parkForOf = ({ keepaliveMs, missed }: TrackerConfig): number =>
  Math.min(60_000, keepaliveMs * missed + ELECTION_MS)

/** One value of an option from its text; undefined if it is out of its limits. */
export function optionValue(key: ConfigKey, raw: string): unknown {
  const read = v.safeParse(OPTIONS[key].type.schema as v.GenericSchema<unknown, unknown>, raw)
  return read.success ? read.output : undefined
}

const byFlag = new Map(CONFIG_KEYS.map((key) => [OPTIONS[key].flag, key]))
const byVariable = new Map(CONFIG_KEYS.map((key) => [variableOf(OPTIONS[key].flag), key]))

function fileKeys(path: string, text: string, faults: string[]): [ConfigKey, unknown][] {
  if (Buffer.byteLength(text) > CONFIG_FILE_BYTES) {
    faults.push(`${path} has more than ${CONFIG_FILE_BYTES} bytes`)
    return []
  }
  let document: unknown
  try {
    document = parse(text, { maxAliasCount: 0 })
  } catch (cause) {
    faults.push(`${path}: ${cause instanceof Error ? cause.message.trim() : String(cause)}`)
    return []
  }
  if (document === null || document === undefined) return []
  if (typeof document !== 'object' || Array.isArray(document)) {
    faults.push(`${path} must hold keys and values, such as "udp-port: 6969"`)
    return []
  }
  const found: [ConfigKey, unknown][] = []
  for (const [name, raw] of Object.entries(document)) {
    const key = byFlag.get(name)
    if (key === undefined) faults.push(`${path}: unknown key ${name}${suggestion(name, [...byFlag.keys()])}`)
    // A key without a value says nothing: templates write them so.
    else if (raw !== null) found.push([key, raw])
  }
  return found
}

function variables(environment: Given['environment'], faults: string[]): [ConfigKey, unknown][] {
  const found: [ConfigKey, unknown][] = []
  for (const [name, raw] of Object.entries(environment)) {
    if (!name.startsWith('SKEP_') || raw === undefined || isServiceLink(name, raw)) continue
    const key = byVariable.get(name)
    if (key !== undefined) found.push([key, raw])
    else if (!OTHER_VARIABLES.includes(name))
      faults.push(`unknown variable ${name}${suggestion(name, [...byVariable.keys(), ...OTHER_VARIABLES])}`)
  }
  return found
}

/**
 * Kubernetes sets variables for each Service of the namespace in every pod: a Service called `skep-udp` gives
 * `SKEP_UDP_PORT=udp://10.0.0.1:6969`, which is no option of ours although it is named like one.
 */
function isServiceLink(name: string, value: string): boolean {
  if (/_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name)) return true
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value)
}

/** ` (did you mean x?)` where a known name is near, or nothing. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === null ? '' : ` (did you mean ${near}?)`
}

/** The known name with the fewest edits to `name`, if they are few enough to be a slip. */
export function nearest(name: string, known: readonly string[]): string | null {
  let best: string | null = null
  let bestEdits = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    const edits = editDistance(fold(name), fold(candidate))
    if (edits < bestEdits) [best, bestEdits] = [candidate, edits]
  }
  return best
}

const fold = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, '')

/** Letters inserted, dropped, changed, or swapped with their neighbour. */
function editDistance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) =>
    Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)),
  )
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min(rows[i - 1]![j]! + 1, rows[i]![j - 1]! + 1, rows[i - 1]![j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, rows[i - 2]![j - 2]! + 1)
      rows[i]![j] = least
    }
  return rows[a.length]![b.length]!
}
