// Real processes before, beside and after their service: waiting to be born, being drained, leaving as a file
// and beginning anew from one.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bareEnvironment } from '@skep/testing/environment.ts'
import { ctlCommand } from '../ctl.ts'

const SKEP = fileURLToPath(new URL('../../skep.ts', import.meta.url))
const HASH = '%01%23%45%67%89%ab%cd%ef%01%23%45%67%89%ab%cd%ef%01%23%45%67'
const LOCAL = [
  '--host=127.0.0.1',
  '--udp-port=0',
  '--http-port=0',
  '--control-port=0',
  '--health-port=0',
  '--memory=16MiB',
]

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'skep-life-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function ctlHere(...args: string[]): Promise<{ code: number; text: string }> {
  let text = ''
  const write = (more: string): void => {
    text += more
  }
  return { code: await ctlCommand(args, { environment: {}, out: write, err: write }), text }
}

type Line = { readonly msg: string; readonly http: number; readonly control: number }

/** A tracker on free ports; resolves when a line of its log begins with `until`. */
async function tracker(t: TestContext, until: string, dataDir: string, ...more: string[]) {
  const args = [SKEP, 'tracker', ...LOCAL, `--data-dir=${dataDir}`, '--log-format=json', ...more]
  const child = spawn(process.execPath, args, { env: bareEnvironment() })
  t.after(() => child.kill('SIGKILL'))
  const code = once(child, 'close').then(([exit]) => exit as number)
  const lines: string[] = []
  child.stderr.on('data', (part) => lines.push(String(part)))
  const ports = await new Promise<Line>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (text) => {
      lines.push(text)
      const line = JSON.parse(text) as Line
      if (line.msg.startsWith(until)) resolve(line)
    })
    void code.then(() => reject(new Error(`ended without "${until}": ${lines.join('\n')}`)))
  })
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${ports.http}${path}`)
    return { status: response.status, text: await response.text() }
  }
  const ctl = (...words: string[]) =>
    ctlHere(...words, `--control-port=${ports.control}`, `--data-dir=${dataDir}`)
  return { child, code, get, ctl, log: () => lines.join('\n') }
}

const announce = (port: number): string =>
  `/announce?info_hash=${HASH}&peer_id=-XX0000-000000000001&port=${port}&left=0&event=started&compact=1`

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

test('before its cluster is born a replica is alive, not ready, and says for whom it waits', async (t) => {
  const dir = folder(t)
  const key = join(dir, 'key')
  const [old, fresh] = ['o'.repeat(32), 'f'.repeat(32)]
  writeFileSync(key, `${old}\n${fresh}\n`, { mode: 0o600 })
  const [mine, other] = [await freePort(), await freePort()]
  const members = `--initial-members=r0=127.0.0.1:${mine},r1=127.0.0.1:${other}`
  const own = [members, `--replica-port=${mine}`, '--replica-host=127.0.0.1', `--network-key-file=${key}`]
  const { code, get, ctl } = await tracker(t, 'waiting: ', join(dir, 'r0'), ...own)
  assert.deepEqual(await get('/livez'), { status: 200, text: 'ok\n' })
  for (;;) {
    const { status, text } = await get('/readyz')
    assert.equal(status, 503)
    if (/no answer from r1/.test(text)) break
    assert.match(text, /the log is being read/)
  }
  assert.match((await get(announce(7001))).text, /no answer from r1/)
  const status = await ctl('status', `--network-key-file=${key}`)
  assert.match(status.text, /state +starting\nnot ready +.*no answer from r1/)
  assert.match((await ctl('members', `--network-key-file=${key}`)).text, /No member of a cluster yet: .*r1/)
  const settings = await ctl('settings', `--network-key-file=${key}`)
  assert.deepEqual([settings.code, /no answer from r1/.test(settings.text)], [75, true], settings.text)
  // The key that is to come opens as well as the one in use.
  const next = join(dir, 'next')
  writeFileSync(next, fresh, { mode: 0o600 })
  const { networkKeys, ready } = JSON.parse(
    (await ctl('status', '--json', `--network-key-file=${next}`)).text,
  ) as { networkKeys: string[]; ready: boolean }
  assert.deepEqual([networkKeys.length, ready], [2, false])
  assert.equal((await ctl('stop', `--network-key-file=${next}`)).code, 0)
  assert.equal(await code, 0)
})

test('draining: not ready, answering all the same; and back', async (t) => {
  const { get, ctl, code } = await tracker(t, 'answering', folder(t))
  assert.equal((await get('/readyz')).status, 200)
  const { text } = await ctl('drain', '--for', '1ms')
  assert.match(text, /alone: nobody can take over; this replica is not ready, and answers/)
  const ready = await get('/readyz')
  assert.deepEqual([ready.status, /being drained/.test(ready.text)], [503, true])
  assert.match((await get(announce(7001))).text, /8:completei1e/)
  assert.match((await ctl('status')).text, /serving, being drained/)
  assert.equal((await ctl('drain', '--undo')).code, 0)
  assert.equal((await get('/readyz')).status, 200)
  assert.equal((await ctl('stop', '--drain', '--for', '1ms')).code, 0)
  assert.equal(await code, 0)
})

test('a table leaves as a file and begins another cluster; nothing is restored over anything', async (t) => {
  const dir = folder(t)
  const [first, second, file] = [join(dir, 'a'), join(dir, 'b'), join(dir, 'table.skep')]
  const from = await tracker(t, 'answering', first)
  for (const port of [7001, 7002, 7003]) assert.equal((await from.get(announce(port))).status, 200)
  const nowhere = await from.ctl('snapshot', 'save', join(dir, 'none', 'table.skep'))
  assert.deepEqual([nowhere.code, /^skep: .*: its folder is not there/.test(nowhere.text)], [74, true])
  const saved = await from.ctl('snapshot', 'save', file)
  assert.deepEqual(
    [saved.code, /whole: the table of cluster [0-9a-f]{32}/.test(saved.text)],
    [0, true],
    saved.text,
  )
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.equal((await ctlHere('snapshot', 'check', file)).code, 0)
  const bytes = readFileSync(file)
  const broken = join(dir, 'broken')
  writeFileSync(broken, bytes.subarray(0, bytes.length - 9))
  for (const action of ['check', 'restore']) {
    const no = await ctlHere('snapshot', action, broken, `--data-dir=${second}`)
    assert.deepEqual([no.code, /no usable snapshot file/.test(no.text)], [1, true], no.text)
  }
  const busy = await ctlHere('snapshot', 'restore', file, `--data-dir=${first}`)
  assert.deepEqual(
    [busy.code === 0, /in use|another process|lock/i.test(busy.text)],
    [false, true],
    busy.text,
  )
  await from.ctl('stop')
  await from.code
  const over = await ctlHere('snapshot', 'restore', file, `--data-dir=${first}`)
  assert.deepEqual([over.code, /belongs to a cluster already/.test(over.text)], [1, true], over.text)

  const restored = await ctlHere('snapshot', 'restore', file, `--data-dir=${second}`, '--name=r5')
  assert.equal(restored.code, 0, restored.text)
  const to = await tracker(t, 'answering', second, '--name=r5')
  assert.match((await to.get(announce(7004))).text, /8:completei4e/)
  const { clusterId } = JSON.parse((await to.get('/stats')).text) as { clusterId: string }
  assert.ok(!saved.text.includes(clusterId) && restored.text.includes(clusterId))
  await to.ctl('stop')
  assert.equal(await to.code, 0)
})
