// One whole process as a service manager runs it: it answers, is stopped, and has kept what it answered. All
// else about real processes is in *.slow.test.ts.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bareEnvironment } from '@skep/testing/environment.ts'

const SKEP = fileURLToPath(new URL('../../skep.ts', import.meta.url))
const ANNOUNCE = '/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&left=0&event=started&compact=1'

test('what a tracker answered is there after it was stopped and started again', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'skep-restart-'))
  t.after(() => rmSync(dataDir, { recursive: true, force: true }))
  const ports = ['udp', 'http', 'control', 'health'].flatMap((port) => [`--${port}-port`, '0'])
  const args = ['tracker', '--data-dir', dataDir, '--host', '127.0.0.1', ...ports, '--memory', '16MiB']
  for (const [port, seeders] of [
    [7001, 1],
    [7002, 2],
  ] as const) {
    const command = [SKEP, ...args, '--log-format', 'json']
    const child = spawn(process.execPath, command, {
      env: bareEnvironment(),
      stdio: ['ignore', 'pipe', 2],
    })
    t.after(() => child.kill('SIGKILL'))
    let http = 0
    for await (const line of createInterface({ input: child.stdout! })) {
      const said = JSON.parse(line) as { msg: string; http: number }
      if (said.msg === 'answering') {
        http = said.http
        break
      }
    }
    const peer = `&peer_id=-XX0000-00000000${port}&port=${port}`
    const answer = await fetch(`http://127.0.0.1:${http}${ANNOUNCE}${peer}`)
    assert.match(await answer.text(), new RegExp(`8:completei${seeders}e`))
    const end = once(child, 'exit')
    child.kill('SIGTERM')
    assert.equal((await end)[0], 0)
  }
})
