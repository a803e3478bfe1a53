// Real replicas, a process each, on hosts of their own where root allows: started, killed, stopped, cut off,
// asked. Refuses: to know why; cluster-faults.ts draws what happens to them, cluster-history.ts judges their
// answers.

import { spawnSync } from 'node:child_process'
import { hkdfSync } from 'node:crypto'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Place } from './cluster-client.ts'
import { type Host, loseTo } from './network.ts'
import { THIS_TREE, type Tree } from './older-tree.ts'
import type { Program } from './processes.ts'
import { startTracker } from './tracker-process.ts'

const UDP_PORT = 6969
const HTTP_PORT = 8168
const CONTROL_PORT = 8169
const REPLICA_PORT = 5560
/** Disks of their own are in memory and this large: several snapshots of 1 MiB logs. */
const DISK_BYTES = 96 << 20
const CONTROL_MS = 10_000

/** A place a replica can have: address, and a disk of its own that may be full (root). */
export type Seat = { readonly host: Host; readonly address: string; readonly folder: string; small: boolean }

export type Trouble = 'killed' | 'starting' | 'paused' | 'cut' | 'full' | 'leaving'
export type Replica = {
  readonly name: string
  readonly seat: Seat
  readonly args: readonly string[]
  /** The version that it runs. */
  tree: Tree
  program: Program
  /** What we did to it. */
  trouble: Trouble | undefined
}

export type Status = {
  readonly name: string
  readonly state: string
  /** Not before it has a cluster. */
  readonly raft?: {
    readonly memberId: string
    readonly role: string
    /** By whose rules the log is read; 0.1.0 does not say. */
    readonly level?: number
    readonly term?: string
    readonly leaderId?: string
    readonly commitIndex?: string
    readonly appliedIndex?: string
    readonly members?: readonly {
      id: string
      name: string
      voter?: boolean
      self?: boolean
      connection?: string
      lag?: string
    }[]
    readonly removed?: string
  }
}

export class Replicas {
  readonly all: Replica[] = []
  /** Without hosts of their own there is no network to cut: replicas are asked to do it themselves. */
  readonly hosts: boolean
  readonly folder: string
  /** Replicas that joined later, so far: for their names. */
  newcomers = 0
  /** What replicas that are begun or join from now on run. */
  tree = THIS_TREE
  /** More options of all that are started from now on. */
  more: readonly string[]
  /** More options for a version. */
  optionsOf: (tree: Tree) => readonly string[] = () => []
  private readonly free: Seat[]
  readonly keyFile: string
  private readonly token: string

  constructor(folder: string, hosts: readonly Host[], alone: boolean, more: readonly string[]) {
    this.folder = folder
    this.hosts = !alone
    this.more = more
    this.keyFile = join(folder, 'network.key')
    const key = Buffer.from(`end to end, ${folder}`.padEnd(40, '.')).toString('hex')
    writeFileSync(this.keyFile, `${key}\n`, { mode: 0o600 })
    this.token = Buffer.from(hkdfSync('sha256', key, '', 'skep control api v1', 32)).toString('base64url')
    this.free = hosts.map((host, i) => {
      const seat = { host, address: host.address4, folder: join(folder, `disk-${i}`), small: false }
      mkdirSync(seat.folder)
      seat.small = !alone && mountSmall(seat.folder)
      return seat
    })
  }

  /** The cluster as it is born: r0 and following. */
  begin(count: number): void {
    const seats = this.free.splice(0, count)
    const members = seats.map(({ address }, i) => `r${i}=${address}:${REPLICA_PORT}`).join(',')
    for (const [i, seat] of seats.entries()) this.add(`r${i}`, seat, ['--initial-members', members])
  }

  /** A newcomer; undefined: no seat is free. */
  join(name: string): Replica | undefined {
    const seat = this.free.shift()
    return seat && this.add(name, seat, this.joining())
  }

  private joining(): string[] {
    return [
      '--join',
      this.running()
        .map(({ seat }) => `${seat.address}:${REPLICA_PORT}`)
        .join(','),
    ]
  }

  private add(name: string, seat: Seat, args: readonly string[]): Replica {
    const { tree } = this
    const program = this.start(name, seat, args, tree)
    const replica: Replica = { name, seat, args, tree, program, trouble: undefined }
    this.all.push(replica)
    return replica
  }

  private start(name: string, seat: Seat, args: readonly string[], tree: Tree): Program {
    return startTracker({
      tree,
      dataDir: join(seat.folder, name),
      log: join(this.folder, `${name}.log`),
      udpPort: UDP_PORT,
      httpPort: HTTP_PORT,
      hosts: [seat.address],
      before: seat.host.enter,
      more: [
        ...['--name', name, '--network-key-file', this.keyFile, '--replica-host', seat.address],
        ...['--replica-port', String(REPLICA_PORT), '--control-host', seat.address],
        ...['--control-port', String(CONTROL_PORT), '--allow-private', 'on', '--udp-answer-bytes', '1472B'],
        // A small log, so that snapshots are taken and sent within the run.
        ...['--udp-workers', '1', '--memory', '64MiB', '--snapshot-log-size', '1MiB', '--allow-faults', 'on'],
        ...[
          '--replica-address',
          `${seat.address}:${REPLICA_PORT}`,
          ...this.more,
          ...this.optionsOf(tree),
          ...args,
        ],
      ],
    }).program
  }

