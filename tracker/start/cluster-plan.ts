// skep start --replicas n, on paper: name, folder, ports and command line of each replica.
// Refuses: options that only make sense for one replica, and ports that two of them would need.

import { join } from 'node:path'
import { UsageError } from '@skep/cli/command.ts'
import { shownValue } from '@skep/cli/manual.ts'
import { type ConfigKey, OPTIONS, type TrackerConfig } from '../config/options.ts'
import { type Configured, TABLE } from '../config/table.ts'

/** Between the ports of one replica and the next. */
const PORT_STEP = 10

export type ReplicaPlan = {
  readonly name: string
  readonly dataDir: string
  readonly replicaPort: number
  /** After `skep`. */
  readonly args: readonly string[]
}

/** What each replica is told by the plan, whatever the command line says. */
const PLANNED: readonly ConfigKey[] = [
  ...(['name', 'dataDir', 'networkKeyFile', 'initialMembers', 'join', 'replicaAddress'] as const),
  ...([
    'udpPort',
    'httpPort',
    'healthPort',
    'controlPort',
    'replicaPort',
    'replicaHost',
    'udpWorkers',
    'logFormat',
  ] as const),
]
/** What would be the same for all of them, and must not be. */
const FOR_ONE = ['name', 'initialMembers', 'join', 'replicaAddress', 'learner'] as const

/** Throws `UsageError`. `keyFile`: of the network key that all share. */
export function replicaPlans(configured: Configured, replicas: number, keyFile: string): ReplicaPlan[] {
  const { config, sources, file } = configured
  for (const key of FOR_ONE)
    if (sources.get(key) !== 'default')
      throw new UsageError(
        `--replicas names and connects its replicas by itself, so --${OPTIONS[key].flag} cannot go with it`,
      )
  if (config.replicaPort === 0) throw new UsageError('--replicas needs a --replica-port that is not 0')
  const host = sources.get('replicaHost') === 'default' ? '127.0.0.1' : config.replicaHost
  const numbers = Array.from({ length: replicas }, (_, i) => i)
  portsFault(config, numbers)
  const place = (i: number): string =>
    `${host.includes(':') ? `[${host}]` : host}:${config.replicaPort + PORT_STEP * i}`
  const members = numbers.map((i) => `r${i}=${place(i)}`).join(',')
  const given = [...sources.keys()].filter((key) => sources.get(key) === 'flag' && !PLANNED.includes(key))
  const workers =
    sources.get('udpWorkers') === 'default'
      ? Math.max(1, Math.floor(config.udpWorkers / replicas))
      : config.udpWorkers
  return numbers.map((i) => {
    const dataDir = join(config.dataDir, `r${i}`)
    const own: Partial<Record<ConfigKey, string | number>> = {
      name: `r${i}`,
      dataDir,
      networkKeyFile: keyFile,
      initialMembers: members,
      udpPort: portOf(config.udpPort, i),
      httpPort: portOf(config.httpPort, i),
      healthPort: portOf(config.healthPort, i),
      controlPort: portOf(config.controlPort, i),
      replicaPort: portOf(config.replicaPort, i),
      replicaHost: host,
      udpWorkers: workers,
      logFormat: config.logFormat === 'auto' ? 'pretty' : config.logFormat,
    }
    return {
      name: `r${i}`,
      dataDir,
      replicaPort: portOf(config.replicaPort, i),
      args: [
        'tracker',
        ...(file === null ? [] : ['--config', file]),
        ...given.flatMap((key) => flag(key, shownValue(TABLE, config, key))),
        ...Object.entries(own).flatMap(([key, value]) => flag(key as ConfigKey, value)),
      ],
    }
  })
}

/** 0 lets the system choose, for each of them. */
const portOf = (first: number, i: number): number => (first === 0 ? 0 : first + PORT_STEP * i)

const flag = (key: ConfigKey, value: unknown): string[] =>
  value === null ? [] : [`--${OPTIONS[key].flag}=${Array.isArray(value) ? value.join(',') : String(value)}`]

function portsFault(config: TrackerConfig, numbers: readonly number[]): void {
  const taken = new Map<number, string>()
  for (const key of ['httpPort', 'healthPort', 'controlPort', 'replicaPort', 'udpPort'] as const)
    for (const i of numbers) {
      const port = portOf(config[key], i)
      const what = `--${OPTIONS[key].flag} of r${i}`
      if (port > 65_535) throw new UsageError(`${what} would be ${port}: there are ports up to 65535`)
      // UDP has ports of its own.
      if (port === 0 || key === 'udpPort') continue
      const other = taken.get(port)
      if (other !== undefined)
        throw new UsageError(`${other} and ${what} would both be ${port}: replica i uses each port + 10 i`)
      taken.set(port, what)
    }
}
