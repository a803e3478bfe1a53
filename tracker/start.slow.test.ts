// Real processes as people start them: what they print, answer, refuse, and how they end.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { UsageError } from '@skep/cli/command.ts'
import { bareEnvironment } from '@skep/testing/environment.ts'
import { ctlCommand } from './ctl.ts'

const SKEP = fileURLToPath(new URL('../skep.ts', import.meta.url))
const HASH = '0123456789abcdef0123456789abcdef01234567'

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'skep-start-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** Runs skep to its end. */
function skep(args: readonly string[], environment: Record<string, string> = {}, input = ''): Promise<Ended> {
  const child = spawn(process.execPath, [SKEP, ...args], { env: bareEnvironment(environment) })
  child.stdin.end(input)
  return ended(child)
}

/** skep ctl in this process: the same code without a start of Node for each call. */
async function ctlHere(args: string[]): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  const out = (text: string): void => {
    stdout += text
  }
  const err = (text: string): void => {
    stderr += text
  }
  const code = await ctlCommand(args, { environment: {}, out, err }).catch((error: unknown) => {
    assert.ok(error instanceof UsageError, String(error))
    stderr += error.message
    return error.exitCode
  })
  return { code, stdout, stderr }
}

async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', (part) => {
    stdout += part
  })
  child.stderr!.on('data', (part) => {
    stderr += part
  })
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, stdout, stderr }
}

const LOCAL = [
  '--host',
  '127.0.0.1',
  '--udp-port',
  '0',
  '--http-port',
  '0',
  '--control-port',
  '0',
  '--health-port',
  '0',
  '--memory',
  '16MiB',
]

