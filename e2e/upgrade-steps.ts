// What happens to a cluster while it is upgraded, step by step: one replica at a time is told to drain,
// stopped, and started by the other version with the same data folder and options, followers first. After
// each step every swarm is asked of every replica. Refuses: to go on after a fault was found.

import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Random } from '@skep/testing/random.ts'
import { ClusterClient, type Place } from './cluster-client.ts'
import { memberReady, remove } from './cluster-faults.ts'
import { History } from './cluster-history.ts'
import { leaseOf, orEnded, serving } from './cluster-life.ts'
import { type Replica, Replicas } from './cluster-replicas.ts'
import { BOUND_MS, Users } from './cluster-users.ts'
import type { Host } from './network.ts'
import { THIS_TREE, type Tree } from './older-tree.ts'
import { logTail, until } from './processes.ts'
import { startTracker, trackerReady, trackerStats } from './tracker-process.ts'

const TORRENTS = 200
/** Acknowledged before a step begins, so that there is something new to lose. */
const CALM_ACKNOWLEDGED = 150
const BIRTH_MS = 180_000
// Processes that start take their time on a busy machine; what is stuck stays so.
const HEAL_MS = 180_000
const STOP_MS = 60_000
const KEEPALIVE_MS = 1000
/** It goes on answering for so long after it says that it is not ready. */
const DRAIN_MS = 500
/** What 0.1.0 has; it says nothing of it. */
const FIRST_LEVEL = 1
/** Replicas agree to the next level after so long, once nothing older is awaited any more. */
const AGREE_AFTER = '5s'

export type UpgradeOptions = {
  readonly older: Tree
  readonly from: string
  readonly seed: number
  readonly rate: number
  readonly folder: string
  readonly hosts: readonly Host[]
  /** Hosts are addresses of loopback. */
  readonly alone: boolean
  readonly sources: readonly string[]
  /** Write down what was asked and answered even if all was well. */
  readonly keep: boolean
  readonly say: (line: string) => void
}

export type Row = {
  readonly what: string
  readonly tookMs: number
  /** Longest time in which nobody got any answer. */
  readonly silenceMs: number
  /** Longest wait of a request, asking again included. */
  readonly worstMs: number
  readonly answers: number
  readonly unanswered: number
}

export type Upgraded = {
  readonly rows: readonly Row[]
  readonly faults: readonly string[]
  readonly notes: readonly string[]
}

/** A fault ends the upgrade with what led to it. */
class Fault extends Error {}

export async function roll(options: UpgradeOptions): Promise<Upgraded> {
  const upgrade = new Upgrade(options)
  const faults: string[] = []
  try {
    await upgrade.story()
  } catch (error) {
    faults.push(error instanceof Fault ? error.message : ((error as Error).stack ?? String(error)))
  }
  faults.push(...(await upgrade.end(faults.length > 0 || options.keep)))
  return { rows: upgrade.rows, faults, notes: upgrade.notes }
}

class Upgrade {
  readonly rows: Row[] = []
  readonly notes: string[] = []
  private readonly options: UpgradeOptions
  private readonly history = new History(TORRENTS, leaseOf(KEEPALIVE_MS))
  private readonly client: ClusterClient
  private readonly replicas: Replicas
  private readonly users: Users
  private readonly draining = new Set<Replica>()
  private spare: Host | undefined

  constructor(options: UpgradeOptions) {
    this.options = options
    this.client = new ClusterClient(this.history, options.seed)
    // The last host is no replica's of this cluster.
    this.spare = options.hosts.at(-1)
    const hosts = options.hosts.slice(0, -1)
    this.replicas = new Replicas(options.folder, hosts, options.alone, ['--keepalive', `${KEEPALIVE_MS}ms`])
    this.users = new Users(this.client, () => this.ready(), new Random(options.seed), options.rate)
  }

