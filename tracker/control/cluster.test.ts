// The control API over real sockets and a real swarm table: who gets in, and what the calls do.

import assert from 'node:assert/strict'
import { request as http1Request } from 'node:http'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node'
import {
  AccessList,
  AccessOperation,
  AllowPrivate,
  Cluster,
  Cut,
  State,
} from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { clusterClient } from '../ctl/client.ts'
import { controlToken } from '../keys/network-key.ts'
import { ALLOW } from '../swarm/access.ts'
import { Apply } from '../swarm/apply.ts'
import { birthEntry } from '../swarm/entry.ts'
import { allocate, limitsFor } from '../swarm/layout.ts'
import { DEFAULT_SETTINGS } from '../swarm/settings.ts'
import { Store } from '../swarm/store.ts'
import { changesOf, type Propose } from './changes.ts'
import { clusterRoutes } from './cluster.ts'
import { hostAllowed } from './guard.ts'
import { startControlServer } from './server.ts'

const TOKEN = controlToken('0123456789abcdef0123456789abcdef')
const HASH = Buffer.alloc(20, 7)

/**
 * A control API over a table whose log is a function call. `outcome` stands in for the log where it fails.
 */
async function world(t: TestContext) {
  const limits = { ...limitsFor(16 * 1024 * 1024, false), access: 10 }
  const store = new Store(allocate(limits, true))
  const log = new Apply(store, { part() {}, batch() {} })
  log.apply(
    birthEntry({
      clusterId: 'c'.repeat(32),
      hashSeed: 5,
      idKey: [1, 2],
      limits,
      settings: DEFAULT_SETTINGS,
      level: 1,
    }),
  )
  const seen = { stops: [] as boolean[], outcome: 'committed' as Awaited<ReturnType<Propose>> }
  const changes = changesOf(store, async (entry) => {
    if (seen.outcome === 'committed') log.apply(entry)
    return seen.outcome
  })
  const told = {
    born: true,
    requests: [] as unknown[],
    faults: [] as unknown[],
    reply: { ok: true, sentence: 'r1 votes now' },
  }
  const event = { at: '2026-01-31T12:00:00.000Z', term: 3, member: 7, name: 'r1', detail: '' }
  const members = {
    async members(request: unknown) {
      told.requests.push(request)
      return { again: false, final: false, ...told.reply }
    },
    events: async (since: number) =>
      [1, 2]
        .filter((number) => number > since)
        .map((number) => ({ ...event, number, kind: 'leader' as const })),
    async fault(...fault: unknown[]) {
      told.faults.push(fault)
      return true
    },
    status: async () => ({ members: [{ id: 7, name: 'r1', self: false }] }) as never,
  }
  const save = async () => ({ totalBytes: 6, pieces: piecesOf('abc', 'def') })
  const born = { members, changes, snapshot: async () => 42, save }
  const routes = clusterRoutes({
    status: async () => ({ name: 'r0', state: State.SERVING, raft: { term: 3n } }),
    born: () => (told.born ? born : null),
    awaits: () => (told.born ? '' : 'no answer from r1'),
    drain: async (forMs, undo) => `${forMs} ${undo}`,
    stop: (purge) => seen.stops.push(purge),
  })
  const live = () => ({ ok: true, reason: '' })
  const tokens = [TOKEN]
  const server = await startControlServer({
    controlHost: '127.0.0.1',
    controlPort: 0,
    tokens: () => tokens,
    routes,
    live,
  })
  t.after(() => server.stop())
  return { ...seen, seen, told, tokens, changes, port: server.port, url: `http://127.0.0.1:${server.port}` }
}

async function* piecesOf(...texts: string[]) {
  for (const text of texts) yield Buffer.from(text)
}

const bearer =
  (token: string): Interceptor =>
  (next) =>
  (request) => {
    request.header.set('authorization', `Bearer ${token}`)
    return next(request)
  }

const client = (url: string, token = TOKEN) =>
  createClient(
    Cluster,
    createConnectTransport({ baseUrl: url, httpVersion: '1.1', interceptors: [bearer(token)] }),
  )

const failsWith =
  (code: Code, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof ConnectError)
    assert.equal(error.code, code, error.message)
    assert.match(error.message, message)
    return true
  }

