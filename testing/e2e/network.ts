// Hosts of our own on one machine: network namespaces joined by a bridge, each with an IPv4 and an IPv6 address.
// They belong to processes (no names, nothing to clean): when the run ends, the kernel takes them back.
// Refuses: to touch the machine's own network; the caller is already in a namespace of its own (see `enterOwn`).

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** The bridge's addresses, where the tracker listens. */
export const HUB_4 = '10.87.0.1'
export const HUB_6 = 'fd87::1'
/** A host that is forgotten ends by itself. */
const HOST_SECONDS = '3600'

export type Host = {
  readonly name: string
  readonly address4: string
  readonly address6: string
  /** Puts this before a command to run it on the host. */
  readonly enter: readonly string[]
}

/** The machine itself: no namespace, addresses of loopback. */
export const loopback: Host = { name: 'loopback', address4: '127.0.0.1', address6: '::1', enter: [] }

const holders: ChildProcess[] = []
process.on('exit', () => {
  for (const holder of holders) holder.kill('SIGKILL')
})

export const canNamespace = (): boolean =>
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore' }).status === 0

/** Runs this program again in a network namespace of its own; resolves to its exit code. */
export async function enterOwn(program: string, args: readonly string[]): Promise<number> {
  const child = spawn('unshare', ['--net', process.execPath, program, ...args], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

function ip(...args: string[]): void {
  const done = spawnSync('ip', args, { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`ip ${args.join(' ')}: ${done.stderr.trim()}`)
}

/** Inside the own namespace: a bridge, and `names.length` hosts on it. */
export async function buildNetwork(names: readonly string[]): Promise<Host[]> {
  ip('link', 'set', 'lo', 'up')
  ip('link', 'add', 'hub', 'type', 'bridge')
  ip('link', 'set', 'hub', 'up')
  ip('addr', 'add', `${HUB_4}/24`, 'dev', 'hub')
  ip('addr', 'add', `${HUB_6}/64`, 'dev', 'hub', 'nodad')
  return Promise.all(names.map((name, i) => addHost(name, i + 2)))
}

async function addHost(name: string, number: number): Promise<Host> {
  const holder = spawn('unshare', ['--net', 'sh', '-c', `echo ready; exec sleep ${HOST_SECONDS}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  holders.push(holder)
  await once(holder.stdout!, 'data')
  const enter = ['nsenter', `--net=/proc/${holder.pid}/ns/net`]
  const inside = (...args: string[]): void => {
    const done = spawnSync(enter[0]!, [...enter.slice(1), 'ip', ...args], { encoding: 'utf8' })
    if (done.status !== 0) throw new Error(`${name}: ip ${args.join(' ')}: ${done.stderr.trim()}`)
  }
  ip('link', 'add', `port${number}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(holder.pid))
  ip('link', 'set', `port${number}`, 'master', 'hub', 'up')
  const host = { name, address4: `10.87.0.${number}`, address6: `fd87::${number}`, enter }
  inside('link', 'set', 'lo', 'up')
  inside('addr', 'add', `${host.address4}/24`, 'dev', 'eth0')
  inside('addr', 'add', `${host.address6}/64`, 'dev', 'eth0', 'nodad')
  inside('link', 'set', 'eth0', 'up')
  // Clients look for a default route before they believe that there is a network at all.
  inside('route', 'add', 'default', 'via', HUB_4)
  inside('-6', 'route', 'add', 'default', 'via', HUB_6)
  return host
}