  /** Whom a balancer would choose. */
  private ready(): Place[] {
    return this.replicas.targets().filter(({ name, disturbed }) => {
      const replica = this.replicas.named(name)
      return !disturbed && !this.draining.has(replica)
    })
  }

  async story(): Promise<void> {
    const { older } = this.options
    const { replicas } = this
    await this.client.open(this.options.sources)
    replicas.tree = older
    replicas.begin(3)
    await this.whole(BIRTH_MS)
    this.users.start()
    await this.step('three replicas of the older version', async () => {})

    // Forward until one is left: whatever is new stays off while it is there.
    const saved = await this.save(older, 'older.skep')
    await this.restore(THIS_TREE, saved, 'a table saved by the older version is restored by this one')
    const [first, second] = await this.followers()
    await this.move(first!, THIS_TREE)
    await this.join(THIS_TREE, 'a newcomer of this version is brought up by an older leader')
    await this.move(second!, THIS_TREE, 'killed')
    const last = (await this.leader())!
    await this.transfer(second!)
    await this.renew(last, 'an older replica that lost its disk is brought up by a leader of this version')
    const later = await this.save(THIS_TREE, 'mixed.skep')
    await this.restore(older, later, 'a table saved by this version beside an older one is restored by that')

    // And back.
    await this.transfer(last)
    await this.move(first!, older, 'killed')
    await this.move(second!, older)

    // Forward to the end; while the cluster keeps its level, the way back is open.
    for (const replica of [...(await this.followers()), (await this.leader())!])
      await this.move(replica, THIS_TREE)
    const returns = (await this.followers())[0]!
    await this.step('three replicas of this version, which keep the level', () => this.levelIs(FIRST_LEVEL))
    await this.move(returns, older)

    // For good: all agree to the new level, and who does not know it stays out.
    replicas.optionsOf = (tree) => (tree === THIS_TREE ? ['--raise-level-after', AGREE_AFTER] : [])
    await this.move(returns, THIS_TREE)
    for (const replica of replicas.all.filter((each) => each !== returns)) await this.move(replica, THIS_TREE)
    await this.step('the level rises', () => this.levelIs(FIRST_LEVEL + 1))
    await this.refused((await this.followers())[0]!)
    await this.transfer((await this.followers())[0]!)
  }

  private async levelIs(level: number): Promise<void> {
    await until(`level ${level} everywhere`, HEAL_MS, async () => {
      const all = await Promise.all(this.replicas.all.map((each) => this.replicas.status(each)))
      return all.every((status) => status?.raft?.level === level) || undefined
    })
  }

  /** The older version on a data folder of the new level says why it cannot, and ends; nothing is lost. */
  private async refused(replica: Replica): Promise<void> {
    const { replicas, draining } = this
    const { older, folder } = this.options
    const what = `the older version is refused as ${replica.name}`
    await this.step(what, async () => {
      draining.add(replica)
      await replicas.control(replica, 'Drain', { forMs: DRAIN_MS })
      await this.client.settled([replica.name])
      replica.trouble = 'killed'
      await this.stop(replica)
      replica.tree = older
      replicas.restart(replica)
      replica.trouble = 'killed'
      const end = await until(`${what}: it ends`, HEAL_MS, () => replica.program.ended())
      if (end === 'exit code 0') throw new Error(`${what}: it ended as if all were well`)
      this.notes.push(`${what}, ${end}: ${sentence(logTail(join(folder, `${replica.name}.log`), 1))}`)
      replica.tree = THIS_TREE
      replicas.restart(replica)
      draining.delete(replica)
    })
  }

