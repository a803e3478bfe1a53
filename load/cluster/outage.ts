// How long clients hear nothing when the leader is killed, and what a planned move costs them: a small steady
// load on every replica, each request and answer with its time. Refuses: averages; an outage is the longest
// silence, a move its worst wait.

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeAnswer, EVENT_STARTED, encodeRequest } from '@skep/wire/udp-tracker.ts'
import { median } from '../bench/table.ts'
import {
  type Cluster,
  control,
  leaderOf,
  type Member,
  openCluster,
  ready,
  restart,
  stopCluster,
  untilLeader,
} from './field.ts'
import type { ClusterSettings } from './rows.ts'

const HOST = '127.0.0.1'
/** Between requests to one replica; joins and scrapes take turns. */
const EVERY_MS = 2
/**
 * To each replica: the answers to all that waited come at once, and a small receive buffer would lose some.
 */
const SOCKETS = 8
const BUFFER_BYTES = 4 << 20
const ID_LIFE_MS = 45_000
/** Without an answer for so long: unanswered. */
const ANSWER_MS = 6000
/** All is well once every survivor has answered joins for so long without a pause. */
const WELL_MS = 500
const OUTAGE_MOST_MS = 30_000
const CALM_MS = 1000
const MOVE_MS = 1500

type Asked = { readonly join: boolean; readonly sentMs: number; answeredMs: number }
type Way = {
  readonly member: Member
  readonly sockets: readonly Socket[]
  readonly asked: Map<number, Asked>
  all: Asked[]
  id: bigint
  idAtMs: number
}

/** Asks every member all the time. */
class Probe {
  readonly ways: Way[] = []
  private readonly run = Math.floor(Math.random() * 2 ** 32)
  private transaction = 0
  private timer: NodeJS.Timeout | undefined
  private dueMs = 0

  async start(members: readonly Member[]): Promise<void> {
    for (const member of members) {
      const sockets = Array.from({ length: SOCKETS }, () => createSocket('udp4'))
      const way: Way = { member, sockets, asked: new Map(), all: [], id: 0n, idAtMs: -Infinity }
      for (const socket of sockets) {
        socket.bind(0, HOST)
        await once(socket, 'listening')
        socket.on('error', () => {})
        socket.on('message', (bytes) => this.take(way, bytes))
        socket.setRecvBufferSize(BUFFER_BYTES)
      }
      this.ways.push(way)
    }
    this.dueMs = performance.now()
    this.timer = setInterval(() => this.tick(), EVERY_MS)
  }

  stop(): void {
    clearInterval(this.timer)
    for (const { sockets } of this.ways) for (const socket of sockets) socket.close()
  }

  way(member: Member): Way {
    return this.ways.find((way) => way.member === member)!
  }

  forget(): void {
    for (const way of this.ways) way.all = []
  }

  private tick(): void {
    const now = performance.now()
    this.dueMs = Math.max(this.dueMs, now - 20)
    for (; this.dueMs <= now; this.dueMs += EVERY_MS) for (const way of this.ways) this.one(way, now)
  }

  private one(way: Way, now: number): void {
    const transactionId = (this.transaction = (this.transaction + 1) & 0x7fffffff)
    const socket = way.sockets[(transactionId >>> 2) % SOCKETS]!
    const send = (bytes: Uint8Array): void => socket.send(bytes, way.member.udp, HOST)
    // Connection IDs are the cluster's, and these sockets share an address: one ID is good for all.
    if (now - way.idAtMs > ID_LIFE_MS && transactionId % 16 < this.ways.length)
      send(encodeRequest({ kind: 'connect', transactionId }))
    if (way.id === 0n) return
    const join = transactionId % 2 === 0
    const asked: Asked = { join, sentMs: now, answeredMs: Number.NaN }
    way.asked.set(transactionId, asked)
    way.all.push(asked)
    const infoHash = Buffer.alloc(20, 0x5c)
    infoHash.writeUInt32BE(this.run, 0)
    infoHash.writeUInt32BE(transactionId >>> 5, 4)
    const connectionId = way.id
    if (!join) {
      send(encodeRequest({ kind: 'scrape', connectionId, transactionId, infoHashes: [infoHash] }))
      return
    }
    const peerId = Buffer.alloc(20, 0x2d)
    peerId.writeUInt32BE(transactionId, 12)
    send(
      encodeRequest({
        ...{ kind: 'announce', connectionId, transactionId, infoHash, peerId, downloaded: 0n, left: 1n },
        ...{ uploaded: 0n, event: EVENT_STARTED, ip: 0, key: transactionId, numWant: 10 },
        ...{ port: 2000 + (transactionId % 60_000), urlData: new Uint8Array(0) },
      }),
    )
  }

