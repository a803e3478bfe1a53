// An announce or a scrape asked and answered by messages of the typed service: the codes of its outcomes, and
// who waits for them. Refuses: protocols and HTTP (calls.ts).

import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import { formatIPv4, formatIPv6 } from '@skep/wire/ip.ts'
import type {
  AnnounceResponseSchema,
  ScrapeResponseSchema,
} from '@skep/wire/proto/gen/skep/tracker/v1/tracker_pb.js'
import type { Asker } from './address.ts'
import type { Form, Why } from './form.ts'
import type { Waiter } from './pending.ts'
import type { AnnounceQuery, ScrapeQuery } from './query.ts'
import type { Counts, Intervals } from './reply.ts'

/** The same codes as the control API's: what is refused may be tried again, what is unknown be looked for. */
const CODES: { readonly [why in Why]: Code } = {
  invalid: Code.InvalidArgument,
  forbidden: Code.PermissionDenied,
  nobody: Code.FailedPrecondition,
  unavailable: Code.Unavailable,
  unknown: Code.DeadlineExceeded,
}

export type AnnounceSaid = {
  readonly infoHash: Uint8Array
  readonly peerId: Uint8Array
  readonly said: Parameters<AnnounceQuery['fill']>[2]
}
type AnnounceMessage = MessageInitShape<typeof AnnounceResponseSchema>
type ScrapeMessage = MessageInitShape<typeof ScrapeResponseSchema>

export class MessageForm implements Form, Waiter {
  gone = false
  readonly form = this
  private readonly said: AnnounceSaid | null
  private readonly infoHashes: readonly Uint8Array<ArrayBuffer>[]
  private announceMessage: AnnounceMessage = {}
  private scrapeMessage: ScrapeMessage = {}
  private failure: ConnectError | null = null
  private done: () => void = () => {}

  /** One of both: an announce, or hashes to scrape. */
  constructor(said: AnnounceSaid | null, infoHashes: readonly Uint8Array<ArrayBuffer>[]) {
    this.said = said
    this.infoHashes = infoHashes
  }

  /** `done` is called when a parked request is answered. */
  begin(done: () => void): void {
    this.done = done
  }

  answer(): void {
    this.done()
  }

  readAnnounce(query: AnnounceQuery): void {
    const { infoHash, peerId, said } = this.said!
    query.fill(infoHash, peerId, said)
  }

  readScrape(query: ScrapeQuery): void {
    query.fill(this.infoHashes)
  }

  announced(
    { seeders, leechers, completed }: Counts,
    { interval, min }: Intervals,
    asker: Asker,
    bytes: Uint8Array,
    count4: number,
    count6: number,
  ): void {
    const peers: { address: string; port: number }[] = []
    for (let i = 0, at = 0; i < count4 + count6; i++, at += 2) {
      const v6 = i >= count4
      const address = v6 ? formatIPv6(bytes, at) : formatIPv4(bytes, at)
      at += v6 ? 16 : 4
      peers.push({ address, port: (bytes[at]! << 8) | bytes[at + 1]! })
    }
    const own = new Uint8Array(asker.words.buffer)
    const externalAddress = asker.v6 ? formatIPv6(own, 0) : formatIPv4(own, 0)
    const counts = { seeders, leechers, completed: completed >>> 0 }
    const intervals = { intervalSeconds: interval, minIntervalSeconds: min }
    this.announceMessage = { peers, ...counts, ...intervals, externalAddress }
  }

  scraped(counts: readonly Counts[]): void {
    this.scrapeMessage = {
      swarms: counts.map(({ seeders, leechers, completed }, i) => ({
        ...{ infoHash: this.infoHashes[i]!, seeders, leechers, completed: completed >>> 0 },
      })),
    }
  }

  failed(why: Why, reason: string): void {
    this.failure = new ConnectError(reason, CODES[why])
  }

  /** The answer of an announce; throws the error that it came to. */
  announce(): AnnounceMessage {
    if (this.failure !== null) throw this.failure
    return this.announceMessage
  }

  scrape(): ScrapeMessage {
    if (this.failure !== null) throw this.failure
    return this.scrapeMessage
  }
}