/** A plain POST of Status with the headers given; resolves with status and body. */
function post(port: number, headers: Record<string, string>, path = '/skep.cluster.v1.Cluster/Status') {
  return new Promise<{ status: number; body: string }>((resolve, reject) => {
    const method = path === '/health' ? 'GET' : 'POST'
    const request = http1Request(
      { port, path, method, headers: { 'content-type': 'application/json', ...headers } },
      (response) => {
        let body = ''
        response.on('data', (part) => {
          body += part
        })
        response.on('end', () => resolve({ status: response.statusCode!, body }))
      },
    )
    request.on('error', reject)
    request.end(method === 'POST' ? '{}' : undefined)
  })
}

test('nobody without the token gets an answer, but for health', async (t) => {
  const { port, url } = await world(t)
  assert.equal((await post(port, {})).status, 401)
  assert.equal((await post(port, { authorization: `Basic ${TOKEN}` })).status, 401)
  assert.equal((await post(port, { authorization: `Bearer ${TOKEN}x` })).status, 401)
  assert.equal((await post(port, { authorization: `Bearer ${TOKEN.slice(1)}` })).status, 401)
  assert.equal((await post(port, {}, '/nothing/here')).status, 401)
  assert.equal((await post(port, { authorization: `Bearer ${TOKEN}` })).status, 200)
  assert.deepEqual(JSON.parse((await post(port, {}, '/health')).body), { status: 'ok' })
  await assert.rejects(client(url, 'wrong').status({}), failsWith(Code.Unauthenticated, /wrong token/))
})

test('a browser led here by DNS rebinding or by another page is refused even with the token', async (t) => {
  const { port } = await world(t)
  const authorization = `Bearer ${TOKEN}`
  assert.equal((await post(port, { authorization, host: `evil.example:${port}` })).status, 403)
  assert.equal((await post(port, { host: 'evil.example' }, '/health')).status, 403)
  assert.equal((await post(port, { authorization, origin: 'http://evil.example' })).status, 403)
  assert.equal((await post(port, { authorization, origin: 'null' })).status, 403)
  assert.equal((await post(port, { authorization, origin: `http://localhost:${port}` })).status, 200)
})

test('which hosts are ours', () => {
  for (const host of [
    '127.0.0.1',
    '10.1.2.3:8169',
    '[::1]:8169',
    'localhost:1',
    'r0',
    'R0.skep.default.svc:8169',
  ])
    assert.ok(hostAllowed(host, ['r0']), host)
  for (const host of [
    undefined,
    '',
    'evil.example',
    'r00',
    'xr0.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'a b',
    'r0:x',
  ])
    assert.ok(!hostAllowed(host, ['r0']), String(host))
})

test('the same call by Connect, gRPC-Web and gRPC over HTTP/2, on one port', async (t) => {
  const { url } = await world(t)
  const interceptors = [bearer(TOKEN)]
  for (const transport of [
    createConnectTransport({ baseUrl: url, httpVersion: '1.1', interceptors }),
    createConnectTransport({ baseUrl: url, httpVersion: '2', interceptors }),
    createGrpcWebTransport({ baseUrl: url, httpVersion: '1.1', interceptors }),
    createGrpcTransport({ baseUrl: url, interceptors }),
  ]) {
    const status = await createClient(Cluster, transport).status({})
    assert.deepEqual([status.name, status.state, status.raft?.term], ['r0', State.SERVING, 3n])
  }
})

test('settings change only within their limits, and only those that are named', async (t) => {
  const { url } = await world(t)
  const ctl = client(url)
  await ctl.changeSettings({ intervalSeconds: 900, allowPrivate: AllowPrivate.OFF })
  const { settings } = await ctl.getSettings({})
  assert.deepEqual(
    [settings?.intervalSeconds, settings?.intervalMaxSeconds, settings?.numwantMax, settings?.allowPrivate],
    [900, 3600, 200, AllowPrivate.OFF],
  )
  await assert.rejects(
    ctl.changeSettings({ intervalSeconds: 7200 }),
    failsWith(Code.InvalidArgument, /intervalMaxSeconds/),
  )
  await assert.rejects(
    ctl.changeSettings({ numwantMax: 0 }),
    failsWith(Code.InvalidArgument, /from 1 to 1000/),
  )
  assert.equal((await ctl.getSettings({})).settings?.intervalSeconds, 900)
})

