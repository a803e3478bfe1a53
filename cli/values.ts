// What an option's value may be: parsed from a flag, a variable or a file, shown again as a file would hold
// it. Refuses: knowing any option; a value outside its limits is an error here and never later.

import { isIP } from 'node:net'
import * as v from 'valibot'

/** A value as YAML and JSON hold it. */
export type Plain = string | number | boolean | null | readonly string[]

/** One type of value. `schema` takes the text of a flag or the plain value of a file. */
export type OptionType<T> = {
  /** Stands for the value in the help: `port` is printed as `<port>`. */
  readonly placeholder: string
  /** What may be given, as the end of the sentence "it must be ...". */
  readonly limits: string
  readonly schema: v.GenericSchema<unknown, T>
  /** The value as a configuration file holds it; parsing it again gives the same value. */
  readonly show: (value: T) => Plain
  /** Every value, where there are few: for completion. */
  readonly choices?: readonly string[]
  /** A flag of this type may stand without a value, and be turned off by `--no-...`. */
  readonly bare?: boolean
  /** A flag of this type may be repeated. */
  readonly list?: boolean
  /** The value names a file or folder: for completion. */
  readonly path?: boolean
}

const range = (least: number, most: number, show: (n: number) => string): string =>
  `from ${show(least)} to ${show(most)}`

/** Numbers from text through `read` (null: not one), within limits that are part of the type. */
function numeric(
  placeholder: string,
  what: string,
  least: number,
  most: number,
  read: (text: string) => number | null,
  show: (value: number) => Plain,
): OptionType<number> {
  return {
    placeholder,
    limits: `${what} ${range(least, most, (n) => String(show(n)))}`,
    schema: v.pipe(
      v.union([v.number(), v.string()]),
      v.transform((raw) => read(String(raw).trim()) ?? Number.NaN),
      v.check((n) => Number.isInteger(n) && n >= least && n <= most),
    ),
    show,
  }
}

/** Whole numbers; `placeholder` says of what. */
export const count = (placeholder: string, least: number, most: number): OptionType<number> =>
  numeric(placeholder, 'a whole number', least, most, parseWhole, (n) => n)

/** TCP or UDP ports; 0 lets the system choose. */
export const PORT: OptionType<number> = numeric('port', 'a port', 0, 65_535, parseWhole, (n) => n)

/** Sizes such as `512MiB`, in bytes. */
export const bytes = (least: number, most: number): OptionType<number> =>
  numeric('size', 'a size such as 64KiB or 512MiB,', least, most, parseBytes, showBytes)

/** Durations such as `30s` or `1h30m`, in milliseconds. */
export const milliseconds = (least: number, most: number): OptionType<number> =>
  numeric(
    'duration',
    'a duration such as 100ms, 30s or 1h30m,',
    least,
    most,
    parseMilliseconds,
    showMilliseconds,
  )

/** Durations, or `never`: Infinity. */
export function millisecondsOrNever(least: number, most: number): OptionType<number> {
  const { schema, limits, show, placeholder } = milliseconds(least, most)
  const never = v.pipe(
    v.literal('never'),
    v.transform(() => Number.POSITIVE_INFINITY),
  )
  return {
    placeholder: `${placeholder}|never`,
    limits: `${limits} or never`,
    schema: v.union([never, schema]),
    show: (value) => (value === Number.POSITIVE_INFINITY ? 'never' : show(value)),
  }
}

/** Durations of whole seconds. */
export const seconds = (least: number, most: number): OptionType<number> =>
  numeric(
    'duration',
    'a duration such as 30s, 5m or 1h30m, in whole seconds,',
    least,
    most,
    (text) => {
      const ms = parseMilliseconds(text)
      return ms === null ? null : ms / 1000
    },
    (n) => showMilliseconds(n * 1000),
  )

export function choice<const C extends string>(...choices: readonly C[]): OptionType<C> {
  return {
    placeholder: choices.join('|'),
    limits: `one of ${choices.join(', ')}`,
    // YAML 1.1 files say `on` and mean true: taken back here, so that `auto|on|off` can be written unquoted.
    schema: v.pipe(
      v.unknown(),
      v.transform((raw) => (raw === true ? 'on' : raw === false ? 'off' : raw)),
      v.picklist(choices),
    ),
    show: (value) => value,
    choices,
  }
}

const YES = ['on', 'yes', 'true', '1']
const NO = ['off', 'no', 'false', '0']

/** Switches: on or off. */
export const SWITCH: OptionType<boolean> = {
  placeholder: 'on|off',
  limits: 'on or off',
  schema: v.pipe(
    v.union([v.boolean(), v.pipe(v.string(), v.picklist([...YES, ...NO]))]),
    v.transform((raw) => raw === true || YES.includes(String(raw))),
  ),
  show: (value) => (value ? 'on' : 'off'),
  choices: ['on', 'off'],
  bare: true,
}

/** A file or folder; relative to where the command is run. */
export const FOLDER: OptionType<string> = {
  placeholder: 'folder',
  limits: 'a path of at most 4096 bytes',
  schema: v.pipe(
    v.string(),
    v.minLength(1),
    v.maxBytes(4096),
    v.check((path) => !path.includes('\0')),
  ),
  show: (value) => value,
  path: true,
}

export const OPTIONAL_FILE: OptionType<string | null> = {
  ...FOLDER,
  placeholder: 'file',
  schema: v.nullable(FOLDER.schema),
  show: (value) => value,
}

