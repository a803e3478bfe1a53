// What a person sees of `skep start`: what it does before it is done, which announce URLs are of no use from
// here, and that announces are refused.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { newCommand } from '@skep/cli/command.ts'
import { addConfigFlags, configOf } from '../config/table.ts'
import { announce, folder, get, LOCAL, skep } from './process.case.ts'
import { clusterWelcome } from './welcome.ts'

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
  // Refused by UDP alone: the warning grows from both.
  const asked = skep(t, ['announce', /udp:\/\/127\.0\.0\.1:\d+\/announce/.exec(text())![0]])
  assert.equal((await asked.ended).code, 1)
  assert.match(asked.text(), new RegExp(why))
  await said(/announces are refused for the address they come from/)
  assert.match((await get(port, announce(7001))).text, new RegExp(why))
  child.kill('SIGTERM')
  assert.equal((await ended).code, 0)

  const again = skep(t, args)
  await again.said(/Ctrl-C stops it/)
  assert.match(again.text(), /^skep: starting r0 with what it knew in .*data/)
})

test('a cluster marks its URLs in the same words, and leaves out other addresses that it would refuse', () => {
  const command = addConfigFlags(newCommand('skep start', '')).parse([], { from: 'user' })
  const { config } = configOf(command, {})
  const greeting = (hosts: string[], allowPrivate: 'off' | 'auto'): string => {
    const row = { pid: 1, udp: 6969, http: 8168, control: 8169, replicaPort: 5560, dataDir: 'd', hosts }
    return clusterWelcome([{ ...row, name: 'r0', allowPrivate }], config, 'key')
  }
  const marked =
    /^ +(udp|http):.*announce +\(clients at this address are refused: 10\.0\.0\.1 is private, and private/gm
  const hosts = ['10.0.0.1', '10.0.0.2', '5.6.7.8']
  assert.equal(greeting(hosts, 'off').match(marked)?.length, 2)
  assert.match(greeting(hosts, 'off'), /next tier; also at 5\.6\.7\.8\./)
  assert.doesNotMatch(greeting(hosts, 'auto'), /refused/)
  assert.match(greeting(hosts, 'auto'), /also at 10\.0\.0\.2, 5\.6\.7\.8\./)
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
