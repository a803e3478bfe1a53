// What is printed to be pasted comes back from a shell as the same words.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { shellWord, shellWords, skepCommand } from './paste.ts'

const WORDS = [
  ...['plain', '--data-dir=/var/lib/skep', 'with blanks', "it's", '"both" \'sorts\'', '', '$HOME', '`id`'],
  ...['a\\b', '*', '~', '[::1]:5560', '!x', 'a;b|c&d', '<in>', '#no', 'ümlaut', '\t'],
]

test('a shell reads back the words that were printed, blanks and quotes included', {
  skip: process.platform === 'win32' && 'no POSIX shell',
}, () => {
  const script = `for w in ${shellWords(WORDS)}; do printf '%s\\0' "$w"; done`
  const { stdout } = spawnSync('sh', ['-c', script], { encoding: 'utf8' })
  assert.deepEqual(stdout.split('\0').slice(0, -1), WORDS)
})

test('what needs no quotes has none', () => {
  assert.equal(shellWord('--join=10.0.0.1:5560,r1.example:5560'), '--join=10.0.0.1:5560,r1.example:5560')
})

test('under npm the command is npx skep, else it was installed', () => {
  assert.equal(skepCommand({ npm_command: 'run-script' }), 'npx skep')
  assert.equal(skepCommand({}), 'skep')
})
