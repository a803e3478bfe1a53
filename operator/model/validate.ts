// What is wrong with a specification: faults, each with the path of its field and a sentence that says what
// is allowed. The schema of the resource refuses most of it earlier; this is for what a schema cannot say,
// and for older schemas. Refuses: to mend anything.

import { CONTROL_PORT, HEALTH_PORT, REPLICA_PORT } from './names.ts'
import { type Settled, settle } from './settle.ts'
import { LIMITS, type TrackerCluster } from './types.ts'
import { bytesOf, durationMs, mebibytes } from './units.ts'

export type Fault = { readonly path: string; readonly message: string }

/** Options of the tracker that the operator sets, and the field to use instead; '' : none. */
export const RESERVED_OPTIONS: Readonly<Record<string, string>> = {
  name: '',
  host: '',
  'udp-port': 'spec.services.udp.port',
  'http-port': 'spec.services.http.port',
  'health-port': '',
  'control-host': '',
  'control-port': '',
  'initial-members': '',
  join: '',
  'replica-port': '',
  'replica-host': '',
  'replica-address': '',
  learner: '',
  'max-voters': 'spec.maxVoters',
  'prefer-highest': 'spec.preferHighest',
  keepalive: 'spec.keepalive',
  missed: 'spec.missed',
  consistency: 'spec.consistency',
  'data-dir': '',
  'network-key-file': 'spec.networkKey',
  'purge-on-stop': 'spec.purgeOnDelete',
  memory: 'spec.memory',
  'allow-private': 'spec.allowPrivate',
  'allow-list': 'a TorrentPolicy',
  'deny-list': 'a TorrentPolicy',
  'trusted-proxies': 'spec.services.http.trustedProxies',
  config: '',
}

/** Beside the table, a replica needs about this much. */
export const PROCESS_BYTES = 256 * 2 ** 20
const DNS_LABEL = /^[a-z]([a-z0-9-]*[a-z0-9])?$/
const DNS_NAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/
const CIDR = /^([0-9.]+\/\d{1,2}|[0-9a-fA-F:.]+\/\d{1,3})$/

export const validate = (resource: TrackerCluster): readonly Fault[] => {
  const s = settle(resource.spec, '0.0.0')
  const faults: Fault[] = []
  const say = (path: string, message: string): void => {
    faults.push({ path, message })
  }
  names(resource, say)
  sizes(s, say)
  timesAndRoom(s, say)
  services(s, say)
  options(s, say)
  image(s, say)
  pods(s, say)
  restore(s, say)
  return faults
}

/** All faults in a sentence. */
export const faultText = (faults: readonly Fault[]): string =>
  faults.map((f) => `${f.path}: ${f.message}`).join('; ')

type Say = (path: string, message: string) => void

const within = (say: Say, path: string, n: number, least: number, most: number): boolean => {
  if (Number.isInteger(n) && n >= least && n <= most) return true
  say(path, `must be a whole number from ${least} to ${most}, not ${n}`)
  return false
}

const names = ({ metadata }: TrackerCluster, say: Say): void => {
  if (metadata.name.length > LIMITS.nameLength || !DNS_LABEL.test(metadata.name))
    say(
      'metadata.name',
      `must be lower-case letters, digits and hyphens, begin with a letter, and have at most ${LIMITS.nameLength} characters`,
    )
}

const sizes = (s: Settled, say: Say): void => {
  within(say, 'spec.replicas', s.replicas, 1, LIMITS.replicas)
  if (within(say, 'spec.maxVoters', s.maxVoters, 1, LIMITS.maxVoters) && s.maxVoters % 2 === 0)
    say('spec.maxVoters', `must be odd: ${s.maxVoters} voters bear no more losses than ${s.maxVoters - 1}`)
  const { autoscaling: a, tolerateFailures: f } = s
  if (a !== null) {
    within(say, 'spec.autoscaling.min', a.min, 1, LIMITS.replicas)
    within(say, 'spec.autoscaling.max', a.max, 1, LIMITS.replicas)
    if (a.min > a.max) say('spec.autoscaling.min', `${a.min} is above spec.autoscaling.max (${a.max})`)
    within(say, 'spec.autoscaling.announcesPerSecondPerReplica', a.announcesPerSecondPerReplica, 1, 1e8)
    within(say, 'spec.autoscaling.memoryPercent', a.memoryPercent, 1, 100)
    within(say, 'spec.autoscaling.upAfterSeconds', a.upAfterSeconds, 0, 86_400)
    within(say, 'spec.autoscaling.downAfterSeconds', a.downAfterSeconds, 0, 86_400)
  }
  if (f === undefined || !within(say, 'spec.tolerateFailures', f, 0, LIMITS.tolerateFailures)) return
  const asked = 2 * f + 1
  const [path, least] = a === null ? ['spec.replicas', s.replicas] : ['spec.autoscaling.min', a.min]
  if (least < asked)
    say(path, `must be at least ${asked}: spec.tolerateFailures: ${f} asks for ${asked} replicas`)
  if (s.maxVoters < asked)
    say('spec.maxVoters', `must be at least ${asked}: spec.tolerateFailures: ${f} asks for ${asked} voters`)
}

