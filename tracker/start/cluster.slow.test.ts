// A whole cluster as people start it: processes of its own, UDP clients, kill -9 of whoever leads, and a
// clean stop.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { newCommand, UsageError } from '@skep/cli/command.ts'
import { bareEnvironment } from '@skep/testing/environment.ts'
import { type Answer, decodeAnswer, encodeRequest, type Request } from '@skep/wire/udp-tracker.ts'
import { addConfigFlags, configOf } from '../config/table.ts'
import { ctlCommand } from '../ctl.ts'
import { addReplicasFlag, replicasOf } from './cluster.ts'
import { replicaPlans } from './cluster-plan.ts'

const SKEP = fileURLToPath(new URL('../../skep.ts', import.meta.url))
const HASH = Buffer.from('0123456789abcdef0123456789abcdef01234567', 'hex')
/** A request that got no answer goes again, as BEP 15 says, but sooner. */
const AGAIN_MS = 500

/** A port that is free, as are those 10 and 20 above it. */
async function freeStep(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const servers = [port, port + 10, port + 20].map((p) => createServer().listen(p, '127.0.0.1'))
    const opened = await Promise.allSettled(servers.map((server) => once(server, 'listening')))
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    if (opened.every(({ status }) => status === 'fulfilled')) return port
  }
}

type Row = { name: string; pid: number; udp: number; http: number; control: number }

/** `skep start --replicas 3` on free ports; resolves when it has said what runs where. */
async function cluster(t: TestContext) {
  const dataDir = mkdtempSync(join(tmpdir(), 'skep-cluster-'))
  const replicaPort = await freeStep()
  const flags = [
    '--host=127.0.0.1',
    '--udp-port=0',
    '--http-port=0',
    '--control-port=0',
    '--health-port=0',
    '--memory=16MiB',
  ]
  const own = [
    `--data-dir=${dataDir}`,
    `--replica-port=${replicaPort}`,
    '--keepalive=600ms',
    // Else leadership goes to r2 in the middle of it, ten keepalives after the birth.
    '--prefer-highest=off',
    '--allow-faults',
  ]
  const child: ChildProcess = spawn(process.execPath, [SKEP, 'start', '--replicas', '3', ...flags, ...own], {
    env: bareEnvironment(),
  })
  let out = ''
  let look = (): void => {}
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (part) => {
      out += part
      look()
    })
  const ended = once(child, 'close')
  t.after(async () => {
    child.kill('SIGTERM')
    await ended
    rmSync(dataDir, { recursive: true, force: true })
  })
  const said = (pattern: RegExp): Promise<void> =>
    new Promise((resolve, reject) => {
      look = () => pattern.test(out) && resolve()
      look()
      void ended.then(() => reject(new Error(`ended without ${pattern}: ${out}`)))
    })
  await said(/Ctrl-C stops all of them/)
  const rows: Row[] = [...out.matchAll(/^ +(r\d) +(\d+) +(\d+) +(\d+) +(\d+) /gm)].map((found) => {
    const [pid, udp, http, control] = found.slice(2).map(Number) as [number, number, number, number]
    return { name: found[1]!, pid, udp, http, control }
  })
  const ctl = async (row: Row, ...args: string[]): Promise<{ code: number; text: string }> => {
    let text = ''
    const write = (more: string): void => {
      text += more
    }
    const where = [`--data-dir=${dataDir}`, `--control-port=${row.control}`]
    const code = await ctlCommand([...args, ...where], { environment: {}, out: write, err: write })
    return { code, text }
  }
  return { child, ended, dataDir, rows, said, text: () => out, ctl }
}

type Cluster = Awaited<ReturnType<typeof cluster>>

/** Index of the replica that leads, as the first one knows it. */
async function leaderOf(rows: readonly Row[], ctl: Cluster['ctl']): Promise<number> {
  type Members = { leaderId: string; members: { id: string; name: string }[] }
  const { leaderId, members } = JSON.parse((await ctl(rows[0]!, 'members', '--json')).text) as Members
  return rows.findIndex(({ name }) => members.some((m) => m.id === leaderId && m.name === name))
}

