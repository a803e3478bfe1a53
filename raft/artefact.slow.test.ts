// The committed core is what its sources give: built again where that very Go is at hand, and compared byte
// by byte.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { coreBytes } from './artefact.ts'

const folder = fileURLToPath(new URL('./core/', import.meta.url))
const wanted = `go${/^go (\S+)$/m.exec(readFileSync(join(folder, 'go.mod'), 'utf8'))![1]}`

const go = (args: string[]): string =>
  execFileSync('go', args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: 'pipe',
    env: { ...process.env, GOTOOLCHAIN: 'local' },
  })

/** Why this machine cannot build the core, or false. */
const unable = (): string | false => {
  let version: string
  try {
    version = go(['env', 'GOVERSION']).trim()
  } catch {
    return 'no Go here, or not the one of go.mod'
  }
  if (version !== wanted) return `Go is ${version}, the core is built with ${wanted}`
  try {
    go(['mod', 'download'])
  } catch {
    return 'the Go modules are not to be had'
  }
  return false
}

const skip = unable()

test('the committed core is built from these sources', { skip }, () => {
  const out = mkdtempSync(join(tmpdir(), 'core-'))
  try {
    const file = join(out, 'raft.wasm')
    execFileSync(join(folder, 'build.sh'), [file], { stdio: 'pipe' })
    const built = readFileSync(file)
    const committed = coreBytes()
    assert.ok(
      built.equals(committed),
      `${built.length} bytes built, ${committed.length} committed: run core/build.sh`,
    )
  } finally {
    rmSync(out, { recursive: true })
  }
})

test('its storage passes its own tests', { skip }, () => {
  assert.match(go(['test', './...']), /^ok/)
})
