// One cluster from birth to end: rounds of faults under load, and after each everything that was acknowledged
// is looked for at every replica. Refuses: to go on after a fault was found; what led to it would be lost
// under what follows.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '@skep/testing/random.ts'
import { EVENT_NONE } from '@skep/wire/udp-tracker.ts'
import { ANYBODY, ClusterClient, type Place } from './cluster-client.ts'
import { drawFaults, type Fault, type Field } from './cluster-faults.ts'
import { ALL, History } from './cluster-history.ts'
import { announce, Load } from './cluster-load.ts'
import { Replicas } from './cluster-replicas.ts'
import type { Host } from './network.ts'
import { logTail, until } from './processes.ts'

const TORRENTS = 250
/** Acknowledged between one fault and the next, so that there is something new to lose: about a second's. */
const CALM_ACKNOWLEDGED = 400
const BIRTH_MS = 180_000
// Processes that start take their time on a busy machine; what is stuck stays so.
const HEAL_MS = 180_000
const SCRAPE_HASHES = 70
const TRIES = 4
/** Questions at once while everything is looked for. */
const ABREAST = 24

export type LifeOptions = {
  readonly seed: number
  readonly replicas: number
  readonly rounds: number
  /** No round begins after this. */
  readonly untilMs: number
  readonly rate: number
  readonly only: readonly string[]
  readonly keepaliveMs: number
  readonly folder: string
  /** Write down what was asked and answered even if all was well. */
  readonly keep: boolean
  readonly hosts: readonly Host[]
  /** Hosts are addresses of loopback: no network between them. */
  readonly alone: boolean
  readonly sources: readonly string[]
  readonly say: (line: string) => void
}

export type Round = {
  readonly what: string
  readonly seconds: number
  /**
   * Longest time without any answer at a replica that nothing was done to, milliseconds; and who that was.
   */
  readonly silenceMs: number
  readonly silent: string
  /** Requests to such replicas without an answer. */
  readonly unanswered: number
  readonly healedMs: number
}
export type LifeResult = {
  readonly rounds: Round[]
  readonly answers: number
  readonly acknowledged: number
  readonly errors: Record<string, number>
  readonly faults: readonly string[]
}

/** Missed keepalives before an election, and ticks of one; see docs/configuration.md. */
const MISSED = 2
const TICKS = 10
/** Nine tenths of (election ticks - 1): how long an answer may rest on what a majority said last. */
export const leaseOf = (keepaliveMs: number): number => 0.9 * (TICKS * MISSED - 1) * (keepaliveMs / TICKS)

export async function live(options: LifeOptions): Promise<LifeResult> {
  const { seed, folder, say } = options
  mkdirSync(folder, { recursive: true })
  const leaseMs = leaseOf(options.keepaliveMs)
  const history = new History(TORRENTS, leaseMs)
  const client = new ClusterClient(history, seed)
  const keepalive = ['--keepalive', `${options.keepaliveMs}ms`, '--missed', String(MISSED)]
  const replicas = new Replicas(folder, options.hosts, options.alone, keepalive)
  const random = new Random(seed)
  const field: Field = { replicas, client, random, leaseMs, healed: () => healed(replicas, client) }
  const load = new Load(client, random.fork(), {
    ...{ boundMs: leaseMs + 100, perReplica: options.rate, targets: () => replicas.targets() },
  })
  const rounds: Round[] = []
  const faults: string[] = []
  try {
    replicas.begin(options.replicas)
    await client.open(options.sources)
    await until('the cluster is born', BIRTH_MS, async () => {
      orEnded(replicas)
      return (await serving(replicas)) || undefined
    })
    load.start()
    await client.acknowledged(CALM_ACKNOWLEDGED, HEAL_MS)
    while (rounds.length < options.rounds && performance.now() < options.untilMs) {
      const round = await play(field, options.only, rounds.length + 1, say)
      rounds.push(round)
      await check(client, replicas)
      if (history.faultCount > 0) break
      await client.acknowledged(CALM_ACKNOWLEDGED, HEAL_MS)
    }
  } catch (error) {
    faults.push((error as Error).message)
  } finally {
    load.stop()
    await client.settled(replicas.all.map(({ name }) => name))
    client.close()
    faults.unshift(...history.faults)
    if (history.faultCount > history.faults.length)
      faults.push(`and ${history.faultCount - history.faults.length} more`)
    if (faults.length > 0 || options.keep) writeFileSync(join(folder, 'history.jsonl'), client.lines())
    if (faults.length > 0) {
      faults.push(
        ...replicas.all.map(({ name }) => `${name} last said: ${logTail(join(folder, `${name}.log`), 1)}`),
      )
    }
    await replicas.end()
  }
  const { checked, acknowledged, errors } = history
  return { rounds, answers: checked, acknowledged, errors: Object.fromEntries(errors), faults }
}

