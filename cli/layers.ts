// Lays the sources of options over each other: flag over variable over file over default, and remembers which
// won. Refuses: unknown names, with the nearest known one; values outside their limits; several faults are
// told at once.

import * as v from 'valibot'
import { parse } from 'yaml'
import { suggestion } from './nearest.ts'
import { type Key, keysOf, type OptionTable, optionOf, variableOf } from './options.ts'

export type Source = 'flag' | 'environment' | 'file' | 'default'

export type Given<C> = {
  /** By key, as commander collected them. */
  readonly flags: ReadonlyMap<Key<C>, unknown>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Name and text of the file; null without one. */
  readonly file: { readonly path: string; readonly text: string } | null
}

export type Sources<C> = ReadonlyMap<Key<C>, Source>

export type Layered<C> =
  | { readonly ok: true; readonly config: C; readonly sources: Sources<C> }
  | { readonly ok: false; readonly faults: readonly string[] }

/** Largest configuration file, bytes. */
export const CONFIG_FILE_BYTES = 1024 * 1024

export function layer<C>(table: OptionTable<C>, given: Given<C>): Layered<C> {
  const faults: string[] = []
  const values = new Map<Key<C>, unknown>()
  const sources = new Map<Key<C>, Source>()
  const set = (key: Key<C>, raw: unknown, source: Source, shown: string): void => {
    const { type } = optionOf(table, key)
    const read = v.safeParse(type.schema, raw)
    if (!read.success) faults.push(`${shown} is ${JSON.stringify(raw)}: it must be ${type.limits}`)
    else {
      values.set(key, read.output)
      sources.set(key, source)
    }
  }
  for (const key of keysOf(table)) {
    values.set(key, optionOf(table, key).default)
    sources.set(key, 'default')
  }
  if (given.file !== null)
    for (const [key, raw] of fileKeys(table, given.file.path, given.file.text, faults))
      set(key, raw, 'file', `${given.file.path}: ${optionOf(table, key).flag}`)
  for (const [key, raw] of variables(table, given.environment, faults))
    set(key, raw, 'environment', variableOf(table, optionOf(table, key).flag))
  for (const [key, raw] of given.flags) set(key, raw, 'flag', `--${optionOf(table, key).flag}`)
  const told = Object.fromEntries(values) as C
  const config = table.derive(told, (key) => sources.get(key) === 'default')
  if (faults.length === 0) {
    const fault = table.fault(config)
    if (fault !== null) faults.push(fault)
  }
  return faults.length > 0 ? { ok: false, faults } : { ok: true, config, sources }
}

/** One value of an option from its text; undefined if it is out of its limits. */
export function optionValue<C>(table: OptionTable<C>, key: Key<C>, raw: string): unknown {
  const read = v.safeParse(optionOf(table, key).type.schema, raw)
  return read.success ? read.output : undefined
}

function fileKeys<C>(
  table: OptionTable<C>,
  path: string,
  text: string,
  faults: string[],
): [Key<C>, unknown][] {
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
  const byFlag = new Map(keysOf(table).map((key) => [optionOf(table, key).flag, key]))
  const found: [Key<C>, unknown][] = []
  for (const [name, raw] of Object.entries(document)) {
    const key = byFlag.get(name)
    if (key === undefined) faults.push(`${path}: unknown key ${name}${suggestion(name, [...byFlag.keys()])}`)
    // A key without a value says nothing: templates write them so.
    else if (raw !== null) found.push([key, raw])
  }
  return found
}

function variables<C>(
  table: OptionTable<C>,
  environment: Given<C>['environment'],
  faults: string[],
): [Key<C>, unknown][] {
  const byVariable = new Map(keysOf(table).map((key) => [variableOf(table, optionOf(table, key).flag), key]))
  const known = [...byVariable.keys(), ...table.otherVariables]
  const found: [Key<C>, unknown][] = []
  for (const [name, raw] of Object.entries(environment)) {
    if (!name.startsWith(`${table.prefix}_`) || raw === undefined || isServiceLink(name, raw)) continue
    const key = byVariable.get(name)
    if (key !== undefined) found.push([key, raw])
    else if (!table.otherVariables.includes(name))
      faults.push(`unknown variable ${name}${suggestion(name, known)}`)
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
