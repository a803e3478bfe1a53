// values.yaml -> its schema and its table in the README. What stands below cluster: has the schema of the
// TrackerCluster itself. Refuses: values without a sentence.

import { parse } from 'yaml'
import type { Schema } from './crd.ts'

export type Value = { readonly path: readonly string[]; readonly words: string; readonly given: unknown }

/** Values of few possible texts, and limits of numbers. */
const NARROWER: Readonly<Record<string, Schema>> = {
  'image.pullPolicy': { enum: ['Always', 'IfNotPresent', 'Never'] },
  'operator.replicas': { minimum: 1, maximum: 5 },
  'operator.scope': { enum: ['cluster', 'namespace'] },
  'operator.logLevel': { enum: ['debug', 'info', 'warn', 'error'] },
  'operator.metricsPort': { minimum: 1, maximum: 65_535 },
  'cluster.name': { maxLength: 50 },
  'tests.patienceSeconds': { minimum: 1, maximum: 600 },
}
/** Lists of objects; all others are lists of texts. */
const OBJECT_LISTS = [
  'operator.tolerations',
  'gateway.parentRefs',
  'networkPolicy.metricsFrom',
  'networkPolicy.clientsFrom',
]
/** Objects whose values are texts; other open objects take anything. */
const TEXT_MAPS = /(labels|annotations|Labels|Annotations|nodeSelector)$/
/** Below cluster:, but of the chart. */
const CHARTS_OWN = ['create', 'name', 'labels', 'annotations', 'deleteFirst']

/** Every value with its sentence, in order. Throws for one that has none. */
export function readValues(text: string): Value[] {
  const root = parse(text) as Record<string, unknown>
  const values: Value[] = []
  const above: string[] = []
  let words: string | null = null
  for (const [number, line] of text.split('\n').entries()) {
    const comment = /^\s*# -- (.*)$/.exec(line)
    if (comment !== null) words = comment[1]!
    const key = /^( *)([A-Za-z_]\w*):/.exec(line)
    if (key === null || comment !== null) continue
    above.length = key[1]!.length / 2
    above.push(key[2]!)
    const given = above.reduce<unknown>((at, name) => (at as Record<string, unknown>)?.[name], root)
    if (words !== null) values.push({ path: [...above], words, given })
    else if (!isInside(values, above) && !isBranch(given))
      throw new Error(`values.yaml:${number + 1}: ${above.join('.')} has no sentence`)
    words = null
  }
  return values
}

const isBranch = (given: unknown): boolean => isObject(given) && Object.keys(given).length > 0
const isObject = (x: unknown): x is Record<string, unknown> =>
  typeof x === 'object' && x !== null && !Array.isArray(x)
/** Such as the parts of a default for resources, which has a sentence as a whole. */
const isInside = (values: readonly Value[], path: readonly string[]): boolean =>
  values.some((v) => v.path.length < path.length && v.path.every((name, i) => name === path[i]))

export function valuesSchema(text: string, crd: Record<string, unknown>): Schema {
  const root: Schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of the chart skep',
    ...closed({ global: { type: 'object' } }),
  }
  for (const value of readValues(text)) {
    const [first, second] = value.path
    if (first === 'cluster' && !CHARTS_OWN.includes(second!)) continue
    put(root, value.path, { description: value.words, ...shapeOf(value) })
  }
  const cluster = (root.properties as Record<string, Schema>).cluster!
  Object.assign(cluster.properties as Schema, specProperties(crd))
  return root
}

const closed = (properties: Schema): Schema => ({ type: 'object', additionalProperties: false, properties })

function put(root: Schema, path: readonly string[], schema: Schema): void {
  let at = root
  for (const name of path.slice(0, -1)) {
    const properties = at.properties as Record<string, Schema>
    at = properties[name] ??= closed({})
  }
  ;(at.properties as Record<string, Schema>)[path.at(-1)!] = schema
}

function shapeOf({ path, given }: Value): Schema {
  const name = path.join('.')
  const narrower = NARROWER[name] ?? {}
  if (Array.isArray(given))
    return { type: 'array', items: { type: OBJECT_LISTS.includes(name) ? 'object' : 'string' } }
  if (isObject(given))
    return { type: 'object', ...(TEXT_MAPS.test(name) ? { additionalProperties: { type: 'string' } } : {}) }
  if (typeof given === 'number') return { type: 'integer', ...narrower }
  return { type: typeof given, ...narrower }
}

/** The fields of spec as JSON Schema; null stands for "not said". */
function specProperties(crd: Record<string, unknown>): Schema {
  const versions = (crd.spec as { versions: { schema: { openAPIV3Schema: Schema } }[] }).versions
  const root = versions[0]!.schema.openAPIV3Schema.properties as Record<string, Schema>
  const spec = plain(root.spec!).properties as Record<string, Schema>
  // YAML takes a bare on or off for a boolean; the template mends it.
  spec.allowPrivate = { ...spec.allowPrivate, type: ['string', 'boolean', 'null'], enum: undefined }
  spec.allowPrivate = { ...spec.allowPrivate, enum: ['auto', 'on', 'off', true, false, null] }
  return spec
}

function plain(schema: Schema): Schema {
  const { type, description, minimum, maximum, minLength, maxLength, pattern, maxItems } = schema
  const values = schema.enum as readonly unknown[] | undefined
  const properties = schema.properties as Record<string, Schema> | undefined
  const all: Schema = {
    description,
    type: 'x-kubernetes-int-or-string' in schema ? ['string', 'number'] : type && [type, 'null'],
    enum: values === undefined ? undefined : [...values, null],
    ...{ minimum, maximum, minLength, maxLength, pattern, maxItems },
    items: schema.items === undefined ? undefined : plain(schema.items as Schema),
  }
  if (properties !== undefined) {
    all.properties = Object.fromEntries(Object.entries(properties).map(([k, v]) => [k, plain(v)]))
    all.additionalProperties = false
  } else if (schema.additionalProperties !== undefined)
    all.additionalProperties = plain(schema.additionalProperties as Schema)
  return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined))
}

/** The text with its mark replaced by the table of all values. */
export function readme(values: string, text: string): string {
  const rows = readValues(values).map(({ path, words, given }) => {
    const shown = given === null ? '' : `\`${JSON.stringify(given)}\``
    return `| \`${path.join('.')}\` | ${shown} | ${words.replaceAll('|', '\\|')} |`
  })
  return text.replace(
    '<!-- values -->',
    ['| value | default | what for |', '| --- | --- | --- |', ...rows].join('\n'),
  )
}