  /** Adds what the history found; ends all. `keep`: what was asked and answered is written down. */
  async end(keep: boolean): Promise<string[]> {
    const { users, client, replicas, history } = this
    const { folder } = this.options
    users.stop()
    await client.settled(replicas.all.map(({ name }) => name))
    client.close()
    const faults = [...history.faults]
    if (history.faultCount > faults.length) faults.push(`and ${history.faultCount - faults.length} more`)
    if (keep || faults.length > 0) writeFileSync(join(folder, 'history.jsonl'), client.lines())
    if (faults.length > 0)
      faults.push(
        ...replicas.all.map(({ name }) => `${name} last said: ${logTail(join(folder, `${name}.log`), 1)}`),
      )
    await replicas.end()
    const { checked, acknowledged } = history
    this.notes.push(`${checked} answers checked, ${acknowledged} announces acknowledged`)
    return faults
  }

  private say(row: Row): void {
    const silence = (row.silenceMs / 1000).toFixed(2)
    this.options.say(
      `  ${row.what}: ${(row.tookMs / 1000).toFixed(1)} s, nobody answered for ${silence} s at most, ${row.unanswered} unanswered`,
    )
  }

  /** `act`; then all are well, and nothing is lost. `harsh`: who is killed leaves questions behind. */
  private async step(what: string, act: () => Promise<void>, harsh = false): Promise<void> {
    const { users, history, client } = this
    await client.acknowledged(CALM_ACKNOWLEDGED, HEAL_MS)
    users.mark()
    client.note({ step: what })
    const begun = performance.now()
    try {
      await act()
      await this.whole(HEAL_MS)
    } catch (error) {
      throw new Fault(`${what}: ${(error as Error).message}`, { cause: error })
    }
    const { silenceMs, worstMs, answers } = users.report()
    const tookMs = performance.now() - begun
    // A request that is asked again may still be under way: it is counted when everything was looked at.
    await users.check()
    const { unanswered } = users.report()
    const row = { what, tookMs, silenceMs, worstMs, answers, unanswered }
    this.say(row)
    if (history.faultCount > 0) throw new Fault(`${what}: answers were wrong`)
    if (unanswered > 0 && !harsh) throw new Fault(`${what}: ${unanswered} requests were never answered`)
    this.rows.push(row)
  }

  private whole(mostMs: number): Promise<unknown> {
    return until('all replicas serve one leader', mostMs, async () => {
      orEnded(this.replicas)
      return (await serving(this.replicas)) || undefined
    })
  }

  private leader(): Promise<Replica> {
    return until('a leader', HEAL_MS, () => this.replicas.leader())
  }

  private async followers(): Promise<Replica[]> {
    const leader = await this.leader()
    return this.replicas.all.filter((replica) => replica !== leader)
  }

  private versionOf(tree: Tree): string {
    return tree === THIS_TREE ? 'this version' : 'the older version'
  }

  /** One replica goes from one version to the other, with its data folder and its options. */
  private async move(replica: Replica, tree: Tree, how: 'drained' | 'killed' = 'drained'): Promise<void> {
    const { replicas, draining } = this
    const role = replica === (await this.leader()) ? 'leader' : 'follower'
    const what = `${role} ${replica.name}, ${how}, goes on as ${this.versionOf(tree)}`
    const act = async (): Promise<void> => {
      if (how === 'killed') await replicas.kill(replica)
      else {
        draining.add(replica)
        await replicas.control(replica, 'Drain', { forMs: DRAIN_MS })
        await this.client.settled([replica.name])
        replica.trouble = 'killed'
        await this.stop(replica)
      }
      replica.tree = tree
      replicas.restart(replica)
      draining.delete(replica)
    }
    await this.step(what, act, how === 'killed')
  }

  private async stop({ name, program }: Replica): Promise<void> {
    program.kill('SIGTERM')
    const end = await until(`${name} stops`, STOP_MS, () => program.ended())
    if (end !== 'exit code 0') throw new Error(`${name}, told to stop, ended: ${end}`)
  }

