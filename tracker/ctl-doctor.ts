// skep ctl doctor: what commonly goes wrong with a tracker, looked at one by one, each with its mend.
// Refuses: changing anything.

import { readFileSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { ConnectError } from '@connectrpc/connect'
import { State } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import type { TrackerConfig } from './config.ts'
import { showBytes } from './config-types.ts'
import { networkKeyPath } from './control-token.ts'
import type { ClusterClient } from './ctl-client.ts'

export type Finding = {
  readonly verdict: 'good' | 'fair' | 'bad'
  readonly what: string
  readonly mend: string
}

/** Least room on the disk, bytes; and the receive buffer below which bursts are lost on a busy tracker. */
const DISK_LEAST_BYTES = 1024 ** 3
const RECEIVE_LEAST_BYTES = 4 * 1024 ** 2

const good = (what: string): Finding => ({ verdict: 'good', what, mend: '' })
const fair = (what: string, mend: string): Finding => ({ verdict: 'fair', what, mend })
const bad = (what: string, mend: string): Finding => ({ verdict: 'bad', what, mend })

export async function examine(config: TrackerConfig, client: ClusterClient): Promise<Finding[]> {
  return [
    runtime(),
    ...(await replica(config, client)),
    receiveBuffer(),
    networkKey(config),
    await disk(config),
    clock(),
    openFiles(),
    memory(),
  ]
}

function runtime(): Finding {
  const major = Number(process.versions.node.split('.')[0])
  return major >= 24
    ? good(`Node ${process.versions.node}`)
    : bad(`Node ${process.versions.node}`, 'Skep needs Node 24: npm ci brings it')
}

async function replica(config: TrackerConfig, client: ClusterClient): Promise<Finding[]> {
  try {
    const { name, state, warnings, disk } = await client.status({}, { timeoutMs: 5000 })
    const serving =
      state === State.SERVING
        ? good(`replica ${name} answers announces`)
        : bad(
            `replica ${name} is ${State[state].toLowerCase()}: announces wait`,
            'see its log, and skep ctl status',
          )
    const full = disk?.full ? [bad('its disk is full', 'make room: it goes on by itself')] : []
    return [serving, ...full, ...warnings.map((warning) => fair(warning, ''))]
  } catch (error) {
    const why = error instanceof ConnectError ? error.rawMessage : String(error)
    const where = `${config.controlHost} port ${config.controlPort}`
    return [
      bad(
        `no answer from the control API at ${where}: ${why}`,
        'start it, or say where it is: --control-host, --control-port, --data-dir',
      ),
    ]
  }
}

function receiveBuffer(): Finding {
  const most = readNumber('/proc/sys/net/core/rmem_max')
  if (most === null) return fair('the largest UDP receive buffer is not known on this system', '')
  if (most >= RECEIVE_LEAST_BYTES) return good(`UDP receive buffers up to ${showBytes(most)}`)
  return fair(
    `UDP receive buffers are at most ${showBytes(most)}: a busy tracker loses datagrams in bursts`,
    'sysctl -w net.core.rmem_max=16777216 (a replica with CAP_NET_ADMIN does not need it)',
  )
}

function networkKey(config: TrackerConfig): Finding {
  const path = networkKeyPath(config.dataDir, config.networkKeyFile)
  try {
    const { mode } = statSync(path)
    return (mode & 0o077) === 0
      ? good(`network key ${path}`)
      : fair(`network key ${path} can be read by others`, `chmod 600 ${path}`)
  } catch (error) {
    return fair(
      `network key ${path}: ${(error as NodeJS.ErrnoException).code}`,
      '--data-dir or --network-key-file names it',
    )
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

/** Skep itself never reads wall time for decisions; people reading its log do. */
function clock(): Finding {
  const year = new Date().getFullYear()
  return year >= 2025
    ? good(`clock says ${new Date().toISOString()}`)
    : fair(`the clock says ${year}`, 'set it: logs and certificates need it')
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

const memory = (): Finding => good(`${Math.floor(totalmem() / 1024 ** 2)} MiB of memory`)

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

function readNumber(path: string): number | null {
  const text = readText(path)
  return text === null || Number.isNaN(Number(text)) ? null : Number(text)
}
