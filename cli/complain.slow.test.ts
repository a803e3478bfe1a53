// Every program as a person mistypes it: one form of what went wrong, with what to do, one custom of exit
// codes, and help that fits a terminal.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bareEnvironment } from '@skep/testing/environment.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PROGRAMS: Readonly<Record<string, string>> = {
  skep: 'skep.ts',
  'kubectl skep': 'operator/plugin/plugin.ts',
  'npm run bench': 'load/bench.ts',
  'npm run bench:cluster': 'load/bench-cluster.ts',
}
const COLUMNS = 100

type Ran = {
  readonly line: string
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

function run(line: string): Promise<Ran> {
  const names = Object.keys(PROGRAMS).sort((a, b) => b.length - a.length)
  const name = names.find((one) => line === one || line.startsWith(`${one} `))!
  const words = line
    .slice(name.length)
    .split(' ')
    .filter((word) => word !== '')
  // No kubectl, no cluster, no folder of anybody.
  const env = bareEnvironment({ PATH: '/nowhere', HOME: '/nowhere', KUBECTL: '/nowhere/kubectl' })
  return new Promise((resolve) => {
    const args = [join(ROOT, PROGRAMS[name]!), ...words]
    execFile(process.execPath, args, { encoding: 'utf8', env }, (error, stdout, stderr) =>
      resolve({ line, status: Number(error?.code ?? 0), stdout, stderr }),
    )
  })
}

/** As many at once as there are cores. */
async function runAll(lines: readonly string[]): Promise<Ran[]> {
  const left = lines.entries()
  const ran: Ran[] = []
  const one = async (): Promise<void> => {
    for (const [i, line] of left) ran[i] = await run(line)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, one))
  return ran
}

test('whatever is wrong is said in one form, with what to do, and ends with a code that says of which sort it is', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'skep-complain-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const server = createServer()
  const closed = await new Promise<number>((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    }),
  )
  const key = join(folder, 'key')
  writeFileSync(key, `${'0123456789abcdef'.repeat(4)}\n`)
  const asked = `--control-port=${closed} --network-key-file=${key}`
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ['skep nonsense', 64, /unknown command 'nonsense'; skep --help/],
    ['skep statr', 64, /\(did you mean start\?\); skep --help/i],
    ['skep start --nonsense', 64, /unknown option '--nonsense'; skep start --help/],
    ['skep tracker --udp-port=abc', 64, /--udp-port is "abc": it must be a port/],
    ['skep tracker extra', 64, /too many arguments.*; skep tracker --help/],
    [`skep start --config=${folder}/none`, 64, /--config .*none: the file is not there/],
    [`skep start --config=${folder}`, 64, /--config .*: it is a folder/],
    ['skep start --replicas 0', 64, /it must be a whole number from 1 to 9/],
    [
      `skep start --replicas 3 --data-dir=${folder}/d --network-key-file=${folder}/none`,
      64,
      /none: the file/,
    ],
    ['skep announce', 64, /missing required argument 'url'; skep announce --help/],
    ['skep announce foo', 64, /foo is no URL: udp:\/\/host:port/],
    ['skep announce --patience x udp://127.0.0.1:1', 64, /seconds, at most 600; skep announce --help/],
    ['skep ctl nonsense', 64, /unknown command 'nonsense'; skep ctl --help/],
    ['skep ctl status --nonsense', 64, /unknown option '--nonsense'; skep ctl --help/],
    [`skep ctl status --data-dir=${folder}/none`, 1, /the file is not there.* --network-key-file/],
    [
      `skep ctl status --network-key-file=${folder}`,
      1,
      /it is a folder, and only files are read.*--data-dir/,
    ],
    [`skep ctl status ${asked}`, 69, /nothing answers at .*--control-host and --control-port say where/],
    [`skep ctl access deny list ${asked}`, 69, /nothing answers at .*--control-port say where/],
    [`skep ctl snapshot check ${folder}/none`, 74, /none: the file is not there/],
    [`skep ctl snapshot check ${key}`, 1, /key: /],
    [`skep ctl recover --data-dir=${folder}/none`, 1, /there is no data of a replica .*--data-dir names it/],
    ['skep operator --nonsense', 64, /unknown option '--nonsense'; skep operator --help/],
    ['skep operator backup-run', 64, /operator backup-run: --folder, .* are needed/],
    ['skep operator backup-run --nonsense', 64, /Unknown option '--nonsense'.*; skep operator --help/],
    ['skep operator crds', 64, /operator crds needs --folder/],
    ['skep bench nonsense', 64, /unknown command 'nonsense'; skep bench --help/],
    ['skep bench udp', 64, /missing required argument 'target'; skep bench udp --help/],
    ['skep bench udp foo', 64, /foo names no port: .*host:port/],
    ['skep bench udp 192.0.2.1:6969', 64, /is not this machine.*--i-own-this-tracker/],
    ['skep completion tcsh', 64, /completion is there for bash, zsh, fish, not for tcsh/],
    ['kubectl skep nonsense', 64, /no command nonsense, there are status.*; kubectl skep --help/],
    ['kubectl skep status --nonsense', 64, /Unknown option '--nonsense'.*; kubectl skep --help/],
    ['kubectl skep transfer', 64, /transfer needs the name of the cluster; kubectl skep --help/],
    ['kubectl skep status', 1, /there is no \/nowhere\/kubectl: .*KUBECTL/],
    ['npm run bench --rows=nonsense', 64, /rows are hot.*; npm run bench -- --help/],
    ['npm run bench:cluster --nonsense', 64, /unknown option '--nonsense'; npm run bench:cluster -- --help/],
  ]
  const wrong: string[] = []
  for (const [i, { line, status, stdout, stderr }] of (await runAll(cases.map(([l]) => l))).entries()) {
    const [, code, sentence] = cases[i]!
    const form = line.startsWith('kubectl') ? /^kubectl skep: \S/ : /^skep: \S/
    const lines = stderr.trimEnd().split('\n')
    const good = status === code && stdout === '' && lines.every((one) => form.test(one))
    if (!good || !sentence.test(stderr)) wrong.push(`${line}: ${status} ${stdout}${stderr}`)
  }
  assert.deepEqual(wrong, [])
})

test('help fits into a terminal, and asking for nothing is asking for help', async () => {
  const lines = [
    ...['skep', 'skep --help', 'skep start --help', 'skep tracker --help', 'skep announce --help'],
    ...['skep ctl', 'skep ctl status --help', 'skep ctl announce-list --help', 'skep bench', 'kubectl skep'],
    ...['skep bench udp --help', 'skep operator --help', 'skep completion --help', 'kubectl skep --help'],
    ...['npm run bench --help', 'npm run bench:cluster --help'],
  ]
  const wide: string[] = []
  for (const { line, status, stdout, stderr } of await runAll(lines)) {
    assert.deepEqual([status, stderr], [0, ''], line)
    assert.match(stdout, /^Usage: /, line)
    wide.push(...stdout.split('\n').filter((one) => one.length > COLUMNS))
  }
  assert.deepEqual(wide, [])
})
