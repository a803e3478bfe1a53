// A table of options: everything a program can be told, from which flags, variables, files, help, manual and
// completion are made. Refuses: any option of its own; each program brings its table.

import type { OptionType } from './values.ts'

export type Option<T> = {
  /** `udp-port`: the flag without its hyphens, and the key in a file; `SKEP_UDP_PORT` is made from it. */
  readonly flag: string
  /** Key of the table's `groups`. */
  readonly group: string
  readonly type: OptionType<T>
  readonly default: T
  /** Where the default depends on the machine: what it is, in words. */
  readonly defaultText?: string
  /** What it does and who would set it otherwise; no full stop at the end of the first sentence alone. */
  readonly sentence: string
}

export type Key<C> = keyof C & string

export type OptionTable<C> = {
  readonly options: { readonly [K in keyof C]: Option<C[K]> }
  /** Headings of help and manual, in this order. */
  readonly groups: Readonly<Record<string, string>>
  /** Variables are called `SKEP_UDP_PORT` where this is `SKEP`. */
  readonly prefix: string
  /** Variables of the same prefix that are no options. */
  readonly otherVariables: readonly string[]
  /** The programs that take these options, as in `skep tracker and skep start`. */
  readonly programs: string
  /** Fills in what follows from other options and was not said. */
  readonly derive: (config: C, isDefault: (key: Key<C>) => boolean) => C
  /** The first thing in which options contradict each other, as a sentence; null: nothing does. */
  readonly fault: (config: C) => string | null
}

export const keysOf = <C>(table: OptionTable<C>): readonly Key<C>[] => Object.keys(table.options) as Key<C>[]

export const optionOf = <C>(table: OptionTable<C>, key: Key<C>): Option<unknown> =>
  table.options[key] as Option<unknown>

/** The variable of a flag: `udp-port` is `SKEP_UDP_PORT`. */
export const variableOf = (table: { readonly prefix: string }, flag: string): string =>
  `${table.prefix}_${flag.toUpperCase().replaceAll('-', '_')}`