  private take(way: Way, bytes: Buffer): void {
    const answer = decodeAnswer(bytes, 4)
    const now = performance.now()
    if (answer.kind === 'connect') {
      for (const each of this.ways) {
        each.id = answer.connectionId
        each.idAtMs = now
      }
      return
    }
    if (answer.kind !== 'announce' && answer.kind !== 'scrape') return
    const asked = way.asked.get(answer.transactionId >>> 0)
    if (asked === undefined) return
    asked.answeredMs = now
    way.asked.delete(answer.transactionId >>> 0)
    for (const [number, old] of way.asked) {
      if (now - old.sentMs < 2 * ANSWER_MS) break
      way.asked.delete(number)
    }
  }
}

/** The longest time without an answer from `fromMs` to `toMs`. */
export function longestSilence(answeredMs: readonly number[], fromMs: number, toMs: number): number {
  const inside = answeredMs.filter((at) => at > fromMs && at < toMs).sort((a, b) => a - b)
  let last = fromMs
  let longest = 0
  for (const at of [...inside, toMs]) {
    longest = Math.max(longest, at - last)
    last = at
  }
  return longest
}

export type OutageRow = {
  readonly keepaliveMs: number
  readonly kills: number
  /**
   * Of each kill the worse of the survivors: without any answer, and without a join answered; milliseconds.
   */
  readonly silentMs: readonly number[]
  readonly joinsSilentMs: readonly number[]
  readonly unanswered: number
  /** Requests to the survivors in the time of all outages. */
  readonly asked: number
}

/** Kills the leader again and again; the killed one comes back before the next. */
export async function outageRow(settings: ClusterSettings, keepaliveMs: number): Promise<OutageRow> {
  settings.say(`== kill -9 of the leader, keepalive ${keepaliveMs} ms`)
  const cluster = await openCluster(settings.folder, settings.replicas, [
    ...['--keepalive', `${keepaliveMs}ms`],
  ])
  const probe = new Probe()
  const [silentMs, joinsSilentMs]: [number[], number[]] = [[], []]
  let [unanswered, asked] = [0, 0]
  try {
    await probe.start(cluster.members)
    await sleep(CALM_MS)
    for (let kill = 0; kill < settings.kills; kill++) {
      const leader = await untilLeader(cluster)
      probe.forget()
      await sleep(200)
      const survivors = cluster.members
        .filter((member) => member !== leader)
        .map((member) => probe.way(member))
      const killedMs = performance.now()
      process.kill(leader.server.pid, 'SIGKILL')
      const wellMs = await untilWell(survivors, killedMs)
      const times = (way: Way, join: boolean): number[] =>
        way.all.filter((one) => one.answeredMs > 0 && (one.join || !join)).map((one) => one.answeredMs)
      silentMs.push(Math.max(...survivors.map((way) => longestSilence(times(way, false), killedMs, wellMs))))
      joinsSilentMs.push(
        Math.max(...survivors.map((way) => longestSilence(times(way, true), killedMs, wellMs))),
      )
      const during = survivors.flatMap((way) =>
        way.all.filter((one) => one.sentMs > killedMs && one.sentMs < wellMs),
      )
      await leader.server.ended
      restart(cluster, leader)
      await ready(cluster)
      await sleep(CALM_MS)
      const lost = during.filter((one) => Number.isNaN(one.answeredMs)).length
      unanswered += lost
      asked += during.length
      settings.say(
        `kill ${kill + 1} of ${settings.kills} (${leader.name}): ${joinsSilentMs.at(-1)!.toFixed(0)} ms without joins, ${silentMs.at(-1)!.toFixed(0)} ms without answers, ${lost} unanswered`,
      )
    }
    return { keepaliveMs, kills: settings.kills, silentMs, joinsSilentMs, unanswered, asked }
  } finally {
    probe.stop()
    await stopCluster(cluster)
  }
}