/** A BEP 15 client of one replica. */
class Client {
  private readonly socket: Socket
  private readonly port: number
  private id = 0n
  private count = 0
  constructor(t: TestContext, port: number) {
    this.port = port
    this.socket = createSocket('udp4').bind(0, '127.0.0.1')
    t.after(() => this.socket.close())
  }
  private ask<K extends Answer['kind']>(kind: K, request: Request): Promise<Extract<Answer, { kind: K }>> {
    return new Promise((resolve, reject) => {
      const bytes = encodeRequest(request)
      const send = (): void => this.socket.send(bytes, this.port, '127.0.0.1')
      const timer = setInterval(send, AGAIN_MS)
      const take = (message: Buffer): void => {
        const answer = decodeAnswer(message, 4)
        if (answer.kind === 'refused' || answer.transactionId !== request.transactionId) return
        clearInterval(timer)
        this.socket.off('message', take)
        if (answer.kind === kind) resolve(answer as Extract<Answer, { kind: K }>)
        else reject(new Error(JSON.stringify(answer, (_, v) => (typeof v === 'bigint' ? String(v) : v))))
      }
      this.socket.on('message', take)
      send()
    })
  }
  async connect(): Promise<this> {
    const { connectionId } = await this.ask('connect', { kind: 'connect', transactionId: ++this.count })
    this.id = connectionId
    return this
  }
  announce(port: number, event = 2) {
    return this.ask('announce', {
      ...{
        kind: 'announce',
        connectionId: this.id,
        transactionId: ++this.count,
        infoHash: HASH,
        event,
        port,
      },
      ...{ peerId: Buffer.from(`-SK0000-${String(port).padStart(12, '0')}`), urlData: Buffer.alloc(0) },
      ...{ downloaded: 0n, left: 0n, uploaded: 0n, ip: 0, key: port, numWant: 50 },
    } as Extract<Request, { kind: 'announce' }>)
  }
  async seeders(): Promise<number> {
    const infoHashes = [HASH]
    const scrape = { kind: 'scrape', connectionId: this.id, transactionId: ++this.count, infoHashes } as const
    return (await this.ask('scrape', scrape)).counts[0]!.seeders
  }
  /** Followers apply what is committed a moment after whoever answered. */
  async sees(seeders: number): Promise<void> {
    while ((await this.seeders()) < seeders) await new Promise(setImmediate)
    assert.equal(await this.seeders(), seeders)
  }
}

test('three replicas: one truth, kill -9 of the leader loses nothing, the last one alone gives out connection IDs', {
  timeout: 60_000,
}, async (t) => {
  const { child, ended, dataDir, rows, said, text, ctl } = await cluster(t)
  assert.deepEqual(
    rows.map((row) => row.name),
    ['r0', 'r1', 'r2'],
  )
  assert.equal(statSync(join(dataDir, 'network.key')).mode & 0o777, 0o600)
  const clients = await Promise.all(rows.map((row) => new Client(t, row.udp).connect()))
  for (const [i, client] of clients.entries()) await client.announce(7001 + i)
  await Promise.all(clients.map((client) => client.sees(3)))

  const gone = await leaderOf(rows, ctl)
  const leader = rows[gone]!.name
  const { text: table } = await ctl(rows[gone]!, 'members')
  assert.match(table, new RegExp(`^${leader} \\* +leader +127\\.0\\.0\\.1:\\d+ +0 `, 'm'))
  assert.equal(table.match(/^r\d +voter .* ago +connected .*\d+$/gm)?.length, 2, table)
  const follower = rows[(gone + 1) % 3]!
  const joining = await ctl(follower, 'add', 'r3')
  assert.match(
    joining.text,
    /skep tracker --name r3 --join (127\.0\.0\.1:\d+,?){3} --replica-address HOST:\d+ /,
  )
  const hash = '0'.repeat(40)
  for (const call of [['transfer'], ['settings', 'set', 'interval=20m'], ['access', 'deny', 'add', hash]]) {
    const refused = await ctl(follower, ...call)
    const asked = new RegExp(`does not lead: ask ${leader} through`).test(refused.text)
    assert.deepEqual([refused.code, asked], [75, true], refused.text)
  }
  assert.match((await ctl(rows[gone]!, 'remove', 'r9')).text, /r9/)
  assert.match((await ctl(rows[gone]!, 'events')).text, /term \d+ +elected/)
  process.kill(rows[gone]!.pid, 'SIGKILL')
  const alive = clients.filter((_, i) => i !== gone)
  for (const [i, client] of alive.entries()) {
    // The connection ID is the cluster's: it outlives the replica that gave it.
    const { peers, seeders } = await client.announce(8001 + i)
    assert.equal(seeders, 4 + i)
    const ports = peers.map((peer) => peer.port)
    for (const port of [7001, 7002, 7003]) assert.ok(ports.includes(port), `${port} of ${ports}`)
  }
  await Promise.all(alive.map((client) => client.sees(5)))
  await said(new RegExp(`${leader} \\(process \\d+\\) was killed \\(SIGKILL\\)`))
  assert.match(text(), new RegExp(`skep tracker .*--name=${leader} `))

  // Without a majority: an ID needs none, and a lost connect costs some clients minutes.
  const last = rows[(gone + 2) % 3]!
  process.kill(follower.pid, 'SIGKILL')
  while (!/"STATE_WAITING"/.test((await ctl(last, 'status', '--json')).text)) await new Promise(setImmediate)
  await new Client(t, last.udp).connect()
  assert.match((await ctl(last, 'status', '--json')).text, /"STATE_WAITING"/)

  child.kill('SIGINT')
  assert.deepEqual(await ended, [0, null], text())
  assert.equal(text().match(/^\S+ info +r\d stopped$/gm)?.length, 1)
  assert.deepEqual(readdirSync(dataDir).sort(), ['network.key', 'r0', 'r1', 'r2'])
})

