// Each failure that a tracker can have, each real client: what the client makes of it is caused, read from
// the client itself, and held against expectations.ts; then the cause ends, and the client must come back.
// All at once, a torrent a cell. Refuses: to wait for what a client plans for much later; it is asked then,
// as a person would.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Host } from '../network.ts'
import { logTail, type Program, startProgram, until } from '../processes.ts'
import { scrape } from '../scrape.ts'
import { makeContent, writeTorrent } from '../torrent.ts'
import { Cause, hostsFor } from './causes.ts'
import {
  type ClientName,
  FAILURES,
  type Failure,
  type Look,
  REACTIONS,
  type Transport,
} from './expectations.ts'
import type { Many, Steered, Told } from './steered.ts'
import { aria2 } from './steered-aria2.ts'
import { libtorrent } from './steered-libtorrent.ts'
import { qbittorrent } from './steered-qbittorrent.ts'
import { rtorrent } from './steered-rtorrent.ts'
import { transmission } from './steered-transmission.ts'

const STEERED: readonly Steered[] = [libtorrent, qbittorrent, transmission, rtorrent, aria2]
const BYTES = 64 << 10
const UDP_PORT = 6969
const HTTP_PORT = 8168
const PEER_PORT = 7001
const ASK_PORT = 9091
const POLL_MS = 400
/** aria2 does not say when it has tried; by then it has. */
const FLOOR_MS = 8000
/** transmission says after a minute that nobody answered. */
const TOLD_MS = 100_000
/** aria2 comes after two minutes, and transmission may not be asked sooner after a success. */
const RETURN_MS = 170_000
/** A plan further away than this is not awaited. */
const SOON_SECONDS = 60
/** Between two times that a person presses the button. */
const AGAIN_MS = 5000
/** What "at the interval" of half an hour may be, stretched and spread. */
const INTERVAL_SECONDS = [1500, 3700] as const

type Cell = {
  readonly failure: Failure
  readonly transport: Transport
  readonly look: Look
  readonly client: Steered
  readonly hash: string
  readonly infoHash: Uint8Array
  readonly torrent: string
}
export type MatrixOptions = {
  /** Of `clientsHere`. */
  readonly clients: readonly string[]
  readonly hosts: readonly Host[]
  readonly folder: string
  readonly only: string | undefined
  readonly say: (line: string) => void
}
type Outcome = { readonly name: string; readonly failure: string | undefined }

const nameOf = ({ name }: Failure): string => `failure, ${name}`
const failuresOf = (only: string | undefined): readonly Failure[] =>
  FAILURES.filter((failure) => nameOf(failure).includes(only ?? ''))
/** None where no failure is meant. */
export function matrixHosts(only: string | undefined): number {
  const failures = failuresOf(only)
  const trackers = failures.reduce((sum, { name }) => sum + hostsFor(name), 0)
  return failures.length === 0 ? 0 : trackers + STEERED.length
}

/** What came of each failure. */
export async function playMatrix(options: MatrixOptions): Promise<Outcome[]> {
  const { folder, say } = options
  mkdirSync(folder)
  const clients = STEERED.filter(({ name }) => options.clients.includes(name))
  const field = new Field(options, clients)
  try {
    await field.begin()
    const rows = await Promise.all(field.failures.map((failure) => field.play(failure)))
    for (const line of table(clients, rows.flat())) say(line)
    return field.failures.map((failure, i) => {
      const wrong = rows[i]!.filter(({ fault }) => fault !== undefined)
      const said = wrong.map(({ cell, fault }) => `  ${cell.client.name} by ${cell.transport}: ${fault}`)
      return { name: nameOf(failure), failure: wrong.length === 0 ? undefined : said.join('\n') }
    })
  } catch (error) {
    return [{ name: 'failure, begin', failure: (error as Error).stack }]
  } finally {
    await field.end()
  }
}

/** What it planned is as old as this at most. */
type Heard = Told & { readonly lateSeconds: number }
type Result = { readonly cell: Cell; readonly said: string; readonly fault: string | undefined }

class Field {
  readonly failures: readonly Failure[]
  private readonly options: MatrixOptions
  private readonly clients: readonly Steered[]
  private readonly cells: Cell[] = []
  private readonly causes = new Map<Failure, Cause>()
  private readonly addresses = new Map<Failure, string>()
  private readonly running = new Map<Steered, { program: Program; many: Many }>()
  private begun = 0
  private started: Promise<unknown> = Promise.resolve()