  private async transfer(to: Replica): Promise<void> {
    const { replicas } = this
    await this.step(`leadership moves to ${to.name}, ${this.versionOf(to.tree)}`, async () => {
      let said = ''
      await until(`leadership moves to ${to.name}`, HEAL_MS, async () => {
        const now = await replicas.leader()
        if (now === to) return true
        if (now === undefined) return undefined
        await replicas.control(now, 'TransferLeadership', { member: to.name }).catch((error: Error) => {
          said = error.message
        })
        return undefined
      }).catch((error: Error) => {
        throw new Error(`${error.message}; ${said}`)
      })
    })
  }

  private async join(tree: Tree, what: string): Promise<void> {
    const { replicas } = this
    await this.step(what, async () => {
      replicas.tree = tree
      const joined = replicas.join(`n${++replicas.newcomers}`)
      if (joined === undefined) throw new Error('no seat is free for a newcomer')
      joined.trouble = 'starting'
      await memberReady({ replicas }, joined, '')
      await this.users.check()
      this.draining.add(joined)
      await this.client.settled([joined.name])
      await remove({ replicas }, joined)
      await replicas.forget(joined)
      this.draining.delete(joined)
    })
  }

  /** A replica loses its disk and comes back as its own version. */
  private async renew(replica: Replica, what: string): Promise<void> {
    const { replicas } = this
    const act = async (): Promise<void> => {
      const before = (await replicas.status(replica))?.raft?.memberId ?? ''
      await replicas.kill(replica)
      replicas.restartEmpty(replica)
      await memberReady({ replicas }, replica, before)
    }
    await this.step(what, act, true)
  }

  private async ctl(tree: Tree, args: readonly string[]): Promise<void> {
    const command = [join(tree.root, 'skep.ts'), 'ctl', ...args]
    await promisify(execFile)(tree.node, command).catch(({ stdout, stderr }) => {
      throw new Fault(`skep ctl ${args.join(' ')}: ${stdout}${stderr}`)
    })
  }

  /** The leader's table as a file, and what is in it. */
  private async save(tree: Tree, name: string): Promise<{ file: string; torrents: number; peers: number }> {
    const file = join(this.options.folder, name)
    const leader = await this.leader()
    return await this.users.quietly(async () => {
      const { address } = leader.seat
      const asked = ['--control-host', address, '--network-key-file', this.replicas.keyFile]
      await this.ctl(tree, ['snapshot', 'save', file, ...asked])
      const stats = await trackerStats({ program: leader.program, udpPort: 6969, httpPort: 8168 }, address)
      return { file, torrents: stats!.torrents, peers: stats!.peers }
    })
  }

  /** A cluster of one begins from a saved table, and has all that was in it. */
  private async restore(
    tree: Tree,
    saved: { file: string; torrents: number; peers: number },
    what: string,
  ): Promise<void> {
    const dataDir = `${saved.file}.data`
    const host = this.spare!
    await this.step(what, async () => {
      await this.ctl(tree, ['snapshot', 'restore', saved.file, '--data-dir', dataDir, '--name', 's0'])
      const tracker = startTracker({
        ...{ tree, dataDir, log: `${saved.file}.log`, udpPort: 6969, httpPort: 8168, hosts: [host.address4] },
        before: host.enter,
        more: ['--name', 's0', '--allow-private', 'on', '--udp-workers', '1', '--memory', '64MiB'],
      })
      try {
        await trackerReady(tracker, host.address4)
        const { torrents, peers } = (await trackerStats(tracker, host.address4))!
        if (torrents !== saved.torrents || peers !== saved.peers || peers === 0)
          throw new Error(
            `${saved.peers} peers of ${saved.torrents} torrents were saved, ${peers} of ${torrents} are there`,
          )
      } finally {
        await tracker.program.stop()
      }
    })
  }
}

/** Longer than the users wait for one another. */
if (BOUND_MS <= leaseOf(KEEPALIVE_MS)) throw new Error('users say something new before all know the last')

/** What a line of a log says. */
function sentence(line: string): string {
  try {
    return (JSON.parse(line) as { msg: string }).msg
  } catch {
    return line
  }
}
