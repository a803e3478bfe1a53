// Settings that are in the log: every member obeys the same ones. Command-line values only seed them at
// birth. Refuses: settings of one machine (ports, threads, paths); those are options (config/options.ts).

import { C_SETTINGS } from './layout.ts'

export type Settings = {
  /** Announce interval handed out when load allows, seconds. */
  readonly intervalSeconds: number
  /** Largest interval ever handed out, seconds; peers expire after twice this. */
  readonly intervalMaxSeconds: number
  /** Peers given to a client that does not say how many it wants. */
  readonly numwantDefault: number
  /** Most peers given to anyone. */
  readonly numwantMax: number
  /**
   * `auto`: private addresses are taken, and shown to private askers only; `off`: refused; `on`: like any
   * other.
   */
  readonly allowPrivate: 'auto' | 'on' | 'off'
}

export const DEFAULT_SETTINGS: Settings = {
  intervalSeconds: 1800,
  intervalMaxSeconds: 3600,
  numwantDefault: 50,
  numwantMax: 200,
  allowPrivate: 'auto',
}

/** What a setting may be: [least, most]. */
const SETTING_LIMITS: { readonly [K in keyof Settings]?: readonly [number, number] } = {
  intervalSeconds: [10, 86_400],
  intervalMaxSeconds: [10, 86_400],
  numwantDefault: [0, 1000],
  numwantMax: [1, 1000],
}

const ALLOW_PRIVATE = ['auto', 'on', 'off'] as const
/** Settings as words, in this order; more are only ever added at the end. */
const NAMES = [
  'intervalSeconds',
  'intervalMaxSeconds',
  'numwantDefault',
  'numwantMax',
  'allowPrivate',
] as const

function settingsToWords(settings: Settings): number[] {
  return NAMES.map((name) =>
    name === 'allowPrivate' ? ALLOW_PRIVATE.indexOf(settings[name]) : settings[name],
  )
}

function settingsFromWords(words: ArrayLike<number>, at = 0): Settings {
  return {
    intervalSeconds: words[at]!,
    intervalMaxSeconds: words[at + 1]!,
    numwantDefault: words[at + 2]!,
    numwantMax: words[at + 3]!,
    allowPrivate: ALLOW_PRIVATE[words[at + 4]!] ?? 'auto',
  }
}

/** The first fault of `settings`, as a sentence; null if there is none. */
export function settingsFault(settings: Settings): string | null {
  for (const [name, limits] of Object.entries(SETTING_LIMITS)) {
    const value = settings[name as keyof Settings] as number
    const [least, most] = limits!
    if (!Number.isInteger(value) || value < least || value > most)
      return `${name} is ${value}: it must be a whole number from ${least} to ${most}`
  }
  if (settings.intervalMaxSeconds < settings.intervalSeconds)
    return `intervalMaxSeconds (${settings.intervalMaxSeconds}) is below intervalSeconds (${settings.intervalSeconds})`
  if (settings.numwantDefault > settings.numwantMax)
    return `numwantDefault (${settings.numwantDefault}) is above numwantMax (${settings.numwantMax})`
  if (!ALLOW_PRIVATE.includes(settings.allowPrivate)) return `allowPrivate is not one of auto, on, off`
  return null
}

export const readSettings = (control: Int32Array): Settings => settingsFromWords(control, C_SETTINGS)

export function writeSettings(control: Int32Array, settings: Settings): void {
  settingsToWords(settings).forEach((word, i) => {
    Atomics.store(control, C_SETTINGS + i, word)
  })
}
