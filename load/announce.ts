// `skep announce URL...`: two peers of a torrent that nobody else has, each announced, each to be told of the
// other. Answers "does this tracker answer, here and now?" for people, for probes and for `helm test`.
// Refuses: load (skep bench udp), and to leave its peers behind: they leave when all is seen.

import { randomBytes, randomInt } from 'node:crypto'
import { InvalidArgumentError, newCommand, UsageError } from '@skep/cli/command.ts'
import { FAILURE, OK } from '@skep/cli/exit-codes.ts'
import { counted, rounded } from '@skep/wire/words.ts'
import { type Announce, type Answered, askHttp, openUdp, type UdpAsker } from './udp/announce-ask.ts'

/** Most URLs, and longest patience for one of them, seconds. */
const URLS_MOST = 16
const PATIENCE_MOST_SECONDS = 600
/** A replica may learn of a peer a moment after another one has answered it. */
const AGAIN_MS = 100
const UNSEEN = 'answers, but not with the peer that was announced before'

type Told = { url: string; ms: number; intervalSeconds: number; seeders: number; leechers: number }
type Failed = { url: string; reason: string }
export type Outcome =
  | { kind: 'answered'; told: readonly Told[] }
  | { kind: 'failed'; url: string; reason: string; failed: readonly Failed[]; told: readonly Told[] }
type Ask = { url: string; ask: (announce: Announce, patienceMs: number) => Promise<Answered> }

export async function announceCommand(args: string[]): Promise<number> {
  const command = newCommand(
    'skep announce',
    'Announce two peers of a new torrent; each must be told of the other.',
  )
    .argument('<url...>', 'udp://host:port, http://host:port/announce or https://..., as clients have it')
    .option('--patience <seconds>', 'How long each URL has to answer as it should.', readPatience, 15)
    .option('--json', 'Print JSON instead of lines.')
  command.parse(args, { from: 'user' })
  const { patience, json } = command.opts<{ patience: number; json?: true }>()
  const urls = command.args
  const wrong =
    urls.length > URLS_MOST ? `at most ${URLS_MOST} URLs` : urls.map(faultOf).find((f) => f !== '')
  if (wrong) throw new UsageError(wrong)
  const say = (line: string): void => void (json || process.stdout.write(`${line}\n`))
  const outcome = await announceTo(urls, patience * 1000, Number.POSITIVE_INFINITY, say)
  if (json) process.stdout.write(`${JSON.stringify(outcome)}\n`)
  return outcome.kind === 'answered' ? OK : FAILURE
}

/**
 * Announces a peer at each URL, and a second one; both leave in the end. Milliseconds of patience for each
 * URL, which ends sooner after `looks` answers without the other peer. `say`: a line for each URL as it
 * comes.
 */
export async function announceTo(
  urls: readonly string[],
  patienceMs: number,
  looks = Number.POSITIVE_INFINITY,
  say: (line: string) => void = () => {},
): Promise<Outcome> {
  const infoHash = randomBytes(20)
  const first = peer(infoHash)
  const told: Told[] = []
  const failed: Failed[] = []
  const opened: UdpAsker[] = []
  const fails = (url: string, reason: string): void => {
    failed.push({ url, reason })
    say(`${url} fails: ${reason}`)
  }
  const asks: Ask[] = []
  let begun: Ask | null = null
  try {
    for (const url of urls)
      await open(url, opened).then(
        (ask) => asks.push(ask),
        (error: Error) => fails(url, error.message),
      )
    // The last one is asked first, so that each other URL must have heard of what another was told.
    for (const { url, ask } of asks.toReversed()) {
      const answer = await ask({ ...first, event: 'started' }, patienceMs)
      if (answer.kind === 'told') begun = { url, ask }
      else fails(url, answer.reason)
      if (begun !== null) break
    }
    for (const { url, ask } of begun === null ? [] : asks) {
      if (failed.some((one) => one.url === url)) continue
      const second = peer(infoHash)
      const seen = await untilSeen(ask, second, first.port, { patienceMs, looks })
      if (seen.kind === 'failed') {
        fails(url, seen.reason)
        continue
      }
      told.push({ url, ...seen.told })
      say(sentence({ url, ...seen.told }))
      await ask({ ...second, event: 'stopped' }, patienceMs)
    }
    return failed.length === 0 ? { kind: 'answered', told } : { kind: 'failed', ...failed[0]!, failed, told }
  } finally {
    await begun?.ask({ ...first, event: 'stopped' }, Math.min(patienceMs, 1000))
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

const sentence = ({ url, ms, intervalSeconds, seeders, leechers }: Told): string =>
  `${url} answers in ${rounded(ms)} ms: ${counted(seeders, 'seeder')}, ${counted(leechers, 'leecher')}, again in ${intervalSeconds} s`