test('access lists: replace, add, remove, off; revisions; room', async (t) => {
  const { url } = await world(t)
  const ctl = client(url)
  const list = AccessList.DENY
  const other = Buffer.alloc(20, 1)
  const replaced = await ctl.changeAccess({ list, operation: AccessOperation.REPLACE, infoHashes: [HASH] })
  assert.deepEqual([replaced.active, replaced.entries, replaced.revision], [true, 1, 1])
  await ctl.changeAccess({
    list,
    operation: AccessOperation.ADD,
    infoHashes: [other, HASH],
    expectedRevision: 1,
  })
  const both = await ctl.getAccess({ list })
  assert.deepEqual(
    both.infoHashes.map((hash) => hash[0]),
    [1, 7],
  )
  const stale = ctl.changeAccess({
    list,
    operation: AccessOperation.REMOVE,
    infoHashes: [other],
    expectedRevision: 1,
  })
  await assert.rejects(stale, failsWith(Code.Aborted, /revision 2/))
  await ctl.changeAccess({ list, operation: AccessOperation.REMOVE, infoHashes: [other] })
  const many = Array.from({ length: 10 }, (_, i) => Buffer.alloc(20, 100 + i))
  const full = ctl.changeAccess({
    list: AccessList.ALLOW,
    operation: AccessOperation.REPLACE,
    infoHashes: many,
  })
  await assert.rejects(full, failsWith(Code.ResourceExhausted, /at most 10/))
  const short = ctl.changeAccess({ list, operation: AccessOperation.ADD, infoHashes: [Buffer.alloc(19)] })
  await assert.rejects(short, failsWith(Code.InvalidArgument, /20 bytes/))
  await assert.rejects(ctl.getAccess({}), failsWith(Code.InvalidArgument, /allow or deny/))
  const off = await ctl.changeAccess({ list, operation: AccessOperation.OFF })
  assert.deepEqual([off.active, off.entries], [false, 0])
})

test('changes sent at once are made one after the other', async () => {
  const limits = limitsFor(16 * 1024 * 1024, false)
  const store = new Store(allocate(limits, true))
  const log = new Apply(store, { part() {}, batch() {} })
  let under = 0
  const changes = changesOf(store, async (entry) => {
    assert.equal(++under, 1, 'two changes under way')
    await new Promise(setImmediate)
    log.apply(entry)
    under--
    return 'committed'
  })
  const adds = [1, 2, 3, 4, 5].map((i) => changes.changeAccess(ALLOW, 'add', null, Buffer.alloc(20, i)))
  assert.deepEqual(new Set((await Promise.all(adds)).map(({ kind }) => kind)), new Set(['done']))
  assert.deepEqual(changes.access(ALLOW), { active: true, entries: 5, revision: 5 })
})

test('a change that was not made is told from one that may have been', async (t) => {
  const { seen, url } = await world(t)
  const ctl = client(url)
  seen.outcome = 'refused'
  await assert.rejects(ctl.changeSettings({ numwantMax: 100 }), failsWith(Code.Unavailable, /try again/))
  seen.outcome = 'unknown'
  await assert.rejects(
    ctl.changeSettings({ numwantMax: 100 }),
    failsWith(Code.DeadlineExceeded, /look whether/),
  )
})

test('watch goes on until the caller goes away; snapshot and stop', async (t) => {
  const { seen, url } = await world(t)
  const ctl = client(url)
  let messages = 0
  for await (const { status } of ctl.watch({ periodMs: 100 })) {
    assert.equal(status?.name, 'r0')
    if (++messages === 3) break
  }
  await assert.rejects(
    async () => {
      for await (const _ of ctl.watch({ periodMs: 1 })) break
    },
    failsWith(Code.InvalidArgument, /period_ms/),
  )
  assert.equal((await ctl.snapshot({})).snapshotIndex, 42n)
  await ctl.stop({ purge: true })
  assert.deepEqual(seen.stops, [true])
})

