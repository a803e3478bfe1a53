// gen/ is what the .proto files say: by digest always, by making it again where buf is on the PATH.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Cluster } from './gen/skep/cluster/v1/cluster_pb.js'
import { Tracker } from './gen/skep/tracker/v1/tracker_pb.js'
import { sources } from './generate.ts'

const HERE = fileURLToPath(new URL('.', import.meta.url))

test('gen/ was made from these .proto files (npm run generate)', () => {
  assert.equal(readFileSync(join(HERE, 'gen/SOURCES'), 'utf8'), sources())
})

for (const [service, name, file] of [
  [Cluster, 'skep.cluster.v1.Cluster', 'skep/cluster/v1/cluster.proto'],
  [Tracker, 'skep.tracker.v1.Tracker', 'skep/tracker/v1/tracker.proto'],
] as const)
  test(`the service ${name} is there under the name that clients use`, () => {
    assert.equal(service.typeName, name)
    const proto = readFileSync(join(HERE, file), 'utf8')
    const named = [...proto.matchAll(/^ {2}rpc (\w+)\(/gm)].map((match) => match[1])
    assert.deepEqual(
      service.methods.map((method) => method.name),
      named,
    )
  })

const tools = ['buf', 'protoc-gen-es'].every((tool) => spawnSync(tool, ['--version']).status === 0)

test('making it again gives the same bytes', {
  skip: tools ? false : 'buf or protoc-gen-es is not on the PATH',
}, () => {
  const out = mkdtempSync(join(tmpdir(), 'skep-proto-'))
  try {
    const { status, stderr } = spawnSync('buf', ['generate', '--path', 'skep', '-o', out], {
      cwd: HERE,
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
    const files = readdirSync(join(out, 'gen'), { recursive: true, encoding: 'utf8' }).filter((file) =>
      /\.(js|d\.ts)$/.test(file),
    )
    assert.ok(files.length > 0)
    for (const file of files)
      assert.equal(
        readFileSync(join(out, 'gen', file), 'utf8'),
        readFileSync(join(HERE, 'gen', file), 'utf8'),
        file,
      )
  } finally {
    rmSync(out, { recursive: true })
  }
})
