// Told to stop while it starts: at each moment from the first line of the program to the first answer, alone
// and as a cluster. What a supervisor or a person sees is an end in good order, and nothing after it.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { answering, folder, freeStep, LOCAL, type Skep, skep } from './process.case.ts'

const LINUX = existsSync('/proc/self/status') ? {} : { skip: '/proc tells how far a process has come' }
/** SIGHUP's bit among the signals that a process catches: the last that we listen to, and Node does not. */
const HANGUP_BIT = 1n

const proc = (pid: number, path: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${path}`, 'utf8')
  } catch {
    return ''
  }
}

/** How far a start has come, each by what can be seen of it from outside. */
const MOMENTS: Readonly<Record<string, (pid: number, dataDir: string) => boolean>> = {
  'it hears signals': (pid) =>
    (BigInt(`0x${/^SigCgt:\s*(\w+)/m.exec(proc(pid, 'status'))?.[1] ?? '0'}`) & HANGUP_BIT) !== 0n,
  'it knows its name': (pid) => proc(pid, 'cmdline').startsWith('skep r'),
  'its replica thread runs': (pid) =>
    readdirSync(`/proc/${pid}/task`).some((task) => proc(pid, `task/${task}/comm`) === 'replica\n'),
  'its log is open': (pid, dataDir) => {
    const owner = join(dataDir, 'replica', 'owner')
    return existsSync(owner) && readFileSync(owner, 'utf8').startsWith(`process ${pid} `)
  },
}

async function stopAt({ child, ended, text }: Skep, dataDir: string, moment: string): Promise<void> {
  const come = MOMENTS[moment]!
  while (child.exitCode === null && !come(child.pid!, dataDir)) await new Promise(setImmediate)
  child.kill('SIGTERM')
  const { code, signal } = await ended
  assert.deepEqual([code, signal], [0, null], `${moment}: ${text()}`)
  assert.match(text(), /"msg":"stopped"\}\n$/, moment)
  assert.doesNotMatch(text(), /report this|"level":"(warn|error|fatal)"/, moment)
}

for (const [what, data] of [
  ['an empty folder', false],
  ['a folder with data', true],
] as const)
  test(`SIGTERM while it starts on ${what}: 0, "stopped", and no greeting after it`, LINUX, async (t) => {
    const dataDir = join(folder(t), 'data')
    if (data) {
      const { child, ended } = await answering(t, dataDir)
      child.kill('SIGTERM')
      await ended
    }
    for (const moment of Object.keys(MOMENTS)) {
      const started = skep(t, ['tracker', ...LOCAL, `--data-dir=${dataDir}`])
      await stopAt(started, dataDir, moment)
      assert.doesNotMatch(started.text(), /"msg":"answering"\}\n(?!.*"stopping")/, moment)
    }
  })

test(
  'Ctrl-C while a cluster starts: 0, "stopped", no announce URLs, and no replica is left',
  LINUX,
  async (t) => {
    const dataDir = folder(t)
    const args = [
      'start',
      '--replicas=3',
      ...LOCAL,
      `--replica-port=${await freeStep()}`,
      `--data-dir=${dataDir}`,
    ]
    const { child, ended, text, said } = skep(t, args)
    await said(/starting 3 replicas/)
    child.kill('SIGINT')
    const { code } = await ended
    assert.equal(code, 0, text())
    assert.match(text(), /skep: stopped\n$/)
    assert.doesNotMatch(text(), /Announce URLs|report this|"level":"(error|fatal)"|could not start/)
  },
)
