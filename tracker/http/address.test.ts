// Addresses of askers: textual forms, mapped IPv4, and who is believed about them.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Asker, parseAddress, TrustedNetworks } from './address.ts'

const hex = (asker: Asker | null) =>
  asker === null
    ? null
    : Buffer.from(asker.words.buffer)
        .toString('hex')
        .slice(0, asker.v6 ? 32 : 8)

const addresses: readonly (readonly [string, string | null])[] = [
  ['127.0.0.1', '7f000001'],
  ['::ffff:10.1.2.3', '0a010203'],
  ['::ffff:a01:203', '0a010203'],
  ['::1', `${'0'.repeat(31)}1`],
  ['2001:db8::7', '20010db8000000000000000000000007'],
  ['fe80::1%eth0', 'fe800000000000000000000000000001'],
  ['1.2.3', null],
  ['', null],
  ['localhost', null],
]
for (const [text, wanted] of addresses)
  test(`address ${text || '(empty)'}`, () => {
    assert.equal(hex(parseAddress(text)), wanted)
  })

test('the external ip is the address as a bencoded string', () => {
  assert.equal(parseAddress('65.66.67.68')!.externalIp, '4:ABCD')
  assert.equal(parseAddress('::ffff:65.66.67.68')!.externalIp, '4:ABCD')
})

test('what is no network is named when it is refused', () => {
  for (const bad of ['10.0.0.0/33', '10.0.0/8', 'proxy.example', '::/129', '1.2.3.4/', '1.2.3.4/x'])
    assert.throws(() => new TrustedNetworks([bad]), {
      name: 'RangeError',
      message: new RegExp(bad.replaceAll('.', '\\.')),
    })
})

const networks = new TrustedNetworks(['10.0.0.0/8', '2001:db8:1::/48', '192.0.2.7'])

test('networks of both families, single addresses and mapped addresses are known', () => {
  for (const inside of ['10.1.2.3', '::ffff:10.1.2.3', '2001:db8:1:2::3', '192.0.2.7'])
    assert(networks.has(inside), inside)
  for (const outside of ['11.1.2.3', '::ffff:11.1.2.3', '2001:db8:2::3', '192.0.2.8', 'x'])
    assert(!networks.has(outside), outside)
  assert(!new TrustedNetworks([]).has('10.1.2.3'))
})

const chains: readonly (readonly [string, string, string | null])[] = [
  ['one client', '198.51.100.4', 'c6336404'],
  ['what the client itself claims is left of its address', '1.1.1.1, 198.51.100.4', 'c6336404'],
  ['trusted hops are passed over', '1.1.1.1, 198.51.100.4, 10.9.9.9, 2001:db8:1::5', 'c6336404'],
  ['all hops trusted: the first', '10.2.2.2, 10.9.9.9', '0a020202'],
  ['a port', '198.51.100.4:5555', 'c6336404'],
  ['a port after IPv6', '[2001:db8:9::1]:5555', '20010db8000900000000000000000001'],
  ['a port that is none', '198.51.100.4:port', null],
  ['IPv4 in brackets', '[198.51.100.4]', null],
  ['text behind brackets', '[2001:db8:9::1]5555', null],
  ['nothing behind an address', '198.51.100.4,', null],
  ['no address at the end', '198.51.100.4, unknown', null],
  ['no address behind a trusted hop', 'unknown, 10.1.1.1', null],
  ['nothing', '', null],
]
for (const [name, header, wanted] of chains)
  test(`X-Forwarded-For: ${name}`, () => {
    assert.equal(hex(networks.client(header)), wanted)
  })