  constructor(options: MatrixOptions, clients: readonly Steered[]) {
    this.options = options
    this.clients = clients
    this.failures = failuresOf(options.only)
  }

  /** All trackers fail; then all clients start. */
  async begin(): Promise<void> {
    const { hosts, folder } = this.options
    let taken = this.clients.length
    const placed = this.failures.map((failure) => {
      const own = hosts.slice(taken, taken + hostsFor(failure.name))
      taken += own.length
      return { failure, own }
    })
    for (const { failure, own } of placed)
      for (const [transport, look] of Object.entries(failure.looks) as [Transport, Look][])
        for (const client of this.clients)
          this.cells.push(await this.makeCell(failure, transport, look, client, own[0]!.address4))
    for (const { failure, own } of placed) {
      const hashes = this.cells.filter((cell) => cell.failure === failure).map(({ hash }) => hash)
      this.causes.set(failure, new Cause(failure.name, own, join(folder, failure.name), hashes))
    }
    await Promise.all(
      [...this.causes].map(async ([failure, cause]) => this.addresses.set(failure, await cause.begin())),
    )
    this.begun = performance.now()
    this.started = Promise.all(this.clients.map((client, i) => this.start(client, hosts[i]!)))
    // Who waits for it hears of it.
    this.started.catch(() => {})
  }

  private async makeCell(
    failure: Failure,
    transport: Transport,
    look: Look,
    client: Steered,
    address: string,
  ): Promise<Cell> {
    const number = this.cells.length
    const path = join(this.options.folder, `cell-${number}`)
    const content = await makeContent(path, `cell-${number}`, BYTES, 20_000 + number)
    const torrent = `${path}.torrent`
    const port = transport === 'udp' ? UDP_PORT : HTTP_PORT
    writeTorrent(torrent, content, [`${transport}://${address}:${port}/announce`])
    const hash = Buffer.from(content.infoHash).toString('hex')
    return { failure, transport, look, client, hash, infoHash: content.infoHash, torrent }
  }

  private async start(client: Steered, host: Host): Promise<void> {
    const home = join(this.options.folder, client.name)
    const content = `${home}-content`
    for (const path of [home, content]) mkdirSync(path)
    const torrents = this.cells.filter((cell) => cell.client === client).map(({ torrent }) => torrent)
    const many: Many = { host, torrents, content, home, port: PEER_PORT, askPort: ASK_PORT }
    const program = startProgram([...host.enter, ...client.command(many)], {
      log: `${home}.log`,
      env: { ...process.env, HOME: home, TERM: 'xterm' },
    })
    this.running.set(client, { program, many })
    // What it says is asked for from now on; transmission is given most of its torrents later.
    await client.begin?.(many)
  }

  /** All clients at one failure; the cause ends once those that say so at once have said it. */
  async play(failure: Failure): Promise<Result[]> {
    const cells = this.cells.filter((cell) => cell.failure === failure)
    let over = (): void => {}
    let gone = (_: Error): void => {}
    const ended = new Promise<void>((done, fail) => {
      over = done
      gone = fail
    })
    ended.catch(() => {})
    const told = cells.map((cell) => this.hear(cell))
    const prompt = told.filter((_, i) => isPrompt(cells[i]!))
    const end = async (): Promise<void> => {
      await Promise.all([this.started, sleep(FLOOR_MS), Promise.allSettled(prompt)])
      await this.causes.get(failure)!.end()
    }
    end().then(over, gone)
    return Promise.all(cells.map((cell, i) => this.judge(cell, told[i]!, ended)))
  }

  /** What the client says of its first try; undefined: it says nothing, or was answered in the meantime. */
  private async hear(cell: Cell): Promise<Heard | undefined> {
    const { client, hash } = cell
    if (client.told === undefined) return undefined
    const { many, program } = this.running.get(client)!
    let last = ''
    let askedMs = this.begun
    const until = performance.now() + TOLD_MS
    while (performance.now() < until) {
      if (program.ended() !== undefined)
        throw new Error(`it ended: ${program.ended()}\n${logTail(program.log)}`)
      const nowMs = performance.now()
      const said = await client.told(many, hash).catch((error: Error) => void (last = error.message))
      if (said !== undefined) return { ...said, lateSeconds: (performance.now() - askedMs) / 1000 }
      askedMs = nowMs
      await sleep(POLL_MS)
    }
    throw new Error(`it says nothing of a first try (${last})`)
  }

