// Pages for people, as a browser and a program get them.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { get, setUp } from './client.case.ts'

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
const figures = {
  name: '<r0>',
  role: 'leader',
  members: 3,
  torrents: 12_345,
  peers: 67,
  intervalSeconds: 1800,
  uptimeSeconds: 90_061,
  warnings: ['the disk is <full> & "done"'],
  log: { bytes: 5_242_880, applied: 9 },
  udp: { parkedNow: 1, bad_magic: 2 },
}
let ready = { ok: true, reason: 'serving' }
const { port } = await setUp(null, { stats: () => figures, ready: () => ready })
const page = async (path: string, accept = BROWSER) => {
  const { status, headers, body } = await get(port, path, {
    headers: { Accept: accept, Host: 't.example:8168' },
  })
  return {
    status,
    type: headers['content-type'],
    policy: headers['content-security-policy'],
    text: body.toString(),
  }
}

test('the start page says how it stands, with numbers and what to put into a torrent', async () => {
  const { type, text } = await page('/')
  assert.equal(type, 'text/html; charset=utf-8')
  for (const part of ['It answers', 'leader', '12,345', '1 d 1 h', '30 min', 'udp://t.example:6969/announce'])
    assert(text.includes(part), part)
  ready = { ok: false, reason: 'no lease <yet>' }
  assert.match((await page('/')).text, /It does not answer.*no lease &#60;yet&#62;/)
  ready = { ok: true, reason: 'serving' }
})

test('/stats is a page in a browser and JSON for everybody else', async () => {
  const { type, text } = await page('/stats')
  assert.equal(type, 'text/html; charset=utf-8')
  for (const part of [
    'the disk is &#60;full&#62; &#38; &#34;done&#34;',
    '&#60;r0&#62;',
    '5.0 MiB',
    'parked now',
    'bad magic',
  ])
    assert(text.includes(part), part)
  for (const accept of ['*/*', 'application/json', 'application/json, text/html;q=0', 'text/htmlx', '']) {
    const program = await page('/stats', accept)
    assert.equal(program.type, 'application/json', accept)
    assert.deepEqual(JSON.parse(program.text), figures)
  }
})

test('pages need nothing from elsewhere, run nothing, and are nobody’s frame', async () => {
  for (const path of ['/', '/stats']) {
    const { text, policy } = await page(path)
    assert.doesNotMatch(text, /<script|<link|<img|<iframe|\son[a-z]+=|url\(|@import|src=/i)
    assert.match(text, /name="viewport"/)
    assert.match(text, /color-scheme: light dark/)
    assert.match(String(policy), /default-src 'none'.*frame-ancestors 'none'/)
  }
})

test('a replica that cannot tell its figures still says how to announce', async (t) => {
  const broken = await setUp(t, { stats: () => Promise.reject(new Error('gone')) })
  const { status, body } = await get(broken.port, '/')
  assert.equal(status, 200)
  assert.match(body.toString(), /\/announce/)
  assert.equal((await get(broken.port, '/stats')).status, 500)
})
