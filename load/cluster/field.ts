// A cluster of real replicas for a benchmark: a process each on loopback, asked by its ports, killed and
// started again. Refuses: to leave a process behind (bench/servers.ts ends them), and other machines.

import { hkdfSync, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort, type Server, startServer } from '../bench/servers.ts'

const HOST = '127.0.0.1'
const READY_MS = 60_000
const ASK_MS = 5000
const ENTRY = fileURLToPath(new URL('../../skep.ts', import.meta.url))

export type Member = {
  readonly name: string
  readonly udp: number
  readonly http: number
  readonly control: number
  readonly command: readonly string[]
  readonly log: string
  server: Server
}

export type Cluster = {
  readonly members: readonly Member[]
  readonly folder: string
  readonly token: string
  readonly options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }
}

export const pidsOf = ({ members }: Cluster): number[] => members.map(({ server }) => server.pid)

/** Ours refuses SKEP_* variables it does not know, and none may change what is measured. */
const cleanEnvironment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SKEP_')))

/** Starts `count` replicas (one: alone, without peers) and waits until all answer. */
export async function openCluster(
  folder: string,
  count: number,
  more: readonly string[] = [],
): Promise<Cluster> {
  const place = mkdtempSync(join(folder, `cluster-of-${count}-`))
  const key = randomBytes(32).toString('hex')
  const keyFile = join(place, 'network.key')
  writeFileSync(keyFile, `${key}\n`, { mode: 0o600 })
  const options = { cwd: place, env: cleanEnvironment() }
  const ports: number[][] = []
  for (let i = 0; i < count; i++)
    ports.push([await freePort(), await freePort(), await freePort(), await freePort()])
  const initial = ports.map((list, i) => `r${i}=${HOST}:${list[3]}`).join(',')
  const members = ports.map(([udp, http, control, replica], i): Member => {
    const name = `r${i}`
    mkdirSync(join(place, name))
    const command = [
      ...[process.execPath, ENTRY, 'tracker', '--name', name, '--host', HOST, '--udp-port', String(udp)],
      ...['--http-port', String(http), '--control-port', String(control), '--network-key-file', keyFile],
      ...['--data-dir', join(place, name), '--udp-workers', '1', '--peer-details', 'off'],
      ...['--memory', '1GiB', '--log-level', 'warn', '--replica-port', String(replica)],
      // Leadership stays where it is: some rows are asked of the leader.
      ...(count > 1 ? ['--initial-members', initial, '--replica-host', HOST, '--prefer-highest', 'off'] : []),
      ...more,
    ]
    const log = join(place, `${name}.log`)
    const server = startServer(command, { ...options, log })
    return { name, udp: udp!, http: http!, control: control!, command, log, server }
  })
  const token = Buffer.from(hkdfSync('sha256', key, '', 'skep control api v1', 32)).toString('base64url')
  const cluster = { members, folder: place, token, options }
  await ready(cluster)
  return cluster
}

export async function stopCluster(cluster: Cluster): Promise<void> {
  await Promise.all(cluster.members.map(({ server }) => server.stop()))
}

export function restart(cluster: Cluster, member: Member): void {
  member.server = startServer(member.command, { ...cluster.options, log: member.log })
}

const get = (member: Member, path: string): Promise<Response | undefined> =>
  fetch(`http://${HOST}:${member.http}${path}`, { signal: AbortSignal.timeout(ASK_MS) }).catch(
    () => undefined,
  )

/** All of them say that they answer; throws the reason when one ended instead. */
export async function ready(cluster: Cluster): Promise<void> {
  const until = performance.now() + READY_MS
  for (const member of cluster.members)
    for (;;) {
      if (!member.server.alive()) throw new Error(`${member.name} ${await member.server.ended}`)
      const stats = await statsOf(member)
      if (stats?.serving === true) break
      if (performance.now() > until)
        throw new Error(`${member.name} was not ready within ${READY_MS / 1000} s`)
      await sleep(50)
    }
}

export type Stats = {
  readonly role: string
  readonly serving: boolean
  readonly peers: number
  readonly log: { readonly bytes: number; readonly applied: number; readonly commit: number }
  readonly events: Record<string, number>
}

export async function statsOf(member: Member): Promise<Stats | undefined> {
  const answer = await get(member, '/stats')
  return answer?.ok === true ? ((await answer.json()) as Stats) : undefined
}

/** Who leads; undefined: nobody does just now. */
export async function leaderOf(cluster: Cluster): Promise<Member | undefined> {
  for (const member of cluster.members)
    if (member.server.alive()) {
      const stats = await statsOf(member)
      if (stats?.role === 'leader' && stats.serving) return member
    }
  return undefined
}

export async function untilLeader(cluster: Cluster): Promise<Member> {
  const until = performance.now() + READY_MS
  for (;;) {
    const leader = await leaderOf(cluster)
    if (leader !== undefined) return leader
    if (performance.now() > until) throw new Error(`nobody led within ${READY_MS / 1000} s`)
    await sleep(50)
  }
}

/** A figure of /metrics; with `label`, of the series that has it. */
export async function metricOf(member: Member, name: string, label = ''): Promise<number> {
  const answer = await get(member, '/metrics')
  const text = answer?.ok === true ? await answer.text() : ''
  const line = text.split('\n').find((each) => each.startsWith(name) && each.includes(label))
  return Number(line?.split(' ').at(-1) ?? Number.NaN)
}

/** A call of the control API; throws what it was refused with. */
export async function control(
  cluster: Cluster,
  member: Member,
  call: string,
  request: object,
): Promise<void> {
  const answer = await fetch(`http://${HOST}:${member.control}/skep.cluster.v1.Cluster/${call}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${cluster.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(20_000),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${call}: ${text.slice(0, 200)}`)
}