  running(): Replica[] {
    return this.all.filter(({ trouble }) => trouble === undefined || trouble === 'starting')
  }

  named(name: string): Replica {
    return this.all.find((replica) => replica.name === name)!
  }

  targets(): Place[] {
    return this.all.map(({ name, seat, trouble }) => ({
      ...{ name, address: seat.address, port: UDP_PORT, httpPort: HTTP_PORT },
      disturbed: trouble !== undefined,
    }))
  }

  async kill(replica: Replica): Promise<void> {
    replica.trouble = 'killed'
    replica.program.kill('SIGCONT')
    replica.program.kill('SIGKILL')
    await replica.program.stop()
  }

  /** As an administrator would: with the options it had. */
  restart(replica: Replica): void {
    replica.program = this.start(replica.name, replica.seat, replica.args, replica.tree)
    replica.trouble = 'starting'
  }

  /** Its disk is gone; it comes back with the same name. */
  restartEmpty(replica: Replica): void {
    rmSync(join(replica.seat.folder, replica.name), { recursive: true, force: true })
    Object.assign(replica, { args: this.joining() })
    this.restart(replica)
  }

  async stopCleanly(replica: Replica): Promise<void> {
    replica.trouble = 'killed'
    await replica.program.stop()
  }

  /** Gone for good; its seat is free again. */
  async forget(replica: Replica): Promise<void> {
    await this.kill(replica)
    this.all.splice(this.all.indexOf(replica), 1)
    rmSync(join(replica.seat.folder, replica.name), { recursive: true, force: true })
    this.free.push(replica.seat)
  }

  /** `ways`: what `group` says to the others is lost, what they say to it, or both; undefined heals. */
  async cut(group: readonly Replica[], ways: 'out' | 'in' | 'both' | undefined): Promise<void> {
    const others = this.all.filter((replica) => !group.includes(replica))
    const hostsOf = (list: readonly Replica[]): Host[] => list.map(({ seat }) => seat.host)
    const [out, into] = [ways === 'out' || ways === 'both', ways === 'in' || ways === 'both']
    if (this.hosts) {
      const healing = ways === undefined
      const inner =
        out || healing ? group.map(({ seat }) => loseTo(seat.host, hostsOf(others), !healing)) : []
      const outer =
        into || healing ? others.map(({ seat }) => loseTo(seat.host, hostsOf(group), !healing)) : []
      await Promise.all([...inner, ...outer])
      return
    }
    const fault = (from: Replica, to: Replica): Promise<unknown> => {
      const cut = { out: 'CUT_OUT', in: 'CUT_IN', both: 'CUT_BOTH' }[ways ?? 'both']
      const durationMs = ways === undefined ? 0 : 60_000
      return this.control(from, 'InjectFault', { member: to.name, cut, delayMs: 0, loss: 0, durationMs })
    }
    await Promise.all(group.flatMap((one) => others.map((other) => fault(one, other))))
  }

  /** Takes the last byte of its disk; undefined gives it back. */
  fill(replica: Replica, full: boolean): void {
    const ballast = join(replica.seat.folder, 'ballast')
    if (!full) {
      rmSync(ballast, { force: true })
      return
    }
    for (let block = 1 << 20; block >= 4096; block >>= 1)
      for (;;) {
        const { bavail, bsize } = statfsSync(replica.seat.folder)
        if (bavail * bsize < block) break
        try {
          writeFileSync(ballast, Buffer.alloc(block), { flag: 'a' })
        } catch {
          break
        }
      }
  }

  /** A call of the control API; throws its message when it is refused. */
  async control<T>(replica: Replica, call: string, request: object = {}): Promise<T> {
    const answer = await fetch(
      `http://${replica.seat.address}:${CONTROL_PORT}/skep.cluster.v1.Cluster/${call}`,
      {
        method: 'POST',
        headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
        body: JSON.stringify(request),
        signal: AbortSignal.timeout(CONTROL_MS),
      },
    )
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${call} at ${replica.name}: ${text.slice(0, 300)}`)
    return JSON.parse(text) as T
  }

  async status(replica: Replica): Promise<Status | undefined> {
    const status = await this.control<Status>(replica, 'Status').catch(() => undefined)
    if (replica.trouble === 'starting' && status?.state === 'STATE_SERVING') replica.trouble = undefined
    return status
  }

  /** Who leads, as the newest of those that can be asked says; undefined: nobody. */
  async leader(): Promise<Replica | undefined> {
    const asked = await Promise.all(this.running().map(async (r) => ({ r, status: await this.status(r) })))
    const leaders = asked.filter(({ status }) => status?.raft?.role === 'ROLE_LEADER')
    leaders.sort((a, b) => Number(b.status!.raft!.term) - Number(a.status!.raft!.term))
    return leaders[0]?.r
  }

  /** Ended though nobody ended it. */
  lost(): Replica[] {
    return this.all.filter(({ program, trouble }) => trouble !== 'killed' && program.ended() !== undefined)
  }

  async end(): Promise<void> {
    await Promise.all(
      this.all.map(async ({ program }) => {
        program.kill('SIGCONT')
        program.kill('SIGKILL')
        await program.stop()
      }),
    )
    for (const { folder, small } of [...this.free, ...this.all.map(({ seat }) => seat)])
      if (small) spawnSync('umount', ['-l', folder])
  }
}

const mountSmall = (folder: string): boolean =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', folder]).status === 0
