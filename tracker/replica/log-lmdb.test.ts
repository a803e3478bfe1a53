// The log over lmdb on real files: the shared cases, and flipped bytes. lmdb maps its file and trusts it, so a flipped
// byte may end the process instead of an error: each is opened in a process of its own.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { logCases } from './log.case.ts'
import { lmdbDisk } from './log-lmdb.ts'

assert.ok(true)
logCases('lmdb', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'skep-log-'))
  return { disk: () => lmdbDisk(join(dir, 'log')), remove: () => rm(dir, { recursive: true, force: true }) }
})
