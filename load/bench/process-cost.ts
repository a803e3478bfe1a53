// What a server spent: CPU time of all threads and resident memory, read from /proc.
// Refuses: systems without /proc (zeros, `known` is false).

import { existsSync, readdirSync, readFileSync } from 'node:fs'

export const known = existsSync('/proc/self/schedstat')

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Microseconds of CPU that all live threads of the processes have used (schedstat counts nanoseconds). */
export function cpuMicroseconds(pids: readonly number[]): number {
  let nanoseconds = 0
  for (const pid of pids) {
    let threads: string[] = []
    try {
      threads = readdirSync(`/proc/${pid}/task`)
    } catch {}
    for (const thread of threads)
      nanoseconds += Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ', 1)[0] ?? 0)
  }
  return nanoseconds / 1000
}

/** Microseconds by thread name, for whoever looks for what costs. */
export function cpuByThread(pids: readonly number[]): Map<string, number> {
  const all = new Map<string, number>()
  for (const pid of pids) {
    let threads: string[] = []
    try {
      threads = readdirSync(`/proc/${pid}/task`)
    } catch {}
    for (const thread of threads) {
      const name = read(`/proc/${pid}/task/${thread}/comm`).trim()
      const spent = Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ', 1)[0] ?? 0) / 1000
      all.set(name, (all.get(name) ?? 0) + spent)
    }
  }
  return all
}

/** Resident bytes of the processes. */
export function residentBytes(pids: readonly number[]): number {
  let bytes = 0
  for (const pid of pids) bytes += Number(/VmRSS:\s+(\d+)/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024
  return bytes
}
