// skep ctl doctor: what commonly goes wrong with a tracker, looked at one by one, each with its fix.
// Refuses: changing anything.

import { lookup } from 'node:dns/promises'
import { readdirSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { isIP } from 'node:net'
import { Code, ConnectError } from '@connectrpc/connect'
import { FAILURE, OK } from '@skep/cli/exit-codes.ts'
import { type Member, State, type StatusResponse } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import type { TrackerConfig } from '../config/options.ts'
import { networkKeyPath, readNetworkKeys } from '../keys/network-key.ts'
import { addressOf } from '../replica/membership/directory.ts'
import type { Asked, Call } from './asked.ts'
import type { ClusterClient } from './client.ts'
import { bad, type Finding, fair, good, readNumber, readText } from './finding.ts'
import { clock, conntrack, memory, mtuFinding, receiveFinding, sync } from './machine.ts'
import { faultsTable } from './table.ts'

export const DOCTOR_CALLS: readonly Call[] = [
  {
    name: 'doctor',
    summary: 'Look for what is wrong: on this machine and in the replica.',
    offline: () => true,
    run: doctor,
  },
]

/** Least room on the disk, bytes. */
const DISK_LEAST_BYTES = 1024 ** 3
/** A name that takes longer delays every new connection, milliseconds. */
const LOOK_UP_MOST_MS = 1000
/** Share of announces from private addresses above which something hides the clients. */
const PRIVATE_MOST = 0.5

async function doctor({ client, configured, json, print }: Asked): Promise<number> {
  const findings = await examine(configured.config, client)
  print(json ? JSON.stringify(findings, null, 2) : faultsTable(findings))
  return findings.some(({ verdict }) => verdict === 'bad') ? FAILURE : OK
}

/** The token is made from the network key. */
const MEND_KEY = "name the key by --network-key-file, or the replica's folder by --data-dir"

export async function examine(config: TrackerConfig, client: ClusterClient): Promise<Finding[]> {
  const status = await client.status({}, { timeoutMs: 5000 }).catch((error: unknown) => error as Error)
  const told = status instanceof Error ? null : status
  return [
    runtime(),
    ...(status instanceof Error ? [silent(config, status)] : replica(status)),
    ...(told === null ? [] : [...clients(told), ...(await members(told))]),
    receiveFinding(readNumber('/proc/sys/net/core/rmem_max')),
    conntrack(),
    mtuFinding(interfaces()),
    await networkKey(config),
    await disk(config),
    await sync(config.dataDir),
    clock(),
    openFiles(),
    memory(told?.table === undefined ? null : Number(told.table.capacityBytes)),
  ]
}

function runtime(): Finding {
  const major = Number(process.versions.node.split('.')[0])
  return major >= 26
    ? good(`Node ${process.versions.node}`)
    : bad(`Node ${process.versions.node}`, 'Skep needs Node 26: npm ci brings it')
}

export function silent(config: Pick<TrackerConfig, 'controlHost' | 'controlPort'>, error: Error): Finding {
  const why = error instanceof ConnectError ? error.rawMessage : String(error)
  const where = `the control API at ${config.controlHost} port ${config.controlPort}`
  if (error instanceof ConnectError && error.code === Code.Unauthenticated)
    return bad(`${where} does not let this command in: ${why}`, MEND_KEY)
  return bad(
    `no answer from ${where}: ${why}`,
    'start it, or say where it is: --control-host, --control-port, --data-dir',
  )
}

export function replica({ name, state, warnings, disk, notReady }: StatusResponse): Finding[] {
  const reason = notReady === '' ? '' : ` (${notReady})`
  const serving =
    state === State.SERVING
      ? good(`replica ${name} answers announces`)
      : bad(
          `replica ${name} is ${State[state].toLowerCase()}: announces wait${reason}`,
          'see its log, and skep ctl status',
        )
  const full = disk?.full ? [bad('its disk is full', 'make room: it goes on by itself')] : []
  return [serving, ...full, ...warnings.map((warning) => fair(warning, ''))]
}

/** Do clients seem to come from themselves? */
export function clients({ load }: Pick<StatusResponse, 'load'>): Finding[] {
  const [all, hidden] = [Number(load?.announces ?? 0n), Number(load?.announcesPrivate ?? 0n)]
  if (all === 0) return []
  const what = `${hidden} of ${all} announces came from private addresses`
  return hidden <= all * PRIVATE_MOST
    ? [good(what)]
    : [
        fair(
          `${what}: where clients are not in the same network, something in front hides them, and peers get useless addresses`,
          'keep the client address: host network, externalTrafficPolicy: Local, or --trusted-proxies for HTTP',
        ),
      ]
}

/** The other members: their connections, and the names in their addresses. */
export async function members(
  { raft }: Pick<StatusResponse, 'raft'>,
  find: (host: string) => Promise<unknown> = (host) => lookup(host),
): Promise<Finding[]> {
  const others = (raft?.members ?? []).filter((m) => !m.self)
  if (others.length === 0) return []
  const away = others.filter((m) => m.connection !== 'connected')
  const ways = away.map((m) =>
    bad(
      `${m.name || m.id} (${m.address}) is ${m.connection || 'not connected'}: ${m.connectionDetail}`,
      'is it running, reachable at that address, and has it the same network key?',
    ),
  )
  if (away.length === 0) ways.push(good(`connected to ${others.map((m) => m.name).join(', ')}`))
  return [...ways, ...(await Promise.all(others.flatMap((m) => name(m, find)))).flat()]
}

function name({ address }: Member, find: (host: string) => Promise<unknown>): Promise<Finding[]>[] {
  const host = addressOf(address)?.host ?? ''
  if (host === '' || isIP(host) !== 0) return []
  const sinceMs = performance.now()
  return [
    find(host).then(
      () => {
        const ms = performance.now() - sinceMs
        return ms <= LOOK_UP_MOST_MS
          ? []
          : [fair(`the name ${host} takes ${(ms / 1000).toFixed(1)} s to look up`, 'see to the name server')]
      },
      (error: NodeJS.ErrnoException) => [
        bad(
          `the name ${host} of a member has no address here (${error.code ?? error.message})`,
          'its record, or --replica-address of that replica',
        ),
      ],
    ),
  ]
}

function interfaces(): [string, number][] {
  try {
    return readdirSync('/sys/class/net')
      .filter((one) => one !== 'lo' && readText(`/sys/class/net/${one}/operstate`)?.trim() !== 'down')
      .flatMap((one): [string, number][] => {
        const mtu = readNumber(`/sys/class/net/${one}/mtu`)
        return mtu === null ? [] : [[one, mtu]]
      })
  } catch {
    return []
  }
}

async function networkKey(config: TrackerConfig): Promise<Finding> {
  const path = networkKeyPath(config.dataDir, config.networkKeyFile)
  try {
    const { keys, found } = await readNetworkKeys(path)
    // A group may read it: that is how Kubernetes gives a Secret to a pod that is not root.
    if ((found.mode & 0o027) !== 0)
      return fair(`network key ${path} can be read by others`, `chmod 640 ${path}`)
    return good(
      `network key ${path}${keys.length === 1 ? '' : `, and ${keys.length - 1} more that are accepted`}`,
    )
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    return fair(missing ? `there is no network key ${path}` : (error as Error).message, MEND_KEY)
  }
}

async function disk(config: TrackerConfig): Promise<Finding> {
  try {
    const { bavail, bsize } = await statfs(config.dataDir)
    const free = bavail * bsize
    const what = `${Math.floor(free / 1024 ** 2)} MiB free under ${config.dataDir}`
    return free >= DISK_LEAST_BYTES
      ? good(what)
      : fair(what, 'a full disk stops joins: leave a few times --snapshot-log-size')
  } catch {
    return fair(`there is no data folder ${config.dataDir} here`, '--data-dir names it')
  }
}

function openFiles(): Finding {
  const limits = readText('/proc/self/limits')
  const most = Number(/^Max open files\s+(\d+)/m.exec(limits ?? '')?.[1] ?? Number.NaN)
  if (Number.isNaN(most)) return fair('the limit of open files is not known on this system', '')
  if (most >= 10_000) return good(`${most} open files are allowed`)
  return fair(
    `only ${most} open files are allowed: fewer HTTP connections than --max-http-connections`,
    'ulimit -n 65536, LimitNOFILE= in a unit',
  )
}
