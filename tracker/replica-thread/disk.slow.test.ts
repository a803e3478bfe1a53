// A disk that is really full: a small file system of our own, filled up under a running replica.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { APPLIED, REFUSED } from '../threads/outcome.ts'
import { seeders, started } from './front-end.case.ts'

/** Null where we may not mount. */
const smallDisk = (): { dir: string; remove(): void } | null => {
  const dir = mkdtempSync(join(tmpdir(), 'skep-small-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', dir], { stdio: 'ignore' })
  } catch {
    rmSync(dir, { recursive: true })
    return null
  }
  return {
    dir,
    remove: () => {
      execFileSync('umount', ['-l', dir])
      rmSync(dir, { recursive: true })
    },
  }
}

const fill = (ballast: string): void => {
  const { bavail, bsize } = statfsSync(dirname(ballast))
  writeFileSync(ballast, Buffer.alloc(bavail * bsize))
}

for (const logStore of ['classic-level', 'lmdb'] as const)
  test(`${logStore}: a full disk refuses changes, keeps answering, and takes them again when there is room`, async (t) => {
    const disk = smallDisk()
    if (disk === null) return t.skip('mounting a small file system needs root')
    try {
      const { handle, front, control } = await started(disk.dir, { logStore })
      for (const [, , outcome] of await front.join(1, 0, 100)) assert.equal(outcome, APPLIED)
      const ballast = join(disk.dir, 'ballast')
      fill(ballast)
      let refused = 0
      let asked = 100
      // What still fits is taken; then everything is refused, soon after it came.
      for (; refused < 200; asked += 100)
        for (const [, count, outcome] of await front.join(1, asked, 100))
          if (outcome !== APPLIED) {
            // The batch that met the full disk was appended: its fate is open until the disk is mended.
            if (outcome === REFUSED) refused += count!
          }
      const full = await handle.status()
      assert.ok(full.diskFull)
      assert.match(full.diskError, /full/)
      assert.ok(control.diskFull)
      assert.ok(control.mayAnswer(1e15), 'refreshes are still answered')
      assert.equal(await handle.propose(new Uint8Array(16)), 'refused')
      rmSync(ballast)
      while ((await handle.status()).diskFull) await new Promise((resolve) => setImmediate(resolve))
      for (const [, , outcome] of await front.join(2, 0, 100)) assert.equal(outcome, APPLIED)
      const one = seeders(handle, 1)
      await handle.stop({ purge: false })
      const again = await started(disk.dir, { logStore })
      assert.deepEqual([seeders(again.handle, 1), seeders(again.handle, 2)], [one, 100])
      // Stopping while the disk is full is no failure either.
      fill(ballast)
      await again.handle.stop({ purge: false })
    } finally {
      disk.remove()
    }
  })
