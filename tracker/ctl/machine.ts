// What skep ctl doctor looks at on the machine itself: memory, network, clock, disk. Each part that judges
// takes what was read as an argument. Refuses: changing anything, but for a file of 4 KiB in the data folder,
// which it writes to time the disk and takes away.

import { open, rm } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import { showBytes } from '@skep/cli/values.ts'
import { bad, type Finding, fair, good, readNumber, readText } from './finding.ts'

/** What a replica needs beside its table, bytes. */
const BESIDE_BYTES = 256 * 1024 ** 2
/** Clients of a busy tracker within the life of an entry for UDP (30 s, or 120 s once answered). */
const CONNTRACK_LEAST = 1_000_000
/** IPv6 forbids less; nothing of ours is cut above it. */
const MTU_LEAST = 1280
/** A synced write of this and longer is felt by every join, milliseconds. */
const SYNC_MOST_MS = 20
const SYNC_TIMES = 5
const SYNC_BYTES = 4096

/** `capacityBytes`: of the whole table; null: not known. `limitBytes`: of the control group; null: none. */
export function memoryFinding(
  capacityBytes: number | null,
  limitBytes: number | null,
  totalBytes: number,
): Finding {
  const room = Math.min(limitBytes ?? Number.POSITIVE_INFINITY, totalBytes)
  const of = limitBytes !== null && limitBytes < totalBytes ? 'its control group allows' : 'the machine has'
  const has = `${of} ${mebibytes(room)}`
  if (capacityBytes === null) return good(`${has} of memory`)
  const need = capacityBytes + BESIDE_BYTES
  const what = `a full table and the process need ${mebibytes(need)}; ${has}`
  if (room >= need) return good(what)
  return fair(
    `${what}: the system would end it before the table is full`,
    'raise the limit (resources.limits.memory of a pod), or begin a cluster with less --memory',
  )
}

const mebibytes = (bytes: number): string => `${Math.floor(bytes / 1024 ** 2)} MiB`

/** Limit of this process's control group, version 2 or 1; null: none. */
export function memoryLimit(read: (path: string) => string | null = readText): number | null {
  const own = /^0::(\/.*)$/m.exec(read('/proc/self/cgroup') ?? '')?.[1] ?? '/'
  const paths = [
    join('/sys/fs/cgroup', own, 'memory.max'),
    '/sys/fs/cgroup/memory.max',
    '/sys/fs/cgroup/memory/memory.limit_in_bytes',
  ]
  for (const path of paths) {
    const bytes = Number(read(path) ?? Number.NaN)
    // Version 1 says "no limit" by a number near 2^63.
    if (bytes > 0 && bytes < 2 ** 60) return bytes
  }
  return null
}

export const memory = (capacityBytes: number | null): Finding =>
  memoryFinding(capacityBytes, memoryLimit(), totalmem())

/** Entries of the kernel's connection tracking, and their limit; null: it is not there. */
export function conntrackFinding(count: number | null, most: number | null): Finding {
  if (most === null || count === null) return good('no connection tracking in the way of UDP')
  const what = `connection tracking: ${count} of ${most} entries`
  const mend =
    'leave the tracker out of it (an nft rule "udp dport 6969 notrack"), or raise net.netfilter.nf_conntrack_max'
  if (count > most * 0.8) return bad(`${what}: new clients are about to be dropped by the kernel`, mend)
  if (count > 0 && most < CONNTRACK_LEAST)
    return fair(`${what}: every client is one of them for up to two minutes`, mend)
  return good(what)
}

export const conntrack = (): Finding =>
  conntrackFinding(
    readNumber('/proc/sys/net/netfilter/nf_conntrack_count'),
    readNumber('/proc/sys/net/netfilter/nf_conntrack_max'),
  )

/** Interfaces with their MTU, loopback left out. */
export function mtuFinding(interfaces: readonly (readonly [string, number])[]): Finding {
  const small = interfaces.filter(([, mtu]) => mtu < MTU_LEAST)
  if (interfaces.length === 0) return fair('the MTU of the interfaces is not known on this system', '')
  const all = (some: typeof interfaces): string => some.map(([name, mtu]) => `${name} ${mtu}`).join(', ')
  if (small.length === 0) return good(`MTU of the interfaces: ${all(interfaces)}`)
  return fair(
    `small MTU: ${all(small)}: answers of --udp-answer-bytes (1200 by default) are cut into pieces`,
    `--udp-answer-bytes ${Math.max(512, Math.min(...small.map(([, mtu]) => mtu)) - 48)}, or a larger MTU`,
  )
}

/** Clock of the kernel that every time is read from. */
export function clockFinding(source: string | null, year: number): Finding {
  if (year < 2025) return fair(`the clock says ${year}`, 'set it: logs and certificates need it')
  const name = source?.trim() ?? ''
  if (!['hpet', 'acpi_pm', 'jiffies', 'refined-jiffies'].includes(name))
    return good(`clock says ${new Date().toISOString()}${name === '' ? '' : `, read from ${name}`}`)
  return fair(
    `the kernel reads time from ${name}, which is slow: each answer pays for it`,
    'find out why tsc was given up (dmesg | grep -i clocksource)',
  )
}

export const clock = (): Finding =>
  clockFinding(
    readText('/sys/devices/system/clocksource/clocksource0/current_clocksource'),
    new Date().getFullYear(),
  )

/** Middle of what synced writes took, milliseconds. */
export function syncFinding(place: string, ms: number): Finding {
  const what = `a synced write in ${place} takes ${ms.toFixed(1)} ms`
  return ms <= SYNC_MOST_MS
    ? good(what)
    : fair(`${what}: every join waits for one`, 'a faster disk, or one that other programs leave alone')
}

export async function sync(dataDir: string): Promise<Finding> {
  const path = join(dataDir, `doctor-${process.pid}.tmp`)
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      const took: number[] = []
      for (let i = 0; i < SYNC_TIMES; i++) {
        const sinceMs = performance.now()
        await file.write(Buffer.alloc(SYNC_BYTES, i))
        await file.datasync()
        took.push(performance.now() - sinceMs)
      }
      return syncFinding(dataDir, took.sort((a, b) => a - b)[SYNC_TIMES >> 1]!)
    } finally {
      await file.close()
      await rm(path, { force: true })
    }
  } catch (error) {
    return fair(
      `how fast ${dataDir} syncs could not be measured: ${(error as NodeJS.ErrnoException).code}`,
      '',
    )
  }
}

/** The most that a receive buffer may have, bytes. */
export function receiveFinding(most: number | null): Finding {
  if (most === null) return fair('the largest UDP receive buffer is not known on this system', '')
  if (most >= 4 * 1024 ** 2) return good(`UDP receive buffers up to ${showBytes(most)}`)
  return fair(
    `UDP receive buffers are at most ${showBytes(most)}: a busy tracker loses datagrams in bursts`,
    'sysctl -w net.core.rmem_max=16777216 (a replica with CAP_NET_ADMIN does not need it)',
  )
}
