// kill -9 at any moment: every answered join is there after the restart.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { withDir } from './front-end.case.ts'

/**
 * One life: runs until it has printed `lines` answers, then it is killed. Returns what it found and what it
 * answered.
 */
const life = async (dir: string, lines: number): Promise<{ found: number; answered: number }> => {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'kill.case.ts'), dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let found = -1
  let answered = 0
  let seen = 0
  for await (const line of createInterface(child.stdout)) {
    const [what, count] = line.split(' ')
    if (what === 'found') found = Number(count)
    else {
      answered = Number(count)
      if (++seen === lines) child.kill('SIGKILL')
    }
  }
  return { found, answered }
}

test('kill -9 under load, again and again: no answered join is forgotten', () =>
  withDir(async (dir) => {
    let promised = 0
    for (const lines of [1, 30, 7, 90, 2]) {
      const { found, answered } = await life(dir, lines)
      assert.ok(found >= promised, `${found} peers after ${promised} were answered`)
      promised = Math.max(found, answered)
    }
    assert.ok(promised > 500)
  }))
