// In what options can contradict each other, though each is within its limits.
// Refuses: mending it silently.

import { OPTIONS, type TrackerConfig } from './options.ts'

/** The first thing in which options contradict each other, as a sentence; null if nothing does. */
export function configFault(config: TrackerConfig): string | null {
  return tableFault(config) ?? portFault(config) ?? replicasFault(config)
}

function tableFault(config: TrackerConfig): string | null {
  if (config.intervalMaxSeconds < config.intervalSeconds)
    return `--interval-max (${config.intervalMaxSeconds}s) is below --interval (${config.intervalSeconds}s)`
  if (config.numwantDefault > config.numwantMax)
    return `--numwant-default (${config.numwantDefault}) is above --numwant-max (${config.numwantMax})`
  return null
}

function portFault(config: TrackerConfig): string | null {
  const taken = new Map<number, string>()
  for (const key of ['httpPort', 'controlPort', 'replicaPort', 'healthPort'] as const) {
    // Left alone, it gives way to whatever was put on its number.
    if (key === 'healthPort' && config.healthPort === OPTIONS.healthPort.default) continue
    const { flag } = OPTIONS[key]
    const other = taken.get(config[key])
    if (other !== undefined && config[key] !== 0)
      return `--${other} and --${flag} are both ${config[key]}: each needs a TCP port of its own`
    taken.set(config[key], flag)
  }
  return null
}

/** Where the other replicas reach this one; null: it is alone, or nobody has said. */
export function replicaAddressOf(config: TrackerConfig): string | null {
  const { name, replicaAddress, initialMembers, replicaHost, replicaPort } = config
  if (replicaAddress !== null) return replicaAddress
  const own = initialMembers.find((member) => member.name === name)
  if (own !== undefined) return own.address
  if (replicaHost === '0.0.0.0' || replicaHost === '::' || replicaPort === 0) return null
  return `${replicaHost.includes(':') ? `[${replicaHost}]` : replicaHost}:${replicaPort}`
}

/** Is this replica to have others beside it? */
export const hasPeers = ({ initialMembers, join }: TrackerConfig): boolean =>
  initialMembers.length > 0 || join.length > 0

function replicasFault(config: TrackerConfig): string | null {
  const { name, initialMembers, join, networkKeyFile } = config
  if (!hasPeers(config)) return null
  const option = initialMembers.length > 0 ? '--initial-members' : '--join'
  for (const what of ['name', 'address'] as const) {
    const all = initialMembers.map((member) => member[what])
    const twice = all.find((one, i) => all.indexOf(one) !== i)
    if (twice !== undefined) return `--initial-members has the ${what} ${twice} twice`
  }
  if (
    initialMembers.length > 0 &&
    join.length === 0 &&
    !initialMembers.some((member) => member.name === name)
  )
    return `--initial-members does not name this replica (--name ${name}): it must be one of those that form the cluster`
  if (replicaAddressOf(config) === null)
    return `${option} needs --replica-address HOST:PORT: where the other replicas reach this one`
  if (networkKeyFile === null)
    return `${option} needs --network-key-file: all replicas share one key. Make it once with (umask 077; openssl rand -hex 32 > network.key) and give each replica a copy`
  return null
}
