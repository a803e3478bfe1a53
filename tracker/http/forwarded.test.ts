// A proxy's word about who asks: what a client behind it gets, and whom the others are told of. Each case by
// both ways of a request.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeAnnounceReply, externalIpText } from '@skep/wire/http-tracker.ts'
import { announce, get, hash, query, scrape, setUp } from './client.case.ts'

const { port, front } = await setUp(null, { trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'] })

/** Headers that send a request the one way or the other. */
const WAYS = { plain: {}, general: { 'Content-Length': '0' } } as const

const unusable: readonly (readonly [string, Record<string, string | string[]>])[] = [
  ['no header at all', {}],
  ['an empty header', { 'X-Forwarded-For': '' }],
  ['unknown', { 'X-Forwarded-For': 'unknown' }],
  ['an obfuscated name', { 'X-Forwarded-For': '_hidden' }],
  ['unknown behind an address', { 'X-Forwarded-For': '8.8.8.8, unknown' }],
  ['unknown behind an address, in two headers', { 'X-Forwarded-For': ['8.8.8.8', 'unknown'] }],
  ['unknown before a trusted hop', { 'X-Forwarded-For': '8.8.8.8, unknown, 10.1.1.1' }],
  ['nothing behind an address', { 'X-Forwarded-For': '8.8.8.8, ' }],
  ['a name', { 'X-Forwarded-For': 'client.example' }],
  ['a port that is none', { 'X-Forwarded-For': '8.8.8.8:port' }],
  ['brackets that hold something else', { 'X-Forwarded-For': '[8.8.8.8]' }],
  ['text behind brackets', { 'X-Forwarded-For': '[2606:4700::1]x' }],
  ['another header that nobody reads', { Forwarded: 'for=8.8.8.8', 'X-Real-IP': '8.8.8.8' }],
]
for (const [way, headers] of Object.entries(WAYS)) {
  for (const [name, forwarded] of unusable)
    test(`${way}: ${name}: nobody becomes a peer, and the client hears why`, async () => {
      const infoHash = hash(40)
      for (const claim of ['', '&ip=9.9.9.9', '&ipv4=9.9.9.9', '&ipv6=2606:4700::9']) {
        const options = { headers: { ...headers, ...forwarded } as Record<string, string> }
        const { status, body } = await get(port, `/announce?${query(1, { infoHash })}${claim}`, options)
        const reply = decodeAnnounceReply(body)
        assert.equal(status, 200)
        assert(reply.kind === 'failure', JSON.stringify(reply))
        assert.match(reply.reason, /proxy .*X-Forwarded-For/)
      }
      assert.deepEqual((await scrape(port, infoHash)).files.get('28'.repeat(20)), {
        complete: 0,
        downloaded: 0,
        incomplete: 0,
      })
    })

  test(`${way}: counts need no address: a scrape through a silent proxy is answered`, async () => {
    const { status } = await get(port, `/scrape?info_hash=${'%28'.repeat(20)}`, { headers })
    assert.equal(status, 200)
  })

  const usable: readonly (readonly [string, string | string[], string])[] = [
    ['one address', '8.8.4.4', '8.8.4.4'],
    ['what the client claims is left of it', '1.1.1.1, 8.8.4.4', '8.8.4.4'],
    ['what the client claims may be rubbish', 'unknown, <x>, 8.8.4.4, 10.1.1.1', '8.8.4.4'],
    ['several headers', ['1.1.1.1', '8.8.4.4', '10.1.1.1'], '8.8.4.4'],
    ['a port', '8.8.4.4:1234', '8.8.4.4'],
    ['IPv6', '2606:4700::1', '2606:4700::1'],
    ['IPv6 with a port', '[2606:4700::1]:1234', '2606:4700::1'],
  ]
  for (const [name, value, peer] of usable)
    test(`${way}: ${name}: the client is the peer, whatever its query says`, async () => {
      const wish = { infoHash: hash(41), numwant: 0 }
      const options = { headers: { ...headers, 'X-Forwarded-For': value } as Record<string, string> }
      const reply = await announce({ port }, 1, wish, options)
      assert.equal(externalIpText(reply.externalIp!), peer)
      const claimed = await get(port, `/announce?${query(1, wish)}&ip=9.9.9.9&ipv6=2606:4700::9`, options)
      const second = decodeAnnounceReply(claimed.body)
      assert(second.kind === 'announce')
      assert.equal(externalIpText(second.externalIp!), peer)
    })
}

test('what proxies did not say is counted', () => {
  assert.equal(front.counters().refusedForwarded, Object.keys(WAYS).length * unusable.length * 4)
})
