// The case runner on small files of its own: what it reads, what it reports, what it rewrites.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { type Case, integerOption, integersOption, parseCases, runCases } from './datadriven.ts'

let folder: string
let path: string
const rewrite = process.env.REWRITE

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cases-'))
  path = join(folder, 'cases.txt')
  delete process.env.REWRITE
})

afterEach(() => {
  rmSync(folder, { recursive: true })
  if (rewrite === undefined) delete process.env.REWRITE
  else process.env.REWRITE = rewrite
})

/** Adds up its input, keeping the sum from case to case; `echo` gives back its input. */
const adding = () => {
  let sum = 0
  return (c: Case): string => {
    if (c.command === 'echo') return c.input.replaceAll('_', '')
    sum += integerOption(c, 'n', 0) + integersOption(c, 'all').reduce((a, b) => a + b, 0) + c.seed
    return `${c.words.join(',')} ${sum}\n`
  }
}

const CASES = `# A comment
add x y n=3
----
x,y 3

# seed=10
add all=(1 2, 4)
----
 20

echo
one
_
two
----
----
one

two
----
----

# The end.
`

test('cases run in order and see their words, options, input and seed', async () => {
  writeFileSync(path, CASES)
  await runCases(path, adding())
})

test('a difference names file, line and both outputs', async () => {
  writeFileSync(path, CASES.replace(' 20', ' 21'))
  await assert.rejects(runCases(path, adding()), (e: Error) => {
    assert.ok(e.message.includes(`${path}:7: add`), e.message)
    assert.ok(e.message.includes('--- expected\n 21\n--- actual\n 20'), e.message)
    return true
  })
})

test('rewriting turns any outputs into the right ones and leaves the rest of the file alone', async () => {
  writeFileSync(
    path,
    CASES.replace('x,y 3', 'wrong\nlines').replace(' 20\n', '').replace('----\none\n\ntwo\n----\n----', '?'),
  )
  process.env.REWRITE = '1'
  await runCases(path, adding())
  assert.equal(readFileSync(path, 'utf8'), CASES)
})

test('a file that cannot be read back exactly is refused', () => {
  for (const [text, why] of [
    ['add n=1\n', /no ----/],
    ['add\ninput\n\n----\n1\n', /empty line in the input/],
    ['add\n----\n----\n1\n\n2\n', /does not end/],
  ] as const) {
    assert.throws(() => parseCases(text, 'x.txt'), why)
  }
})

test('options that are no integers are refused with their place', () => {
  const { blocks } = parseCases('add n=x all=(1 b)\n----\n', 'x.txt')
  assert.throws(() => integerOption(blocks[0]!.c, 'n'), /x\.txt:1: n must be an integer/)
  assert.throws(() => integerOption(blocks[0]!.c, 'missing'), /x\.txt:1: missing must be an integer/)
  assert.throws(() => integersOption(blocks[0]!.c, 'all'), /x\.txt:1: all must be a list of integers/)
})
