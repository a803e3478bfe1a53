// `skep announce URL...`: two peers of a torrent that nobody else has, each announced, each to be told of the
// other. Answers "does this tracker answer, here and now?" for people, for probes and for `helm test`.
// Refuses: load (skep bench udp), and to leave its peers behind: they leave when all is seen.

import { randomBytes, randomInt } from 'node:crypto'
import { Command, InvalidArgumentError } from '@skep/cli/command.ts'
import { type Announce, type Answered, askHttp, openUdp, type UdpAsker } from './udp/announce-ask.ts'

const OK = 0
/** Not answered, refused, or answered without the other peer. */
const FAILED = 1
const USAGE = 64

/** Most URLs, and longest patience for one of them, seconds. */
const URLS_MOST = 16
const PATIENCE_MOST_SECONDS = 600
/** A replica may learn of a peer a moment after another one has answered it. */
const AGAIN_MS = 100
const UNSEEN = 'answers, but not with the peer that was announced before'

type Told = { url: string; ms: number; intervalSeconds: number; seeders: number; leechers: number }
export type Outcome =
  | { kind: 'answered'; told: readonly Told[] }
  | { kind: 'failed'; url: string; reason: string; told: readonly Told[] }
type Ask = { url: string; ask: (announce: Announce, patienceMs: number) => Promise<Answered> }

export async function announceCommand(args: string[]): Promise<number> {
  const command = new Command('skep announce')
    .description('Announce two peers of a new torrent; each must be told of the other.')
    .argument('<url...>', 'udp://host:port, http://host:port/announce or https://..., as clients have it')
    .option('--patience <seconds>', 'How long each URL has to answer as it should.', readPatience, 15)
    .option('--json', 'Print JSON instead of lines.')
    .exitOverride()
    .configureOutput({ outputError: () => {} })
  command.parse(args, { from: 'user' })
  const { patience, json } = command.opts<{ patience: number; json?: true }>()
  const urls = command.args
  const wrong =
    urls.length > URLS_MOST ? `at most ${URLS_MOST} URLs` : urls.map(faultOf).find((f) => f !== '')
  if (wrong) {
    process.stderr.write(`skep: ${wrong}\n`)
    return USAGE
  }
  const outcome = await announceTo(urls, patience * 1000)
  if (json) process.stdout.write(`${JSON.stringify(outcome)}\n`)
  else process.stdout.write(sentences(outcome))
  return outcome.kind === 'answered' ? OK : FAILED
}

/**
 * Announces a peer at each URL, and a second one; both leave in the end. Milliseconds of patience for each
 * URL, which ends sooner after `looks` answers without the other peer.
 */
export async function announceTo(
  urls: readonly string[],
  patienceMs: number,
  looks = Number.POSITIVE_INFINITY,
): Promise<Outcome> {
  const infoHash = randomBytes(20)
  const first = peer(infoHash)
  const told: Told[] = []
  const opened: UdpAsker[] = []
  const asks: Ask[] = []
  try {
    for (const url of urls) asks.push(await open(url, opened))
    // The last one is asked first, so that each other URL must have heard of what another was told.
    const begun = await asks.at(-1)!.ask({ ...first, event: 'started' }, patienceMs)
    if (begun.kind !== 'told') return { kind: 'failed', url: asks.at(-1)!.url, reason: begun.reason, told }
    for (const { url, ask } of asks) {
      const second = peer(infoHash)
      const seen = await untilSeen(ask, second, first.port, { patienceMs, looks })
      if (seen.kind === 'failed') return { ...seen, url, told }
      told.push({ url, ...seen.told })
      await ask({ ...second, event: 'stopped' }, patienceMs)
    }
    return { kind: 'answered', told }
  } catch (error) {
    return { kind: 'failed', url: urls[asks.length] ?? '', reason: (error as Error).message, told }
  } finally {
    await asks.at(-1)?.ask({ ...first, event: 'stopped' }, Math.min(patienceMs, 1000))
    for (const asker of opened) asker.close()
  }
}

type Seen = { kind: 'seen'; told: Omit<Told, 'url'> } | { kind: 'failed'; reason: string }

type Bounds = { readonly patienceMs: number; readonly looks: number }

async function untilSeen(
  ask: Ask['ask'],
  who: Announce,
  port: number,
  { patienceMs, looks }: Bounds,
): Promise<Seen> {
  const end = performance.now() + patienceMs
  for (let looked = 0; ; looked++) {
    const from = performance.now()
    const answer = await ask({ ...who, event: 'started' }, Math.max(1, end - from))
    if (answer.kind === 'silent' && looked > 0) return { kind: 'failed', reason: UNSEEN }
    if (answer.kind !== 'told') return { kind: 'failed', reason: answer.reason }
    if (answer.ports.includes(port)) {
      const { intervalSeconds, seeders, leechers } = answer
      return { kind: 'seen', told: { ms: performance.now() - from, intervalSeconds, seeders, leechers } }
    }
    if (performance.now() >= end || looked + 1 >= looks) return { kind: 'failed', reason: UNSEEN }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
  }
}

async function open(url: string, opened: UdpAsker[]): Promise<Ask> {
  const { protocol, hostname, port } = new URL(url)
  if (protocol !== 'udp:') return { url, ask: (announce, ms) => askHttp(url, announce, ms) }
  const asker = await openUdp(hostname.replace(/^\[|\]$/g, ''), Number(port))
  opened.push(asker)
  return { url, ask: asker.ask }
}

const peer = (infoHash: Uint8Array): Announce => ({
  infoHash,
  peerId: Buffer.concat([Buffer.from('-SK0100-'), randomBytes(12)]),
  port: randomInt(1024, 65_535),
  event: 'started',
})

function faultOf(text: string): string {
  const url = URL.parse(text)
  if (url === null) return `${text} is no URL: udp://host:port or http://host:port/announce`
  if (!['udp:', 'http:', 'https:'].includes(url.protocol))
    return `${text}: only udp, http and https are known`
  return url.protocol === 'udp:' && url.port === '' ? `${text} has no port` : ''
}

function readPatience(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value <= PATIENCE_MOST_SECONDS))
    throw new InvalidArgumentError(`seconds, at most ${PATIENCE_MOST_SECONDS}`)
  return value
}

function sentences(outcome: Outcome): string {
  const good = outcome.told.map(
    ({ url, ms, intervalSeconds, seeders, leechers }) =>
      `${url} answers in ${ms.toFixed(1)} ms: ${seeders} seeders, ${leechers} leechers, again in ${intervalSeconds} s\n`,
  )
  return good.join('') + (outcome.kind === 'failed' ? `${outcome.url} fails: ${outcome.reason}\n` : '')
}
