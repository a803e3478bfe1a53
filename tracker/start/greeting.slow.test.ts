// What a person sees of `skep start`: what it does before it is done, which announce URLs are of no use from
// here, and that announces are refused.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { newCommand } from '@skep/cli/command.ts'
import { addConfigFlags, configOf } from '../config/table.ts'
import { announce, folder, get, LOCAL, skep } from './process.case.ts'

test('npm start says at once what it does, marks URLs that are refused from here, and tells of refusals', async (t) => {
  const dataDir = join(folder(t), 'data')
  const args = ['start', ...LOCAL.filter((flag) => !/log-format/.test(flag)), `--data-dir=${dataDir}`]
  const { child, said, ended, text } = skep(t, [...args, '--allow-private=off'])
  await said(/Ctrl-C stops it/)
  assert.match(text(), /^skep: starting r0: a new tracker, alone, without torrents; its data go to .*data/)
  const why = '127\\.0\\.0\\.1 is private, and private peers are not taken here'
  const urls = text().match(
    new RegExp(`^ +(udp|http)://127.* +\\(clients at this address are refused: ${why}\\)$`, 'gm'),
  )
  assert.equal(urls?.length, 2, text())
  const port = /http:\/\/127\.0\.0\.1:(\d+)\/announce/.exec(text())![1]
  assert.match((await get(port, announce(7001))).text, new RegExp(why))
  await said(/announces are refused for the address they come from/)
  child.kill('SIGTERM')
  assert.equal((await ended).code, 0)

  const again = skep(t, args)
  await again.said(/Ctrl-C stops it/)
  assert.match(again.text(), /^skep: starting r0 with what it knew in .*data/)
})

test('a bare --allow-private means on, --no-allow-private off', () => {
  for (const [flags, value] of [
    [['--allow-private'], 'on'],
    [['--no-allow-private'], 'off'],
    [['--allow-private', 'auto'], 'auto'],
    [[], 'auto'],
  ] as const) {
    const command = addConfigFlags(newCommand('skep start', '')).parse(flags, { from: 'user' })
    assert.equal(configOf(command, {}).config.allowPrivate, value)
  }
})
