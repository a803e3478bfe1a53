// etcd beside us: three members on the same disk, puts of 64 bytes by gRPC (HTTP/2) from many clients at
// once, every one synced and committed, as etcd does by default. Refuses: versions other than what the
// machine has; says what is missing.

import { mkdtempSync } from 'node:fs'
import { type ClientHttp2Session, connect } from 'node:http2'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuMicroseconds } from '../bench/process-cost.ts'
import { freePort, has, type Server, startServer } from '../bench/servers.ts'
import { median } from '../bench/table.ts'

const MEMBERS = 3
const SESSIONS = 8
/** Puts under way at once, over all sessions: as many as still raised its throughput. */
const ABREAST = 512
const VALUE_BYTES = 64
const READY_MS = 30_000
const WARM_MS = 1000

export type EtcdRow = {
  readonly putsPerSecond: number
  readonly cpuUs: number
  readonly clusterCores: number
  readonly generatorCores: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly failed: number
}

/** Puts a second of three members, asked in equal parts; or why there is no figure. */
export async function etcdRow(
  folder: string,
  rounds: number,
  windowMs: number,
  say: (line: string) => void,
): Promise<EtcdRow | string> {
  if (!has('etcd')) return 'etcd is not installed (Debian: apt-get install etcd-server)'
  say("== etcd's puts")
  const place = mkdtempSync(join(folder, 'etcd-'))
  const ports: [number, number][] = []
  for (let i = 0; i < MEMBERS; i++) ports.push([await freePort(), await freePort()])
  const url = (port: number): string => `http://127.0.0.1:${port}`
  const initial = ports.map(([, peer], i) => `e${i}=${url(peer)}`).join(',')
  const servers = ports.map(([client, peer], i) =>
    startServer(
      [
        ...['etcd', '--name', `e${i}`, '--data-dir', join(place, `e${i}`), '--log-level', 'error'],
        ...['--listen-client-urls', url(client), '--advertise-client-urls', url(client)],
        ...['--listen-peer-urls', url(peer), '--initial-advertise-peer-urls', url(peer)],
        ...['--initial-cluster', initial, '--initial-cluster-state', 'new'],
      ],
      { log: join(place, `e${i}.log`) },
    ),
  )
  const sessions: ClientHttp2Session[] = []
  try {
    await healthy(
      ports.map(([client]) => client),
      servers,
    )
    for (let i = 0; i < SESSIONS; i++) {
      const session = connect(url(ports[i % MEMBERS]![0]))
      session.on('error', () => {})
      sessions.push(session)
    }
    const pids = servers.map(({ pid }) => pid)
    const rows: EtcdRow[] = []
    await window(sessions, pids, WARM_MS)
    for (let i = 0; i < rounds; i++) rows.push(await window(sessions, pids, windowMs))
    const of = (pick: (row: EtcdRow) => number): number => median(rows.map(pick))
    const row: EtcdRow = {
      putsPerSecond: of((r) => r.putsPerSecond),
      cpuUs: of((r) => r.cpuUs),
      clusterCores: of((r) => r.clusterCores),
      generatorCores: of((r) => r.generatorCores),
      p50Ms: of((r) => r.p50Ms),
      p99Ms: of((r) => r.p99Ms),
      failed: rows.reduce((sum, r) => sum + r.failed, 0),
    }
    say(`etcd: ${row.putsPerSecond.toFixed(0)} puts/s, ${row.cpuUs.toFixed(0)} us a put`)
    return row
  } catch (error) {
    return `etcd: ${(error as Error).message}`
  } finally {
    for (const session of sessions) session.destroy()
    await Promise.all(servers.map((server) => server.stop()))
  }
}

async function healthy(ports: readonly number[], servers: readonly Server[]): Promise<void> {
  const until = performance.now() + READY_MS
  for (const [i, port] of ports.entries())
    for (;;) {
      if (!servers[i]!.alive()) throw new Error(await servers[i]!.ended)
      const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined)
      if (answer !== undefined && /"true"/.test(await answer.text())) break
      if (performance.now() > until) throw new Error('not healthy in time')
      await sleep(100)
    }
}

const HEADERS = {
  ':method': 'POST',
  ':path': '/etcdserverpb.KV/Put',
  'content-type': 'application/grpc',
  te: 'trailers',
}

let number = 0

/**
 * A PutRequest as gRPC frames it: key (field 1) and value (field 2). A key each, as each of our joins is a
 * new peer.
 */
function putRequest(): Buffer {
  const key = `peer-${String(++number).padStart(12, '0')}`
  const body = Buffer.concat([
    Buffer.from([0x0a, key.length]),
    Buffer.from(key),
    Buffer.from([0x12, VALUE_BYTES]),
    Buffer.alloc(VALUE_BYTES, 0x61),
  ])
  const head = Buffer.alloc(5)
  head.writeUInt32BE(body.length, 1)
  return Buffer.concat([head, body])
}

/** True when etcd says that it is stored (grpc-status 0). */
const put = (session: ClientHttp2Session): Promise<boolean> =>
  new Promise((done) => {
    const stream = session.request(HEADERS)
    let status = ''
    stream.on('trailers', (headers) => {
      status = String(headers['grpc-status'])
    })
    stream.on('error', () => done(false))
    stream.on('close', () => done(status === '0'))
    stream.resume()
    stream.end(putRequest())
  })

async function window(
  sessions: readonly ClientHttp2Session[],
  pids: readonly number[],
  milliseconds: number,
): Promise<EtcdRow> {
  const times: number[] = []
  let failed = 0
  const cpu = cpuMicroseconds(pids)
  const own = process.cpuUsage()
  const begin = performance.now()
  const client = async (session: ClientHttp2Session): Promise<void> => {
    while (performance.now() - begin < milliseconds) {
      const sent = performance.now()
      if (await put(session)) times.push(performance.now() - sent)
      else if (++failed > ABREAST) return
    }
  }
  await Promise.all(Array.from({ length: ABREAST }, (_, i) => client(sessions[i % sessions.length]!)))
  const seconds = (performance.now() - begin) / 1000
  const spent = cpuMicroseconds(pids) - cpu
  const ownSpent = process.cpuUsage(own)
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.floor(share * times.length)] ?? Number.NaN
  return {
    putsPerSecond: times.length / seconds,
    cpuUs: spent / Math.max(1, times.length),
    clusterCores: spent / 1e6 / seconds,
    generatorCores: (ownSpent.user + ownSpent.system) / 1e6 / seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    failed,
  }
}