  private async judge(
    cell: Cell,
    hearing: Promise<Heard | undefined>,
    ended: Promise<void>,
  ): Promise<Result> {
    try {
      const told = await hearing
      const { first, repeats } = REACTIONS[cell.look][cell.client.name as ClientName]
      // A repeat that was heard once the cause was over leaves nothing to complain of.
      const heard = repeats !== undefined && told?.failed === false
      const fault = told === undefined || heard ? undefined : faultOf(told, cell.look, first)
      await ended
      const plan = told?.nextSeconds
      const soon = heard || (plan === undefined ? first !== 'interval' : plan <= SOON_SECONDS)
      const planned = plan === undefined ? '' : `${plan.toFixed(0)} s, `
      await this.comesBack(cell, soon).catch((error: Error) => {
        throw new Error(`${planned}${error.message}`)
      })
      const tookSeconds = (performance.now() - this.begun) / 1000
      const at = `${tookSeconds.toFixed(0)} s`
      if (told === undefined && first !== 'interval' && tookSeconds < first * 0.9)
        throw new Error(`it came at ${at}, and not ${first} s after it had failed`)
      const way = heard ? `heard again at ${at}` : `${planned}${soon ? `came at ${at}` : 'came when asked'}`
      return { cell, said: way, fault }
    } catch (error) {
      return { cell, said: 'FAILED', fault: (error as Error).message }
    }
  }

  /** Until the tracker counts it; by itself, or because somebody presses the button. */
  private async comesBack({ client, failure, infoHash, hash }: Cell, soon: boolean): Promise<void> {
    const { many } = this.running.get(client)!
    const address = this.addresses.get(failure)!
    let askedMs = 0
    const how = soon ? 'by itself' : 'when asked'
    await until(`it comes back ${how} once the cause is over`, RETURN_MS, async () => {
      if (!soon && performance.now() - askedMs > AGAIN_MS) {
        askedMs = performance.now()
        await client.again!(many, hash)
      }
      await sleep(POLL_MS)
      const counts = await scrape(address, UDP_PORT, infoHash)
      return counts !== undefined && counts.leechers > 0 ? true : undefined
    })
  }

  async end(): Promise<void> {
    await Promise.all([...this.running.values()].map(({ program }) => program.stop()))
    await Promise.all([...this.causes.values()].map((cause) => cause.stop()))
  }
}

/** Those who take a minute to see that nobody answers are not waited for: the cause ends before. */
const isPrompt = ({ client, look }: Cell): boolean =>
  client.told !== undefined &&
  !(look === 'silence' && (client.name === 'transmission' || client.name === 'rtorrent'))

/** What the client plans is what the table says, less the time since it was made. */
function faultOf(heard: Heard, look: Look, first: number | 'interval'): string | undefined {
  const { failed, nextSeconds, text, lateSeconds } = heard
  const words = text === '' ? '' : ` ("${text}")`
  if (failed === (look === 'unstored')) return failed ? `it failed${words}` : 'it saw no failure'
  if (nextSeconds === undefined) return undefined
  const slack = first === 'interval' ? 0 : Math.max(2, first * 0.1) + 1
  const [from, to] = first === 'interval' ? INTERVAL_SECONDS : [first - slack - lateSeconds, first + slack]
  if (nextSeconds >= from && nextSeconds <= to) return undefined
  return `its next try is in ${nextSeconds.toFixed(1)} s${words}, not ${first === 'interval' ? 'at the interval' : `in ${first} s`}`
}

/** What each client did, for people. */
function table(clients: readonly Steered[], results: readonly Result[]): string[] {
  const rows = new Map<string, Result[]>()
  for (const result of results) {
    const { failure, transport, look } = result.cell
    const name = `${failure.name}, ${transport} (${look})`
    rows.set(name, [...(rows.get(name) ?? []), result])
  }
  const cells = [
    ['failure', ...clients.map(({ name }) => name)],
    ...[...rows].map(([name, row]) => [
      name,
      ...clients.map((client) => {
        const result = row.find(({ cell }) => cell.client === client)
        return result?.fault === undefined ? (result?.said ?? '') : `WRONG: ${result.said}`
      }),
    ]),
  ]
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)))
  return cells.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')}`.trimEnd())
}
