// Options of `skep operator`: a flag, or a variable SKEP_OPERATOR_*, or a default. Refuses: options of
// clusters; those are fields of their resources.

import { Flag, newCommand, UsageError } from '@skep/cli/command.ts'
import { LEVELS, type Level } from './log.ts'

export type OperatorConfig = {
  /** Empty: all. */
  readonly namespaces: readonly string[]
  readonly leaderElect: boolean
  readonly lease: string
  /** '' : that of the service account. */
  readonly leaseNamespace: string
  /** /metrics, /livez, /readyz; 0: none. */
  readonly metricsPort: number
  readonly metricsHost: string
  /** Passes at once. */
  readonly workers: number
  /** Every cluster gets a pass so often, whatever happens, seconds. */
  readonly resyncSeconds: number
  /** Of the image of replicas whose resource names none; '' : none. */
  readonly imageRepository: string
  readonly logLevel: Level
}

type Field = {
  readonly key: keyof OperatorConfig
  readonly flag: string
  readonly value: string
  /** What the flag means without a value; absent: it needs one. */
  readonly bare?: string
  readonly help: string
  readonly fallback: string
  readonly read: (text: string) => unknown
}

const whole =
  (least: number, most: number) =>
  (text: string): number => {
    const n = Number(text)
    if (!/^\d+$/.test(text) || n < least || n > most)
      throw new UsageError(`must be a whole number from ${least} to ${most}, not "${text}"`)
    return n
  }
const NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const name = (text: string): string => {
  if (text !== '' && !NAME.test(text)) throw new UsageError(`"${text}" is no Kubernetes name`)
  return text
}
const onOff = (text: string): boolean => {
  if (text !== 'on' && text !== 'off') throw new UsageError(`must be on or off, not "${text}"`)
  return text === 'on'
}

export const FIELDS: readonly Field[] = [
  {
    key: 'namespaces',
    flag: 'namespaces',
    value: 'names',
    help: 'Namespaces looked after, with commas between them; none: all of the cluster.',
    fallback: '',
    read: (text) =>
      text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== '')
        .map(name),
  },
  {
    key: 'leaderElect',
    flag: 'leader-elect',
    value: 'on|off',
    bare: 'on',
    help: 'Work only while holding a Lease, so that several operators can run.',
    fallback: 'on',
    read: onOff,
  },
  {
    key: 'lease',
    flag: 'lease',
    value: 'name',
    help: 'Name of that Lease.',
    fallback: 'skep-operator',
    read: name,
  },
  {
    key: 'leaseNamespace',
    flag: 'lease-namespace',
    value: 'name',
    help: 'Its namespace; none: that of the service account.',
    fallback: '',
    read: name,
  },
  {
    key: 'metricsPort',
    flag: 'metrics-port',
    value: 'port',
    help: 'TCP port of /metrics, /livez and /readyz; 0: none.',
    fallback: '8080',
    read: whole(0, 65535),
  },
  {
    key: 'metricsHost',
    flag: 'metrics-host',
    value: 'address',
    help: 'Address of that port.',
    fallback: '0.0.0.0',
    read: (text) => text,
  },
  {
    key: 'workers',
    flag: 'workers',
    value: 'number',
    help: 'Passes at once, 1 to 64; never two over one cluster.',
    fallback: '4',
    read: whole(1, 64),
  },
  {
    key: 'resyncSeconds',
    flag: 'resync-seconds',
    value: 'seconds',
    help: 'Each resource gets a pass so often even if nothing happens, 10 to 86400.',
    fallback: '300',
    read: whole(10, 86_400),
  },
  {
    key: 'imageRepository',
    flag: 'image-repository',
    value: 'name',
    help: "Image, without its tag, of replicas whose TrackerCluster names none; as a rule the operator's own.",
    fallback: '',
    read: (text) => text,
  },
  {
    key: 'logLevel',
    flag: 'log-level',
    value: 'level',
    help: `Least serious line that is logged: ${LEVELS.join(', ')}.`,
    fallback: 'info',
    read: (text) => {
      if (!LEVELS.includes(text as Level)) throw new UsageError(`must be one of ${LEVELS.join(', ')}`)
      return text
    },
  },
]

export const variableOf = (flag: string): string => `SKEP_OPERATOR_${flag.toUpperCase().replaceAll('-', '_')}`

export type Parsed = { readonly config: OperatorConfig; readonly print: string | null }

/** Throws UsageError, or commander's own error for unknown flags and for help that was asked for. */
export const readConfig = (args: readonly string[], environment: NodeJS.ProcessEnv): Parsed => {
  const command = newCommand(
    'skep operator',
    'Runs tracker clusters on Kubernetes: looks after TrackerCluster, TorrentPolicy and TrackerBackup.',
  )
  for (const { flag, value, bare, help, fallback } of FIELDS)
    command.addOption(
      new Flag(
        bare === undefined ? `--${flag} <${value}>` : `--${flag} [${value}]`,
        `${help} Default: ${fallback === '' ? 'none' : fallback}. [${variableOf(flag)}]`,
      ),
    )
  command.option('--print-config', 'Print all options with their values and sources, and end.')
  command.parse([...args], { from: 'user' })
  const given = command.opts<Record<string, string | true>>()
  const lines: string[] = []
  const values = FIELDS.map(({ key, flag, bare, fallback, read }): [string, unknown] => {
    const variable = environment[variableOf(flag)]
    const [text, source] =
      given[key] !== undefined
        ? [String(given[key] === true ? bare : given[key]), 'flag']
        : variable !== undefined
          ? [variable, 'variable']
          : [fallback, 'default']
    lines.push(`${flag}: ${text === '' ? '""' : text}  # ${source}`)
    try {
      return [key, read(text)]
    } catch (cause) {
      throw new UsageError(`--${flag}: ${(cause as Error).message}`, { cause })
    }
  })
  return {
    config: Object.fromEntries(values) as OperatorConfig,
    print: given.printConfig === undefined ? null : `${lines.join('\n')}\n`,
  }
}