/** When the survivors have answered joins without a pause for a while. */
async function untilWell(survivors: readonly Way[], killedMs: number): Promise<number> {
  for (;;) {
    await sleep(20)
    const now = performance.now()
    // An outage begins a lease after the kill at the latest: nothing before it was noticed counts as well.
    const well = survivors.every((way) => {
      const joins = way.all.filter((one) => one.join && one.sentMs > now - WELL_MS && one.sentMs < now - 100)
      const quick = joins.length > 20 && joins.every((one) => one.answeredMs - one.sentMs < WELL_MS / 2)
      return quick
    })
    if (well && now - killedMs > WELL_MS * 2) return now
    if (now - killedMs > OUTAGE_MOST_MS) throw new Error('the survivors did not answer again')
  }
}

export type MoveRow = {
  readonly moves: number
  readonly asked: number
  readonly unanswered: number
  /** Of each move: the longest wait in it, less the longest in as long a time just before; milliseconds. */
  readonly addedMs: readonly number[]
  readonly longestMs: readonly number[]
  /** Longest waits just before. */
  readonly quietMs: readonly number[]
}

/** Moves leadership on purpose while all are asked. */
export async function moveRow(settings: ClusterSettings): Promise<MoveRow> {
  settings.say('== leadership moved on purpose')
  const cluster: Cluster = await openCluster(settings.folder, settings.replicas)
  const probe = new Probe()
  const [addedMs, longestMs, quietMs]: [number[], number[], number[]] = [[], [], []]
  let [asked, unanswered] = [0, 0]
  try {
    await probe.start(cluster.members)
    await sleep(CALM_MS)
    for (let move = 0; move < settings.moves; move++) {
      const leader = await untilLeader(cluster)
      const others = cluster.members.filter((member) => member !== leader)
      const to = others[move % others.length]!
      probe.forget()
      await sleep(MOVE_MS)
      const begunMs = performance.now()
      await control(cluster, leader, 'TransferLeadership', { member: to.name })
      await sleep(MOVE_MS)
      if ((await leaderOf(cluster)) !== to) throw new Error(`${to.name} does not lead after the move`)
      await sleep(ANSWER_MS / 2)
      const all = probe.ways.flatMap((way) => way.all)
      const waits = (fromMs: number): number[] =>
        all
          .filter((one) => one.sentMs >= fromMs && one.sentMs < fromMs + MOVE_MS && one.answeredMs > 0)
          .map((one) => one.answeredMs - one.sentMs)
      const [quiet, moving] = [Math.max(...waits(begunMs - MOVE_MS)), Math.max(...waits(begunMs))]
      const during = all.filter((one) => one.sentMs >= begunMs && one.sentMs < begunMs + MOVE_MS)
      asked += during.length
      unanswered += during.filter((one) => Number.isNaN(one.answeredMs)).length
      longestMs.push(moving)
      quietMs.push(quiet)
      addedMs.push(Math.max(0, moving - quiet))
    }
    settings.say(
      `${settings.moves} moves: longest wait ${median(longestMs).toFixed(0)} ms in the median, ${unanswered} unanswered`,
    )
    return { moves: settings.moves, asked, unanswered, addedMs, longestMs, quietMs }
  } finally {
    probe.stop()
    await stopCluster(cluster)
  }
}