test('bytes that are no HTTP end the connection, and nothing else', async (t) => {
  const { port, url } = await world(t)
  for (const bytes of [
    '\0\0\0',
    'PRI nonsense\r\n\r\n',
    'x'.repeat(100_000),
    `POST / HTTP/1.1\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
  ]) {
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
      socket.on('error', () => {})
      socket.on('close', () => resolve())
      socket.resume()
    })
  }
  assert.equal((await client(url).status({})).name, 'r0')
})

test('a body beyond the limit is refused', async (t) => {
  const { url } = await world(t)
  const infoHashes = [Buffer.alloc(9 * 1024 * 1024)]
  const large = client(url).changeAccess({
    list: AccessList.DENY,
    operation: AccessOperation.ADD,
    infoHashes,
  })
  await assert.rejects(large, failsWith(Code.ResourceExhausted, /larger/))
})

test('members: requests reach the leader as they are, and its refusals come back as they are', async (t) => {
  const { url, told } = await world(t)
  const cluster = client(url)
  assert.equal((await cluster.promoteMembers({ members: ['r1', 'r2'] })).message, 'r1 votes now')
  await cluster.demoteMembers({ members: ['r1'] })
  await cluster.removeMember({ member: 'r1' })
  await cluster.transferLeadership({})
  assert.deepEqual(told.requests, [
    { kind: 'promote', who: ['r1', 'r2'] },
    { kind: 'demote', who: ['r1'] },
    { kind: 'remove', who: 'r1' },
    { kind: 'transfer', to: '' },
  ])
  told.reply = { ok: false, sentence: 'ask r1', again: true } as never
  await assert.rejects(cluster.transferLeadership({ member: 'r0' }), failsWith(Code.Unavailable, /ask r1/))
  told.reply = { ok: false, sentence: 'two voters' }
  await assert.rejects(cluster.removeMember({ member: 'r1' }), failsWith(Code.FailedPrecondition, /two/))
  await assert.rejects(cluster.removeMember({}), failsWith(Code.InvalidArgument, /must be named/))
  const numbers: bigint[] = []
  for await (const { number, memberName } of cluster.events({ since: 1n })) {
    numbers.push(number)
    assert.equal(memberName, 'r1')
  }
  assert.deepEqual(numbers, [2n])
})

test('faults: to a member that there is, within limits, and ended on request', async (t) => {
  const { url, told } = await world(t)
  const cluster = client(url)
  await cluster.injectFault({ member: 'r1', cut: Cut.BOTH, durationMs: 1000 })
  await cluster.injectFault({ member: '7', durationMs: 0 })
  const [[first, cut], second] = told.faults as [[number, { cut: string }], unknown]
  assert.deepEqual([first, cut.cut, second], [7, 'both', [7, null]])
  for (const [request, sentence] of [
    [{ member: 'r9', cut: Cut.BOTH, durationMs: 1000 }, /no other member called r9/],
    [{ member: 'r1', durationMs: 1000 }, /needs cut, delay_ms or loss/],
    [{ member: 'r1', loss: 2, durationMs: 1000 }, /loss from 0 to 1/],
  ] as const)
    await assert.rejects(cluster.injectFault(request), failsWith(Code.InvalidArgument, sentence))
})

test('before the birth of its cluster a replica tells its status, drains and stops, and nothing else', async (t) => {
  const { url, told, seen } = await world(t)
  told.born = false
  const cluster = client(url)
  assert.equal((await cluster.status({})).name, 'r0')
  assert.equal((await cluster.drain({ forMs: 5 })).message, '5 false')
  await assert.rejects(cluster.drain({ forMs: 600_001 }), failsWith(Code.InvalidArgument, /600000/))
  for (const asked of [
    () => cluster.getSettings({}),
    () => cluster.removeMember({ member: 'r1' }),
    () => cluster.snapshot({}),
    () => Array.fromAsync(cluster.saveSnapshot({})),
    () => Array.fromAsync(cluster.events({})),
  ])
    await assert.rejects(asked, failsWith(Code.Unavailable, /no member of a cluster yet.*no answer from r1/))
  await cluster.stop({})
  assert.deepEqual(seen.stops, [false])
  told.born = true
  const pieces = await Array.fromAsync(cluster.saveSnapshot({}))
  assert.equal(Buffer.concat(pieces.map(({ piece }) => piece)).toString(), 'abcdef')
  assert.ok(pieces.every(({ totalBytes }) => totalBytes === 6n))
})

test('while keys are replaced, the tokens of both are taken, and a client finds the one that is', async (t) => {
  const { url, tokens } = await world(t)
  const fresh = controlToken('f'.repeat(32))
  const both = clusterClient(url, [fresh, TOKEN])
  assert.equal((await both.status({})).name, 'r0')
  for await (const { status } of both.watch({})) {
    assert.equal(status?.name, 'r0')
    break
  }
  tokens.unshift(fresh)
  for (const token of [fresh, TOKEN]) assert.equal((await client(url, token).status({})).name, 'r0')
  tokens.pop()
  await assert.rejects(client(url).status({}), failsWith(Code.Unauthenticated, /wrong token/))
  assert.equal((await both.status({})).name, 'r0')
})
