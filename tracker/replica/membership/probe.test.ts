// What an empty replica learns of those it asks.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CLUSTER, KEY, OTHER_KEY, ring, withMembers } from '../transport/transport.case.ts'
import { AskFailed, ask, askMember } from './probe.ts'

const by = (...keys: string[]) => ({ security: ring(...keys), now: () => performance.now() })

test('members, the empty, the silent and those with another key are told apart', () =>
  withMembers(
    [
      {},
      { self: { clusterId: '', id: 0, name: 'r2', level: 1, incarnation: 0 } },
      { security: ring(OTHER_KEY) },
    ],
    async (member, empty, stranger) => {
      assert.deepEqual(await askMember(member!.address, by(KEY)), {
        kind: 'member',
        clusterId: CLUSTER,
        id: 1,
        name: 'r1',
      })
      assert.deepEqual(await askMember(empty!.address, by(KEY)), { kind: 'empty' })
      assert.deepEqual(await askMember(stranger!.address, by(KEY)), { kind: 'wrong key' })
      assert.equal((await askMember(stranger!.address, by(KEY, OTHER_KEY))).kind, 'member')
      const nobody = await askMember({ host: '127.0.0.1', port: 1 }, by(KEY))
      assert.deepEqual(nobody, { kind: 'silent', reason: 'nobody listens at 127.0.0.1:1' })
      const nowhere = { host: 'nowhere.invalid', port: 1 }
      const notFound = Object.assign(new Error('not found'), { code: 'ENOTFOUND' })
      const lookup = (_n: string, _o: unknown, done: (e: Error, a: never) => void): void =>
        done(notFound, [] as never)
      assert.deepEqual(await askMember(nowhere, { ...by(KEY), lookup: lookup as never }), {
        kind: 'silent',
        reason: 'no address for the name nowhere.invalid',
      })
    },
    true,
  ))

test('other questions are answered by the owner', () =>
  withMembers([{}], async (a) => {
    a!.answer = async (q) => Buffer.concat([Buffer.from('re: '), q])
    const large = new Uint8Array(60_000).fill(65)
    assert.equal((await ask(a!.address, large, by(KEY))).length, 60_004)
    await assert.rejects(ask(a!.address, new Uint8Array(70_000), by(KEY)), RangeError)
    a!.answer = () => Promise.reject(new Error('no'))
    await assert.rejects(ask(a!.address, large, by(KEY)), AskFailed)
    a!.answer = () => new Promise(() => {})
    await assert.rejects(ask(a!.address, large, { ...by(KEY), timeoutMs: 20 }), /no answer within 20 ms/)
  }))
