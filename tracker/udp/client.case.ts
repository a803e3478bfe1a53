// A BEP 15 client for tests: one socket, requests by transaction ID. Refuses: to repeat a request; a test
// that loses one shall see it.

import { createSocket, type Socket } from 'node:dgram'
import { type Answer, decodeAnswer, EVENT_STARTED, encodeRequest } from '@skep/wire/udp-tracker.ts'

export type AnnounceFields = {
  readonly infoHash: Uint8Array
  readonly port?: number
  readonly left?: bigint
  readonly event?: number
  readonly numWant?: number
  readonly key?: number
  readonly peerId?: Uint8Array
  readonly urlData?: Uint8Array
}

/** A fixed info_hash or peer_id from a number. */
export const hash20 = (n: number): Uint8Array =>
  new Uint8Array(20).map((_, i) => (i < 4 ? n >>> (8 * i) : n * 31 + i * 7))

export class TestClient {
  readonly family: 4 | 6
  connectionId = 0n
  /** Datagrams nobody waited for. */
  readonly strays: Uint8Array[] = []
  private readonly socket: Socket
  private transaction = Math.floor(Math.random() * 2 ** 31)
  private readonly waiting = new Map<number, (answer: Answer) => void>()

  private constructor(socket: Socket, host: string) {
    this.socket = socket
    this.family = host.includes(':') ? 6 : 4
    socket.on('message', (data) => {
      const answer = decodeAnswer(data, this.family)
      const taken = answer.kind === 'refused' ? undefined : this.waiting.get(answer.transactionId)
      if (taken === undefined || answer.kind === 'refused') {
        this.strays.push(data)
        return
      }
      this.waiting.delete(answer.transactionId)
      taken(answer)
    })
  }

  /**
   * `from`: the client's own address. The socket is connected, so answers from another address are not seen.
   */
  static async open(host: string, port: number, from?: string): Promise<TestClient> {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    await new Promise<void>((resolve) =>
      socket.bind({ port: 0, ...(from === undefined ? {} : { address: from }) }, resolve),
    )
    await new Promise<void>((resolve) => socket.connect(port, host, () => resolve()))
    return new TestClient(socket, host)
  }

  get localPort(): number {
    return this.socket.address().port
  }

  sendRaw(bytes: Uint8Array): void {
    this.socket.send(bytes)
  }

  /** Resolves with the answer to this transaction. */
  expect(transactionId: number): Promise<Answer> {
    return new Promise((resolve) => this.waiting.set(transactionId, resolve))
  }

  nextTransaction(): number {
    this.transaction = (this.transaction + 1) >>> 0
    return this.transaction
  }

  ask(bytes: Uint8Array, transactionId: number): Promise<Answer> {
    const answer = this.expect(transactionId)
    this.sendRaw(bytes)
    return answer
  }

  async connect(): Promise<this> {
    const transactionId = this.nextTransaction()
    const answer = await this.ask(encodeRequest({ kind: 'connect', transactionId }), transactionId)
    if (answer.kind !== 'connect') throw new Error(`connect was answered with ${answer.kind}`)
    this.connectionId = answer.connectionId
    return this
  }

  announceBytes(fields: AnnounceFields, transactionId: number): Uint8Array {
    return encodeRequest({
      kind: 'announce',
      connectionId: this.connectionId,
      transactionId,
      infoHash: fields.infoHash,
      peerId: fields.peerId ?? hash20(this.localPort),
      downloaded: 0n,
      left: fields.left ?? 1n,
      uploaded: 0n,
      event: fields.event ?? EVENT_STARTED,
      ip: 0x01020304,
      key: fields.key ?? 0,
      numWant: fields.numWant ?? -1,
      port: fields.port ?? 6881,
      urlData: fields.urlData ?? new Uint8Array(0),
    })
  }

  announce(fields: AnnounceFields): Promise<Answer> {
    const transactionId = this.nextTransaction()
    return this.ask(this.announceBytes(fields, transactionId), transactionId)
  }

  scrape(infoHashes: readonly Uint8Array[]): Promise<Answer> {
    const transactionId = this.nextTransaction()
    return this.ask(
      encodeRequest({ kind: 'scrape', connectionId: this.connectionId, transactionId, infoHashes }),
      transactionId,
    )
  }

  /**
   * Nothing sent before this is still unanswered: a connect is answered, and datagrams of one socket keep
   * order.
   */
  async silence(): Promise<boolean> {
    const before = this.strays.length
    const unanswered = this.waiting.size
    await this.connect()
    return this.strays.length === before && this.waiting.size === unanswered
  }

  close(): void {
    this.socket.close()
  }
}