const timesAndRoom = (s: Settled, say: Say): void => {
  const keepalive = durationMs(s.keepalive)
  if (keepalive === null || keepalive < 50 || keepalive > 60_000)
    say('spec.keepalive', `must be a duration from 50ms to 1m, such as 500ms or 1s, not "${s.keepalive}"`)
  within(say, 'spec.missed', s.missed, 2, 100)
  within(say, 'spec.replaceAfterSeconds', s.replaceAfterSeconds, 30, 86_400)
  within(say, 'spec.rollout.settleSeconds', s.rollout.settleSeconds, 0, 3600)
  const memory = bytesOf(s.memory)
  if (memory === null || memory < 16 * 2 ** 20)
    say('spec.memory', `must be a quantity of at least 16Mi, such as 512Mi, not "${s.memory}"`)
  const storage = bytesOf(s.storage.size)
  if (storage === null || storage < 2 ** 28)
    say('spec.storage.size', `must be a quantity of at least 256Mi, such as 2Gi, not "${s.storage.size}"`)
  const limit = s.resources?.limits?.memory
  const limitBytes = limit === undefined ? null : bytesOf(limit)
  if (limit !== undefined && limitBytes === null)
    say('spec.resources.limits.memory', `must be a quantity such as 1Gi, not "${limit}"`)
  if (limitBytes !== null && memory !== null && limitBytes < memory + PROCESS_BYTES)
    say(
      'spec.resources.limits.memory',
      `${limit} is too little for spec.memory: ${s.memory} and the process itself: at least ${mebibytes(memory + PROCESS_BYTES)}`,
    )
}

const services = (s: Settled, say: Say): void => {
  const { udp, http } = s.services
  within(say, 'spec.services.udp.port', udp.port, 1, 65_535)
  within(say, 'spec.services.http.port', http.port, 1, 65_535)
  for (const [field, service] of [
    ['udp', udp],
    ['http', http],
  ] as const) {
    const path = `spec.services.${field}`
    if (service.nodePort !== undefined) {
      within(say, `${path}.nodePort`, service.nodePort, 1, 65_535)
      if (service.type === 'ClusterIP')
        say(
          `${path}.nodePort`,
          `a Service of type ClusterIP has none: set ${path}.type to NodePort or LoadBalancer`,
        )
    }
    for (const range of service.loadBalancerSourceRanges ?? [])
      if (!CIDR.test(range))
        say(`${path}.loadBalancerSourceRanges`, `"${range}" is no network such as 192.0.2.0/24`)
  }
  for (const range of http.trustedProxies)
    if (!CIDR.test(range))
      say('spec.services.http.trustedProxies', `"${range}" is no network such as 10.0.0.0/8`)
  for (const taken of [REPLICA_PORT, CONTROL_PORT, ...(s.hostNetwork ? [HEALTH_PORT] : [])])
    if (http.port === taken) say('spec.services.http.port', `${taken} is taken by the replicas themselves`)
}

const options = (s: Settled, say: Say): void => {
  for (const [name, value] of Object.entries(s.options)) {
    const path = `spec.options.${name}`
    const instead = RESERVED_OPTIONS[name]
    if (!/^[a-z][a-z0-9-]*$/.test(name))
      say(path, 'is no name of an option: write it as in skep tracker --help, without the dashes in front')
    else if (instead !== undefined)
      say(path, instead === '' ? 'is set by the operator itself' : `is set by the operator: use ${instead}`)
    else if (typeof value !== 'string' || value === '' || value.length > 4096 || /[\0\n]/.test(value))
      say(path, 'must be a text of one line; write numbers and switches in quotes')
  }
}

const image = (s: Settled, say: Say): void => {
  if (s.image.repository === '')
    say(
      'spec.image.repository',
      'must name the image, and the operator was not told of its own (--image-repository); there is none that everybody could pull: docs/kubernetes.md says how to build one',
    )
}

const pods = (s: Settled, say: Say): void => {
  const { pod } = s
  within(say, 'spec.pod.drainSeconds', pod.drainSeconds, 0, 600)
  const least = pod.drainSeconds + 10
  if (pod.terminationGracePeriodSeconds < least)
    say(
      'spec.pod.terminationGracePeriodSeconds',
      `must be at least ${least}: spec.pod.drainSeconds (${pod.drainSeconds}) and 10 to stop`,
    )
  if (s.hostNetwork && s.topologySpread.nodes === 'Off')
    say(
      'spec.topologySpread.nodes',
      'cannot be Off with spec.hostNetwork: two replicas of a node would need the same ports',
    )
  if (s.networkKey.secretName !== undefined && !DNS_NAME.test(s.networkKey.secretName))
    say('spec.networkKey.secretName', `"${s.networkKey.secretName}" is no name of a Secret`)
}

const restore = ({ restoreFrom: r }: Settled, say: Say): void => {
  if (r !== undefined && (r.backup === undefined) === (r.claimName === undefined))
    say('spec.restoreFrom', 'needs either backup or claimName')
}