test('--replicas: a command line for each, and what cannot be is refused', () => {
  const plans = (...args: string[]) => {
    const command = addReplicasFlag(addConfigFlags(newCommand('skep start', '')))
    command.parse(args, { from: 'user' })
    return replicaPlans(configOf(command, {}), replicasOf(command), 'the.key')
  }
  const [, , third] = plans('--replicas', '3', '--interval', '20m', '--udp-workers', '2', '--deny-list', 'd')
  assert.deepEqual([third!.name, third!.dataDir, third!.replicaPort], ['r2', 'skep-data/r2', 5580])
  const words = [
    ...['--interval=20m', '--udp-workers=2', '--deny-list=d', '--name=r2', '--udp-port=6989'],
    ...[
      '--http-port=8188',
      '--health-port=8187',
      '--control-port=8189',
      '--replica-host=127.0.0.1',
      '--network-key-file=the.key',
    ],
    '--initial-members=r0=127.0.0.1:5560,r1=127.0.0.1:5570,r2=127.0.0.1:5580',
  ]
  for (const word of words) assert.ok(third!.args.includes(word), `${word} in ${third!.args.join(' ')}`)
  for (const [args, sentence] of [
    [['--replicas', '0'], /--replicas is "0"/],
    [['--replicas', '3', '--name', 'x'], /--name cannot go with it/],
    [['--replicas', '3', '--http-port', '65530'], /would be 65540/],
    [
      ['--replicas', '3', '--http-port', '8159'],
      /--http-port of r1 and --control-port of r0 would both be 8169/,
    ],
  ] as const)
    assert.throws(
      () => plans(...args),
      (error) => error instanceof UsageError && sentence.test(error.message),
    )
})

test('a replica that still waits for the others says for whom, and stops cleanly', {
  timeout: 60_000,
}, async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'skep-cluster-'))
  t.after(() => rmSync(dataDir, { recursive: true, force: true }))
  const port = await freeStep()
  const key = join(dataDir, 'key')
  writeFileSync(key, 'k'.repeat(40), { mode: 0o600 })
  const members = [0, 10, 20].map((step, i) => `r${i}=127.0.0.1:${port + step}`).join(',')
  const own = ['--replica-host=127.0.0.1', `--initial-members=${members}`, `--network-key-file=${key}`]
  const flags = [
    '--host=127.0.0.1',
    '--udp-port=0',
    '--http-port=0',
    '--control-port=0',
    '--health-port=0',
    '--memory=16MiB',
  ]
  const start = (...more: string[]) => {
    const args = [SKEP, 'tracker', `--data-dir=${join(dataDir, 'r0')}`, ...flags, ...own, ...more]
    const child = spawn(process.execPath, args, { env: bareEnvironment() })
    t.after(() => child.kill('SIGKILL'))
    let out = ''
    child.stdout.on('data', (part) => {
      out += part
      if (/no answer from r1, r2/.test(out)) child.kill('SIGTERM')
    })
    return once(child, 'close').then(([code]) => ({ code: code as number, out }))
  }
  const waited = await start(`--replica-port=${port}`)
  assert.equal(waited.code, 0, waited.out)
  assert.match(waited.out, /"stopped"/)

  const taken = createServer().listen(port + 10, '127.0.0.1')
  t.after(() => taken.close())
  await once(taken, 'listening')
  const refused = await start(`--replica-port=${port + 10}`)
  assert.equal(refused.code, 69, refused.out)
  assert.match(refused.out, /replica port \d+ of 127\.0\.0\.1 cannot be opened.*--replica-port/)

  let text = ''
  const out = (more: string): void => {
    text += more
  }
  const recover = (folder: string) =>
    ctlCommand(['recover', '--force', `--data-dir=${join(dataDir, folder)}`], {
      environment: {},
      out,
      err: out,
    })
  assert.deepEqual([await recover('r0'), await recover('r7')], [1, 1])
  assert.match(text, /belongs to no cluster.*no data of a replica/s)
})
