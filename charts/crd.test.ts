// The custom resource definitions: made from the operator's types, defaults as the operator fills them in.
// What a real API server makes of them: kube/crd.kube.ts.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { settle } from '../operator/model/settle.ts'
import { definitions, type Schema } from './crd.ts'
import { differing, plainFiles, ROOT } from './generate.ts'
import { fieldsOf, readTypes } from './types-text.ts'

const types = readFileSync(join(ROOT, 'operator/model/types.ts'), 'utf8')
const crds = definitions(types)
const schemaOf = (index: number): Schema =>
  (crds[index]!.object.spec as { versions: { schema: { openAPIV3Schema: Schema } }[] }).versions[0]!.schema
    .openAPIV3Schema

test('what is generated is as its sources say: npm run manifests', () => {
  assert.deepEqual(differing(plainFiles()), [])
})

test('a field that types.ts has and the definition has not cannot be', () => {
  const properties = schemaOf(0).properties as Record<string, Schema>
  const fields = fieldsOf(readTypes(types), 'TrackerClusterSpec').map((f) => f.name)
  assert.deepEqual(Object.keys(properties.spec!.properties as Schema), fields)
  const grown = types.replace(
    'export type TrackerClusterSpec = {',
    '$&\n  /** New. */\n  readonly fresh?: number',
  )
  const spec = (schemaGrown(grown).properties as Record<string, Schema>).spec!
  assert.deepEqual((spec.properties as Schema).fresh, {
    description: 'New.',
    type: 'integer',
    format: 'int32',
  })
  assert.throws(() => definitions(types.replace('readonly hibernated?', 'readonly asleep?')), /hibernated/)
  assert.throws(
    () => definitions(types.replace('export type TrackerClusterSpec = {', '$&\n  readonly mute?: number')),
    /no words for TrackerCluster.spec.mute/,
  )
})

const schemaGrown = (text: string): Schema =>
  (definitions(text)[0]!.object.spec as { versions: { schema: { openAPIV3Schema: Schema } }[] }).versions[0]!
    .schema.openAPIV3Schema

test('what is not understood is refused with its line, never guessed', () => {
  assert.throws(() => readTypes('\nexport type A = {\n  readonly x: keyof B\n}'), /types.ts:3/)
})

test('defaults are those that the operator fills in', () => {
  const faults: string[] = []
  const compare = (path: string, schema: Schema, settled: unknown): void => {
    const properties = schema.properties as Record<string, Schema> | undefined
    for (const [name, field] of Object.entries(properties ?? {})) {
      const value = (settled as Record<string, unknown> | null | undefined)?.[name]
      const said = field.default
      if (field.properties !== undefined) compare(`${path}.${name}`, field, value)
      else if (said !== undefined && said !== value)
        faults.push(`${path}.${name}: ${JSON.stringify(said)}, settled ${JSON.stringify(value)}`)
      else if (said === undefined && ['number', 'boolean'].includes(typeof value))
        faults.push(`${path}.${name}: no default, settled ${JSON.stringify(value)}`)
    }
  }
  const properties = schemaOf(0).properties as Record<string, Schema>
  compare('spec', properties.spec!, settle({ autoscaling: {} }, '1.0.0'))
  assert.deepEqual(faults, [])
})
