// Tokens and names of network keys, as the operator and the replicas both make them.

import assert from 'node:assert/strict'
import { hkdfSync } from 'node:crypto'
import { test } from 'node:test'
import * as wire from '@skep/wire/network-key.ts'
import { controlToken, networkKeyName } from './network-key.ts'

test('tokens and names of keys are those that the operator makes', () => {
  for (const key of ['o'.repeat(40), 'n'.repeat(40), '0123456789abcdef0123456789abcdef']) {
    assert.equal(controlToken(key), wire.controlToken(key, hkdfSync))
    assert.equal(networkKeyName(key), wire.networkKeyName(key, hkdfSync))
  }
})