/** A replica's name: what a DNS label may be. */
export const NAME: OptionType<string> = {
  placeholder: 'name',
  limits: 'at most 63 letters, digits and inner hyphens',
  schema: v.pipe(v.string(), v.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i)),
  show: (value) => value,
}

/** One address or host name to listen on. */
export const HOST: OptionType<string> = {
  placeholder: 'host',
  limits: 'an IP address or a host name',
  schema: v.pipe(
    v.string(),
    v.check((host) => isIP(host) !== 0 || /^[a-z0-9]([a-z0-9.-]{0,252})$/i.test(host)),
  ),
  show: (value) => value,
}

/** Most items of one list option. */
const LIST_MOST = 64

const list = (
  placeholder: string,
  what: string,
  least: number,
  fits: (item: string) => boolean,
): OptionType<readonly string[]> => ({
  placeholder,
  limits: `${least} to ${LIST_MOST} ${what}, with commas between them`,
  schema: v.pipe(
    v.union([v.array(v.string()), v.string()]),
    v.transform((raw) => (typeof raw === 'string' ? raw.split(',') : raw.flatMap((item) => item.split(',')))),
    v.transform((items) => items.map((item) => item.trim()).filter((item) => item !== '')),
    v.check((items) => items.length >= least && items.length <= LIST_MOST && items.every(fits)),
  ),
  show: (value) => value,
  list: true,
})

/** IP addresses to listen on. */
export const ADDRESSES = list('address,...', 'IP addresses', 1, (item) => isIP(item) !== 0)

/** Networks such as `10.0.0.0/8`; a bare address is a network of one. */
export const NETWORKS = list('network,...', 'networks such as 10.0.0.0/8 or fd00::/8', 0, isNetwork)

/** `host:port`, `[v6]:port` where a replica listens for others. */
const isPlace = (text: string): boolean => {
  const found = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9][a-z0-9._-]{0,252})):(\d{1,5})$/i.exec(text)
  if (found === null || (found[1] !== undefined && isIP(found[1]) !== 6)) return false
  return Number(found[3]) >= 1 && Number(found[3]) <= 65_535
}

export const OPTIONAL_PLACE: OptionType<string | null> = {
  placeholder: 'host:port',
  limits: 'a host and a port, such as r0.example:5560 or [fd00::1]:5560',
  schema: v.nullable(v.pipe(v.string(), v.check(isPlace))),
  show: (value) => value,
}

export const PLACES = list('host:port,...', 'hosts with ports', 0, isPlace)

/** A replica's name and where the others reach it. */
export type MemberPlace = { readonly name: string; readonly address: string }

const isMember = (text: string): boolean => {
  const at = text.indexOf('=')
  return v.is(NAME.schema, text.slice(0, Math.max(0, at))) && isPlace(text.slice(at + 1))
}

const NAMED = list('name=host:port,...', 'replicas such as r0=10.0.0.1:5560', 0, isMember)

export const MEMBERS: OptionType<readonly MemberPlace[]> = {
  placeholder: NAMED.placeholder,
  limits: NAMED.limits,
  schema: v.pipe(
    NAMED.schema,
    v.transform((all) => all.map((text) => ({ name: text.split('=')[0]!, address: text.split('=')[1]! }))),
  ),
  show: (value) => value.map(({ name, address }) => `${name}=${address}`),
  list: true,
}

function isNetwork(text: string): boolean {
  const [address, prefix, ...rest] = text.split('/')
  const family = isIP(address ?? '')
  if (family === 0 || rest.length > 0) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128))
}

function parseWhole(text: string): number | null {
  return /^\d{1,15}$/.test(text) ? Number(text) : null
}

const BYTE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kib: 1024,
  ki: 1024,
  mib: 1024 ** 2,
  mi: 1024 ** 2,
  gib: 1024 ** 3,
  gi: 1024 ** 3,
  tib: 1024 ** 4,
  ti: 1024 ** 4,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
}

/** Bytes of `512MiB`, `1.5Gi`, `100kB` or `4096`; null if it is none of them. */
export function parseBytes(text: string): number | null {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]{0,3})$/i.exec(text)
  const unit = BYTE_UNITS[match?.[2]?.toLowerCase() ?? 'none']
  return match === null || unit === undefined ? null : Math.round(Number(match[1]) * unit)
}

/** The shortest exact way to write a size. */
export function showBytes(value: number): string {
  for (const [unit, size] of [
    ['TiB', 1024 ** 4],
    ['GiB', 1024 ** 3],
    ['MiB', 1024 ** 2],
    ['KiB', 1024],
  ] as const)
    if (value >= size && value % size === 0) return `${value / size}${unit}`
  return `${value}B`
}

const TIME_UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]

/** Milliseconds of `100ms`, `30s`, `1.5h` or `1h30m`; a bare number has no unit and is refused, but for 0. */
export function parseMilliseconds(text: string): number | null {
  if (text === '0') return 0
  let total = 0
  let rest = text
  while (rest !== '') {
    const match = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)/.exec(rest)
    if (match === null) return null
    total += Number(match[1]) * TIME_UNITS.find(([unit]) => unit === match[2])![1]
    rest = rest.slice(match[0].length)
  }
  return text === '' ? null : Math.round(total * 1000) / 1000
}

/** The shortest exact way to write a duration. */
export function showMilliseconds(value: number): string {
  if (value > 1000 && value < 60_000) return `${value / 1000}s`
  let text = ''
  let rest = value
  for (const [unit, size] of TIME_UNITS) {
    const whole = Math.floor(rest / size)
    if (whole > 0) text += `${whole}${unit}`
    rest -= whole * size
  }
  return text === '' ? '0s' : text
}
