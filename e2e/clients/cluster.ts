// Real clients at a cluster of three: all disks are full for a while, its leader is killed while all are
// attached, one replica is cut off. Whatever happens, each of them must find the others and download. The
// torrents name each replica in a tier of its own. Refuses: to judge how long a client waits; that is
// printed.

import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { serving } from '../cluster-life.ts'
import { type Replica, Replicas } from '../cluster-replicas.ts'
import { type Host, loseTo } from '../network.ts'
import { logTail, type Program, startProgram, until } from '../processes.ts'
import { scrape } from '../scrape.ts'
import { type Content, makeContent, sha256Of, writeTorrent } from '../torrent.ts'
import { announcePath, knock } from './knock.ts'
import type { Client } from './programs.ts'

const REPLICAS = 3
const BYTES = 1 << 20
const UDP_PORT = 6969
const HTTP_PORT = 8168
const PORT_FIRST = 7001
const BIRTH_MS = 120_000
// Transmission is away for five minutes when one datagram is lost.
const SEED_MS = 360_000
const DOWNLOAD_MS = 360_000
/** Long enough that every client has asked and been refused. */
const FULL_MS = 4000
/** aria2 waits two minutes after whatever it was refused with, transmission five after a second time. */
const SLOW = ['aria2', 'transmission']

export const hostsNeeded = (clients: number): number => REPLICAS + (1 + ROUNDS.length) * clients

type Swarm = {
  readonly seeder: Client
  readonly content: Content
  readonly host: Host
  /** Tiers of a torrent for UDP, and for HTTP. */
  readonly udp: string
  readonly http: string
}
type Outcome = { readonly name: string; readonly failure: string | undefined }

export type ClusterOptions = {
  readonly clients: readonly Client[]
  readonly hosts: readonly Host[]
  readonly folder: string
  readonly only: string | undefined
  readonly say: (line: string) => void
}

const ROUNDS = ['leader killed', 'one replica cut off', 'disks full'] as const
const nameOf = (round: string): string => `cluster, ${round}`
export const clusterRounds = (only: string | undefined): readonly string[] =>
  ROUNDS.filter((round) => nameOf(round).includes(only ?? ''))

/** What came of each round. */
export async function playCluster(options: ClusterOptions): Promise<Outcome[]> {
  const { hosts, folder, say } = options
  const rounds = clusterRounds(options.only)
  mkdirSync(folder)
  // The usual interval: several clients come every five minutes at most, whatever they are told.
  const replicas = new Replicas(folder, hosts.slice(0, REPLICAS), false, [])
  const field = new Field(options, replicas)
  const outcomes: Outcome[] = []
  try {
    replicas.begin(REPLICAS)
    await field.whole()
    await field.seed()
    for (const round of rounds) {
      try {
        const took = await field.play(round)
        say(`ok      ${nameOf(round)}: ${took.join(', ')}`)
        outcomes.push({ name: nameOf(round), failure: undefined })
      } catch (error) {
        outcomes.push({ name: nameOf(round), failure: (error as Error).message })
        break
      }
    }
  } catch (error) {
    outcomes.push({ name: 'cluster, begin', failure: (error as Error).message })
  } finally {
    await field.end()
    await replicas.end()
  }
  return outcomes
}

class Field {
  private readonly options: ClusterOptions
  private readonly replicas: Replicas
  private readonly programs: Program[] = []
  private swarms: readonly Swarm[] = []
  /** Whom the torrents name first: the leader when they were made. */
  private first: Replica | undefined

  constructor(options: ClusterOptions, replicas: Replicas) {
    this.options = options
    this.replicas = replicas
  }

  whole(): Promise<unknown> {
    return until('the cluster serves', BIRTH_MS, async () => (await serving(this.replicas)) || undefined)
  }

  end(): Promise<unknown> {
    return Promise.all(this.programs.map((program) => program.stop()))
  }

  /** On a port that nobody has had: who left without a word is another peer. */
  private start(client: Client, host: Host, torrent: string, folder: string, seeding: boolean): Program {
    const home = `${folder}-home`
    mkdirSync(home, { recursive: true })
    const task = { host, torrent, content: folder, home, port: PORT_FIRST + this.programs.length, seeding }
    const env = { ...process.env, HOME: home, TERM: 'xterm' }
    const program = startProgram([...host.enter, ...client.command(task)], { log: `${folder}.log`, env })
    this.programs.push(program)
    return program
  }