async function play(
  field: Field,
  only: readonly string[],
  number: number,
  say: (line: string) => void,
): Promise<Round> {
  const { replicas, client } = field
  const leader = await until('a leader', HEAL_MS, () => replicas.leader())
  const faults = drawFaults(field, leader, only)
  const what = faults.map(({ text }) => text).join('; ')
  client.note({ round: number, what })
  const begun = performance.now()
  client.resetHeard()
  const touched = new Set<string>()
  const note = (): void => {
    for (const { name, trouble } of replicas.all) if (trouble !== undefined) touched.add(name)
  }
  const watch = setInterval(note, 20)
  try {
    await Promise.all(faults.map((fault) => one(fault, client)))
    note()
    orEnded(replicas)
    const mended = performance.now()
    await field.healed()
    const now = performance.now()
    const untouched = replicas.all.map(({ name }) => name).filter((name) => !touched.has(name))
    // A rolling restart touches each: then it counts that anybody answers.
    const others = untouched.length > 0 ? untouched : [ANYBODY]
    await client.settled(others)
    let worst = { ms: 0, name: '' }
    let unanswered = 0
    for (const name of others) {
      const { longestMs, lastMs, unanswered: lost } = client.heardOf(name)
      const ms = Math.max(longestMs, performance.now() - lastMs)
      if (ms > worst.ms) worst = { ms, name }
      unanswered += lost
    }
    const round = {
      ...{ what, seconds: (now - begun) / 1000, silenceMs: worst.ms, silent: worst.name, unanswered },
      healedMs: now - mended,
    }
    say(
      `  ${number}. ${what}: others silent ${(worst.ms / 1000).toFixed(2)} s at most (${worst.name}), ${unanswered} unanswered, all well ${(round.healedMs / 1000).toFixed(1)} s after`,
    )
    return round
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error })
  } finally {
    clearInterval(watch)
  }
}

async function one(fault: Fault, client: ClusterClient): Promise<void> {
  client.note({ fault: fault.text, holdMs: fault.holdMs })
  await fault.begin()
  await sleep(fault.holdMs)
  client.note({ mending: fault.text })
  await fault.end()
  client.note({ mended: fault.text })
}

export function orEnded(replicas: Replicas): void {
  const lost = replicas.lost()[0]
  if (lost !== undefined) throw new Error(`${lost.name} ended by itself: ${lost.program.ended()}`)
}

export const serving = async (replicas: Replicas): Promise<boolean> => {
  const all = await Promise.all(replicas.all.map((replica) => replicas.status(replica)))
  const leaders = new Set(all.map((status) => status?.raft?.leaderId))
  return leaders.size === 1 && all.every((status) => status?.state === 'STATE_SERVING')
}

/** All say that they serve one leader, and have answered what was asked since. */
async function healed(replicas: Replicas, client: ClusterClient): Promise<void> {
  const since = performance.now()
  await until('all replicas answer again', HEAL_MS, async () => {
    orEnded(replicas)
    const answered = replicas.all.every(({ name }) => client.heardOf(name).lastMs > since)
    return answered && (await serving(replicas)) ? true : undefined
  }).catch(async (error: Error) => {
    const said = await Promise.all(
      replicas.all.map(async (replica) => {
        const status = await replicas.status(replica)
        const ago = ((performance.now() - client.heardOf(replica.name).lastMs) / 1000).toFixed(1)
        return `${replica.name}: ${status?.state ?? 'no status'}, ${status?.raft?.role ?? ''} of leader ${status?.raft?.leaderId ?? 0}, last answer ${ago} s ago`
      }),
    )
    throw new Error(`${error.message} (${said.join('; ')})`)
  })
}

/** Every swarm at every replica: counts of all, and all peers by name. The history does the comparing. */
async function check(client: ClusterClient, replicas: Replicas): Promise<void> {
  const { history } = client
  const torrents = Array.from({ length: history.count }, (_, i) => i)
  for (const target of replicas.targets()) {
    const groups: number[][] = []
    for (let i = 0; i < torrents.length; i += SCRAPE_HASHES) groups.push(torrents.slice(i, i + SCRAPE_HASHES))
    await abreast(groups, (group) => scrape(client, target, group))
    await abreast(torrents, (torrent) => nameAll(client, target, torrent))
  }
}

async function scrape(client: ClusterClient, target: Place, torrents: readonly number[]): Promise<void> {
  for (let i = 0; i < TRIES; i++) {
    const made = (sentMs: number) =>
      ({ kind: 'scrape', replica: target.name, torrents, event: 0, numWant: 0, sentMs }) as const
    if ((await client.ask(made, target, client.addresses[0]!)) !== undefined) return
  }
  client.history.fail(`${target.name} does not answer scrapes though all is well`)
}

async function nameAll(client: ClusterClient, target: Place, torrent: number): Promise<void> {
  const { history } = client
  for (let i = 0; i < TRIES; i++) {
    const now = performance.now()
    const peer = history.peersOf(torrent).find((each) => each.waiting === 0 && history.isPresent(each, now))
    if (peer === undefined) return
    const made = (sentMs: number) => announce(target.name, peer, EVENT_NONE, ALL, sentMs)
    if ((await client.ask(made, target, peer.address)) !== undefined) return
  }
  history.fail(`${target.name} does not answer announces though all is well`)
}

async function abreast<T>(items: readonly T[], each: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0
  const work = async (): Promise<void> => {
    while (next < items.length) await each(items[next++]!)
  }
  await Promise.all(Array.from({ length: Math.min(ABREAST, items.length) }, work))
}
