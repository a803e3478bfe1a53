// What must not end or open a process that serves others: a reader of its log that goes away or stands still,
// a full disk under its log, and a signal that Node takes for the wish to debug it.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, existsSync, openSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { freePorts } from '@skep/e2e/processes.ts'
import { bareEnvironment } from '@skep/testing/environment.ts'
import { answering, folder, freeStep, get, type Line, LOCAL, skep } from './process.case.ts'

const POSIX = process.platform === 'win32' ? { skip: 'Windows has neither named pipes nor SIGUSR1' } : {}
const FULL = existsSync('/dev/full') ? {} : { skip: 'there is no /dev/full here' }

/** Reads lines of a named pipe until one says so, and goes away. */
async function readUntil(path: string, pattern: RegExp): Promise<Line> {
  const socket = new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) })
  try {
    for await (const text of createInterface({ input: socket })) {
      const line = JSON.parse(text) as Line
      if (pattern.test(line.msg)) return line
    }
  } finally {
    socket.destroy()
  }
  throw new Error(`the log ended without ${pattern}`)
}

const lostLines = async (http: unknown): Promise<number> =>
  Number(/^skep_lost_log_lines_total (\d+)$/m.exec((await get(http, '/metrics')).text)?.[1] ?? 'NaN')

test(
  'the reader of the log goes away: the tracker serves on, counts, and says so to the next reader',
  POSIX,
  async (t) => {
    const dataDir = folder(t)
    const [pipe, list] = [join(dataDir, 'pipe'), join(dataDir, 'list')]
    execFileSync('mkfifo', [pipe])
    let entries = 0
    const change = (): void => writeFileSync(list, `${String(++entries).padStart(40, '0')}\n`)
    change()
    const reading = readUntil(pipe, /^answering$/)
    const out = openSync(pipe, 'w')
    const args = ['tracker', ...LOCAL, `--data-dir=${dataDir}`, `--deny-list=${list}`]
    const { child, ended } = skep(t, args, { stdio: ['ignore', out, 'ignore'] })
    closeSync(out)
    const { http } = await reading
    change()
    while ((await lostLines(http)) === 0);
    assert.equal((await get(http, '/readyz')).status, 200)
    const telling = readUntil(pipe, /lines of this log were lost/)
    change()
    assert.match(String((await telling).why), /reader has gone/)
    child.kill('SIGTERM')
    assert.equal((await ended).code, 0)
  },
)

test('the disk under the log is full: the tracker starts, serves and stops', FULL, async (t) => {
  const full = openSync('/dev/full', 'w')
  const [port] = (await freePorts(1)) as [number]
  const args = ['tracker', ...LOCAL, `--data-dir=${folder(t)}`, `--http-port=${port}`]
  const { child, ended } = skep(t, args, { stdio: ['ignore', full, full] })
  closeSync(full)
  for (let status = 0; status !== 200; )
    status = (await get(port, '/readyz').catch(() => ({ status: 0 }))).status
  child.kill('SIGTERM')
  assert.equal((await ended).code, 0)
})

/** Node says so on standard error when it opens its inspector. */
const OPENED = /Debugger listening/

test('SIGUSR1 opens no debugger: not in a tracker, nor in a cluster and its replicas', POSIX, async (t) => {
  const alone = await answering(t, folder(t))
  alone.child.kill('SIGUSR1')
  assert.equal((await alone.get('/livez')).status, 200)
  alone.child.kill('SIGTERM')
  assert.equal((await alone.ended).code, 0)
  assert.doesNotMatch(alone.text(), OPENED)

  const cluster = skep(t, [
    'start',
    '--replicas=3',
    ...LOCAL,
    `--replica-port=${await freeStep()}`,
    `--data-dir=${folder(t)}`,
  ])
  await cluster.said(/Ctrl-C stops all/)
  const pids = [...cluster.text().matchAll(/^ +r\d +(\d+) /gm)].map((m) => Number(m[1]))
  assert.equal(pids.length, 3)
  for (const pid of [cluster.child.pid!, ...pids]) process.kill(pid, 'SIGUSR1')
  cluster.child.kill('SIGTERM')
  assert.equal((await cluster.ended).code, 0)
  assert.doesNotMatch(cluster.text(), OPENED)
})

test('SIGUSR1 opens no debugger in the operator, nor in what merely asks', POSIX, async (t) => {
  // An API server that lets everybody wait.
  const api = createServer(() => {}).listen(0, '127.0.0.1')
  t.after(() => api.closeAllConnections())
  t.after(() => api.close())
  await once(api, 'listening')
  const { port } = api.address() as { port: number }
  const kubeconfig = join(folder(t), 'config')
  const cluster = { clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}` } }] }
  const user = {
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
  }
  writeFileSync(kubeconfig, JSON.stringify({ ...cluster, ...user, 'current-context': 'x' }))
  const environment = bareEnvironment({ KUBECONFIG: kubeconfig })
  const [metrics] = (await freePorts(1)) as [number]
  const args = ['operator', '--leader-elect=off', `--metrics-port=${metrics}`]
  const operator = skep(t, args, { env: environment })
  await operator.line(/^started/)
  operator.child.kill('SIGUSR1')
  operator.child.kill('SIGTERM')
  await operator.ended
  assert.doesNotMatch(operator.text(), OPENED)

  const asking = once(api, 'request')
  const announce = skep(t, ['announce', `http://127.0.0.1:${port}/announce`])
  await asking
  announce.child.kill('SIGUSR1')
  announce.child.kill('SIGTERM')
  await announce.ended
  assert.doesNotMatch(announce.text(), OPENED)
})