  /** Each client seeds a torrent of its own, whose tiers begin with the leader. */
  async seed(): Promise<void> {
    const { clients, hosts, folder } = this.options
    this.first = await until('a leader', BIRTH_MS, () => this.replicas.leader())
    const leader = this.first.seat.address
    const others = this.replicas.all.map(({ seat }) => seat.address).filter((address) => address !== leader)
    const tiers = (scheme: string, port: number): [string, ...string[]] => [
      `${scheme}://${leader}:${port}/announce`,
      ...others.map((address) => `${scheme}://${address}:${port}/announce`),
    ]
    this.swarms = await Promise.all(
      clients.map(async (seeder, i) => {
        const from = join(folder, `seed-${seeder.name}`)
        mkdirSync(from)
        const content = await makeContent(join(from, `c${i}.bin`), `c${i}.bin`, BYTES, 9000 + i)
        const [udp, http] = [join(folder, `udp-${i}.torrent`), join(folder, `http-${i}.torrent`)]
        writeTorrent(udp, content, tiers('udp', UDP_PORT))
        writeTorrent(http, content, tiers('http', HTTP_PORT))
        const host = hosts[REPLICAS + i]!
        this.start(seeder, host, udp, from, true)
        return { seeder, content, host, udp, http }
      }),
    )
    for (const { seeder, content } of this.swarms)
      await until(`${seeder.name} seeds`, SEED_MS, async () => {
        const counts = await scrape(leader, UDP_PORT, content.infoHash)
        return counts !== undefined && counts.seeders > 0 ? true : undefined
      })
  }

  /** Resolves to what each client took. */
  async play(round: string): Promise<string[]> {
    await this.whole()
    if (round === 'leader killed') return this.killed()
    if (round === 'one replica cut off') return this.cutOff()
    return this.full()
  }

  private async killed(): Promise<string[]> {
    const leader = this.first!
    await this.replicas.kill(leader)
    const took = await this.downloads('killed', 1, 'udp')
    this.replicas.restart(leader)
    return took
  }

  /** Nobody reaches the replica that the torrents name first, and it reaches nobody. */
  private async cutOff(): Promise<string[]> {
    const first = this.first!
    const others = this.options.hosts.filter((host) => host !== first.seat.host)
    const cut = (lost: boolean): Promise<unknown> =>
      Promise.all([
        loseTo(first.seat.host, others, lost),
        ...others.map((host) => loseTo(host, [first.seat.host], lost)),
      ])
    await cut(true)
    try {
      return await this.downloads('cut', 2, 'udp')
    } finally {
      await cut(false)
    }
  }

  /** New peers cannot be stored for a while; who knocked then must not stay away after it. */
  private async full(): Promise<string[]> {
    const { replicas } = this
    for (const each of replicas.all) replicas.fill(each, true)
    const { address } = this.first!.seat
    await until('a new peer is refused', FULL_MS * 10, async () =>
      (await knock(address)) !== 'stored' ? true : undefined,
    )
    const free = sleep(FULL_MS).then(() => {
      for (const each of replicas.all) replicas.fill(each, false)
    })
    const took = await this.downloads('full', 3, 'http', ({ name }) => !SLOW.includes(name))
    await free
    return took
  }

  /** All peers of a swarm, as a replica that was not touched tells. */
  private async peersOf({ infoHash }: Content): Promise<string[]> {
    const { address } = this.replicas.all.find((each) => each !== this.first)!.seat
    const hash = [...infoHash].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
    const path = announcePath(hash, 'numwant=50')
    const answer = await fetch(`http://${address}:${HTTP_PORT}${path}`)
    const bytes = Buffer.from(await answer.arrayBuffer())
    const at = /5:peers(\d+):/.exec(bytes.toString('latin1'))
    if (at === null) return [bytes.toString('latin1')]
    const first = at.index + at[0].length
    return Array.from({ length: Number(at[1]) / 6 }, (_, i) => {
      const entry = bytes.subarray(first + 6 * i, first + 6 * i + 6)
      return `${entry.subarray(0, 4).join('.')}:${entry.readUInt16BE(4)}`
    })
  }

  /** The client `shift` places further downloads what each seeds, on a host that nobody knows yet. */
  private async downloads(
    what: string,
    shift: number,
    by: 'udp' | 'http',
    able: (client: Client) => boolean = () => true,
  ): Promise<string[]> {
    const { clients, hosts, folder } = this.options
    const begun = performance.now()
    const programs: Program[] = []
    try {
      return await Promise.all(
        this.swarms.map(async (swarm, i) => {
          const client = clients[(i + shift) % clients.length]!
          if (!able(client)) return `${client.name} left out`
          const to = join(folder, `${what}-${client.name}`)
          mkdirSync(to)
          const host = hosts[REPLICAS + shift * clients.length + i]!
          const program = this.start(client, host, swarm[by], to, false)
          programs.push(program)
          const { name, bytes, sha256 } = swarm.content
          const path = join(to, name)
          await until(`${client.name} downloads from ${swarm.seeder.name}`, DOWNLOAD_MS, async () => {
            if (!existsSync(path) || statSync(path).size !== bytes) return undefined
            return (await sha256Of(path)) === sha256 ? true : undefined
          }).catch(async (error: Error) => {
            const known = (await this.peersOf(swarm.content)).join(', ')
            const where = `${swarm.seeder.name} seeds at ${swarm.host.address4}; the tracker knows ${known}`
            throw new Error(`${error.message}: ${where}\n--- ${program.log}\n${logTail(program.log)}`)
          })
          return `${client.name} ${((performance.now() - begun) / 1000).toFixed(1)} s`
        }),
      )
    } finally {
      await Promise.all(programs.map((program) => program.stop()))
    }
  }
}
