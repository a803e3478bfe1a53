import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { runCases } from '@skep/testing/datadriven.ts'
import { makeCluster } from './sim/cluster.ts'

const testdata = new URL('./testdata/', import.meta.url)

for (const file of readdirSync(testdata)) {
  test(`cases of ${file}`, async () => {
    const cluster = await makeCluster(1)
    await runCases(new URL(file, testdata), cluster.run)
  })
}

test('placeholder', () => assert.ok(true))
