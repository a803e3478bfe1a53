// Hosts of our own on one machine: network namespaces joined by a bridge, each with an IPv4 and an IPv6
// address. They belong to processes (no names, nothing to clean): when the run ends, the kernel takes them
// back. Refuses: to touch the machine's own network; the caller is already in a namespace of its own (see
// `enterWorld`).

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** The bridge's addresses, where the tracker listens. */
export const HUB_4 = '10.87.0.1'
/** Some clients use IPv6 only from an address of 2000::/3; nobody has this part of it any more. */
const PREFIX_6 = '3ffe:87::'
export const HUB_6 = `${PREFIX_6}1`
/** A host that is forgotten ends by itself. */
const HOST_SECONDS = 3600
/** Nobody has it: what is sent there is lost without a word. */
const NOWHERE = '02:de:ad:00:00:01'

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

/**
 * Runs this program again with a network, processes and mounts of its own: whatever ends it, the kernel ends
 * all that it started and takes back what it mounted. Resolves to its exit code; 130 after a signal.
 */
export async function enterWorld(program: string, args: readonly string[]): Promise<number> {
  const own = [
    '--net',
    '--mount',
    '--propagation',
    'private',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
  ]
  // Killed itself, this process can end nothing any more: then the kernel ends what it started.
  const dying = ['setpriv', '--pdeathsig', 'KILL']
  const bound = spawnSync(dying[0]!, [...dying.slice(1), 'true'], { stdio: 'ignore' }).status === 0
  const whole = [...(bound ? dying : []), 'unshare', ...own, process.execPath, program, ...args]
  const child = spawn(whole[0]!, whole.slice(1), { stdio: 'inherit' })
  let told = false
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // Others would end this process at once, before what it started has ended.
    process.removeAllListeners(signal)
    process.on(signal, () => {
      told = true
      child.kill('SIGKILL')
    })
  }
  const [code] = (await once(child, 'exit')) as [number | null]
  return told ? 130 : (code ?? 1)
}

function ip(...args: string[]): void {
  const done = spawnSync('ip', args, { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`ip ${args.join(' ')}: ${done.stderr.trim()}`)
}

/** Inside the own namespace: a bridge, and `names.length` hosts on it. */
export async function buildNetwork(names: readonly string[], seconds = HOST_SECONDS): Promise<Host[]> {
  ip('link', 'set', 'lo', 'up')
  ip('link', 'add', 'hub', 'type', 'bridge')
  ip('link', 'set', 'hub', 'up')
  ip('addr', 'add', `${HUB_4}/24`, 'dev', 'hub')
  ip('addr', 'add', `${HUB_6}/64`, 'dev', 'hub', 'nodad')
  return Promise.all(names.map((name, i) => addHost(name, i + 2, seconds)))
}

async function addHost(name: string, number: number, seconds: number): Promise<Host> {
  const holder = spawn('unshare', ['--net', 'sh', '-c', `echo ready; exec sleep ${seconds}`], {
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
  const host = { name, address4: `10.87.0.${number}`, address6: `${PREFIX_6}${number}`, enter }
  inside('link', 'set', 'lo', 'up')
  inside('addr', 'add', `${host.address4}/24`, 'dev', 'eth0')
  inside('addr', 'add', `${host.address6}/64`, 'dev', 'eth0', 'nodad')
  inside('link', 'set', 'eth0', 'up')
  // Clients look for a default route before they believe that there is a network at all.
  inside('route', 'add', 'default', 'via', HUB_4)
  inside('-6', 'route', 'add', 'default', 'via', HUB_6)
  return host
}

/** More addresses of the machine itself on the bridge, for clients that differ by address. */
export function hubAddresses(count: number): string[] {
  const addresses = Array.from({ length: count }, (_, i) => `10.87.0.${200 + i}`)
  for (const address of addresses) ip('addr', 'add', `${address}/24`, 'dev', 'hub')
  return addresses
}

/**
 * From now on what `host` sends to `others` is lost (IPv4), or no longer. One way only: what they send
 * arrives. Nothing refuses, so nobody is told: the neighbour's address is a wrong one.
 */
export async function loseTo(host: Host, others: readonly Host[], lost: boolean): Promise<void> {
  const lines = others.map(({ address4 }) =>
    lost
      ? `neigh replace ${address4} lladdr ${NOWHERE} dev eth0 nud permanent`
      : `neigh del ${address4} dev eth0`,
  )
  const child = spawn(host.enter[0]!, [...host.enter.slice(1), 'ip', '-force', '-batch', '-'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.stdin.end(`${lines.join('\n')}\n`)
  const [code] = (await once(child, 'exit')) as [number | null]
  if (lost && code !== 0) throw new Error(`${host.name}: the way to others could not be cut`)
}