/** A tracker on free ports; resolves when it answers. */
async function tracker(t: TestContext, dataDir: string, ...more: string[]) {
  const args = [SKEP, 'tracker', ...LOCAL, '--data-dir', dataDir, '--log-format', 'json', ...more]
  const child = spawn(process.execPath, args, { env: bareEnvironment() })
  t.after(() => child.kill('SIGKILL'))
  const lines: Record<string, unknown>[] = []
  const end = ended(child)
  let look = (): void => {}
  createInterface({ input: child.stdout! }).on('line', (line) => {
    lines.push(JSON.parse(line))
    look()
  })
  /** The first line that says so, now or later. */
  const line = (pattern: RegExp): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      const before = look
      look = () => {
        before()
        const found = lines.find(({ msg }) => pattern.test(String(msg)))
        if (found !== undefined) resolve(found)
      }
      look()
      void end.then(({ stderr }) =>
        reject(new Error(`ended without ${pattern}: ${JSON.stringify(lines)} ${stderr}`)),
      )
    })
  const ports = (await line(/^answering$/)) as Record<'udp' | 'http' | 'control' | 'health', number>
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${ports.http}${path}`)
    return { status: response.status, text: await response.text() }
  }
  const ctl = (...args: string[]) =>
    ctlHere([...args, '--data-dir', dataDir, '--control-port', String(ports.control)])
  return { child, end, line, ports, get, ctl }
}

const announce = (port: number, event = 'started'): string =>
  `/announce?info_hash=${HASH.replace(/../g, '%$&')}&peer_id=-XX0000-000000000001&port=${port}&left=0&event=${event}&compact=1`

test('a tracker answers, keeps what it answered through a stop, and ends with 0', async (t) => {
  const dataDir = join(folder(t), 'a', 'b')
  const first = await tracker(t, dataDir)
  assert.equal((await first.get('/livez')).status, 200)
  assert.equal((await first.get('/readyz')).status, 200)
  assert.match((await first.get(announce(7001))).text, /8:completei1e/)
  assert.equal(statSync(join(dataDir, 'network.key')).mode & 0o777, 0o600)
  first.child.kill('SIGTERM')
  assert.equal((await first.end).code, 0)

  const second = await tracker(t, dataDir)
  assert.match((await second.get(announce(7002))).text, /8:completei2e/)
  const stats = JSON.parse((await second.get('/stats')).text)
  assert.deepEqual([stats.role, stats.members, stats.torrents, stats.peers], ['leader', 1, 1, 2])
  assert.ok(stats.answers >= 1)
  assert.match((await second.get('/metrics')).text, /^skep_peers\{family="ipv4"\} 2$/m)
  second.child.kill('SIGINT')
  assert.equal((await second.end).code, 0)
})

test('ctl: status, settings, access lists, snapshot, doctor, stop --purge', async (t) => {
  const dataDir = folder(t)
  const { get, ctl, end } = await tracker(t, dataDir)
  assert.match((await ctl('status')).stdout, /^state +serving$/m)
  const status = JSON.parse((await ctl('status', '--json')).stdout)
  assert.deepEqual([status.state, status.raft.role], ['STATE_SERVING', 'ROLE_LEADER'])

  assert.match((await ctl('settings', 'set', 'interval=20m', 'numwant-max=100')).stdout, /^interval +20m$/m)
  assert.equal(JSON.parse((await ctl('settings', '--json')).stdout).numwantMax, 100)
  assert.deepEqual(
    [(await ctl('settings', 'set', 'intervall=1m')).code, (await ctl('settings', 'set', 'interval=5h')).code],
    [64, 1],
  )

  assert.match(
    (await ctl('access', 'deny', 'add', `magnet:?xt=urn:btih:${HASH}`)).stdout,
    /in force: 1 entry, revision 1/,
  )
  assert.match((await get(announce(7001))).text, /failure reason/)
  assert.match((await ctl('access', 'deny', 'remove', HASH, '--revision', '7')).stderr, /revision 1/)
  assert.match((await ctl('access', 'deny', 'list')).stdout, new RegExp(`^${HASH}$`, 'm'))
  assert.equal((await ctl('access', 'deny', 'off')).code, 0)
  assert.match((await get(announce(7001))).text, /8:completei1e/)

  assert.match((await ctl('snapshot')).stdout, /snapshot at index \d+/)
  assert.match((await ctl('doctor')).stdout, /ok {4}replica r0 answers announces/)
  const foreign = join(dataDir, 'foreign.key')
  writeFileSync(foreign, 'x'.repeat(40))
  assert.match((await ctl('status', '--network-key-file', foreign)).stderr, /belongs to another cluster/)
  assert.equal((await ctl('stop', '--purge')).code, 0)
  assert.equal((await end).code, 0)
  assert.deepEqual(existsSync(join(dataDir, 'replica')) ? readdirSync(join(dataDir, 'replica')) : [], [])
  const gone = await ctl('status')
  assert.deepEqual([gone.code, /nothing answers/.test(gone.stderr)], [69, true])
})

test('a watched deny list takes effect at start and when it changes', async (t) => {
  const dataDir = folder(t)
  const list = join(dataDir, 'deny.txt')
  writeFileSync(list, `${HASH}\n`)
  const { get, line, ctl } = await tracker(t, dataDir, '--deny-list', list)
  await line(/--deny-list: list in force/)
  assert.match((await get(announce(7001))).text, /failure reason/)
  writeFileSync(list, 'no hash\n')
  await line(/line 1: "no hash" is not an info_hash/)
  assert.match((await ctl('access', 'deny', 'list')).stdout, new RegExp(HASH))
})

test('what cannot start says why, how to mend it, and ends with its code', async (t) => {
  const dataDir = folder(t)
  const { ports } = await tracker(t, dataDir)
  const other = join(dataDir, 'other')
  const start = (...args: string[]) =>
    skep(['tracker', ...LOCAL, '--data-dir', other, '--log-format', 'json', ...args])
  const cases = [
    [start('--udp-port', String(ports.udp)), 69, /UDP port \d+ of 127\.0\.0\.1 is taken.*--udp-port/],
    [start('--data-dir', dataDir), 74, /is in use by process/],
    [start('--data-dir', '/dev/null/x'), 74, /--data-dir names another one/],
    [start('--network-key-file', join(dataDir, 'none')), 64, /none: the file is not there/],
  ] as const
  for (const [end, expected, sentence] of cases) {
    const { code, stdout, stderr } = await end
    assert.equal(code, expected, stdout + stderr)
    assert.match(stdout, sentence)
  }
  for (const [port, sentence] of [
    ['http', /HTTP port \d+ of 127\.0\.0\.1 is taken.*--http-port/],
    ['health', /health port \d+ of 127\.0\.0\.1 is taken.*--health-port/],
    ['control', /control API port \d+ of 127\.0\.0\.1 is taken.*--control-port/],
  ] as const) {
    const { code, stdout } = await start(`--${port}-port`, String(ports[port]))
    assert.equal(code, 69)
    assert.match(stdout, sentence)
  }
})

test('a damaged log is refused with 74 and what to do', async (t) => {
  const dataDir = folder(t)
  const { child, end } = await tracker(t, dataDir)
  child.kill('SIGTERM')
  await end
  rmSync(join(dataDir, 'replica', 'mark'))
  rmSync(join(dataDir, 'replica', 'FORMAT'))
  const { code, stdout } = await skep(['tracker', ...LOCAL, '--data-dir', dataDir])
  assert.equal(code, 74)
  assert.match(stdout, /the log is damaged.*delete/)
})

test('skep start greets people with URLs to paste; --purge-on-stop leaves no log', async (t) => {
  const dataDir = folder(t)
  const args = [SKEP, 'start', ...LOCAL, '--data-dir', dataDir, '--purge-on-stop']
  const child = spawn(process.execPath, args, { env: bareEnvironment() })
  t.after(() => child.kill('SIGKILL'))
  child.stdout.on('data', (part) => String(part).includes('Ctrl-C stops it') && child.kill('SIGINT'))
  const { code, stdout } = await ended(child)
  assert.equal(code, 0)
  assert.match(stdout, /udp:\/\/127\.0\.0\.1:\d+\/announce\n +http:\/\/127\.0\.0\.1:\d+\/announce/)
  assert.match(stdout, /info +r0 stopped/)
  assert.deepEqual(readdirSync(join(dataDir, 'replica')), [])
})

test('help, version, completion and slips, for every command', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const commands = ['start', 'ctl', 'bench', 'completion']
  const helps = await Promise.all(commands.map((command) => skep([command, '--help'])))
  for (const [i, { code, stdout }] of helps.entries()) {
    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`Usage: skep ${commands[i]}`))
  }
  const told = await skep(['tracker', '--version'])
  assert.deepEqual([told.code, told.stdout.trim()], [0, version])
  const [top, slip, flag, variable] = await Promise.all([
    skep(['--help']),
    skep(['trakcer']),
    skep(['tracker', '--memroy', '1GiB']),
    skep(['tracker', '--print-config'], { SKEP_UDP_PROT: '1' }),
  ])
  assert.match(top.stdout, /Exit codes:\n +0 +done/)
  assert.deepEqual([slip.code, flag.code, variable.code], [64, 64, 64])
  assert.match(slip.stderr, /did you mean tracker/)
  assert.match(flag.stderr, /did you mean --memory/)
  assert.match(variable.stderr, /did you mean SKEP_UDP_PORT/)
})
