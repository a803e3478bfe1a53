// A pass must know that its caches have not seen yet what the operator wrote last; and must not wait for
// ever.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Api, KubeObject } from '../model/ports.ts'
import { newWritten } from './written.ts'

const set = (version: string, more: object = {}): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 'demo', namespace: 'ns', uid: 'u-1', resourceVersion: version, ...more },
})
const showing = (object: KubeObject | null): Pick<Api, 'cached'> => ({ cached: () => object })

test('behind until the cache shows what was written, or something newer', () => {
  const written = newWritten()
  written.wrote(set('9'), 0)
  assert.equal(written.behind(showing(null), 1), 'StatefulSet demo')
  assert.equal(written.behind(showing(set('8')), 1), 'StatefulSet demo')
  assert.equal(written.behind(showing(set('10')), 1), null)
  // Once seen, never waited for again.
  assert.equal(written.behind(showing(null), 1), null)
})

test('behind until what was deleted is gone, or on its way', () => {
  const written = newWritten()
  written.deleted('StatefulSet', 'ns', 'demo', 'u-1', 0)
  assert.equal(written.behind(showing(set('8')), 1), 'StatefulSet demo')
  assert.equal(written.behind(showing(set('8', { deletionTimestamp: 'now' })), 1), null)
  written.deleted('StatefulSet', 'ns', 'demo', 'u-1', 0)
  assert.equal(written.behind(showing(set('12', { uid: 'u-2' })), 1), null)
})

test('whoever undid it meanwhile does not hold everything up', () => {
  const written = newWritten()
  written.wrote(set('9'), 0)
  assert.equal(written.behind(showing(null), 29_000), 'StatefulSet demo')
  assert.equal(written.behind(showing(null), 31_000), null)
})
