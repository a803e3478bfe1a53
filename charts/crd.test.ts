// The custom resource definitions: made from the operator's types, defaults as the operator fills them in, and held by a real API
// server where one is built: what it refuses, and in which words, is in testdata/specs.txt.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runCases } from '@skep/testing/datadriven.ts'
import { type ApiServer, startApiServer } from '@skep/testing/kube/api-server.ts'
import { kubeTools } from '@skep/testing/kube/tools.ts'
import { settle } from '../operator/settle.ts'
import { definitions, type Schema } from './crd.ts'
import { CHART, differing, plainFiles, ROOT } from './generate.ts'
import { render } from './manifests.ts'
import { fieldsOf, readTypes } from './types-text.ts'

const types = readFileSync(join(ROOT, 'operator/types.ts'), 'utf8')
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

const KINDS: Readonly<Record<string, { kind: string; plural: string }>> = {
  cluster: { kind: 'TrackerCluster', plural: 'trackerclusters' },
  policy: { kind: 'TorrentPolicy', plural: 'torrentpolicies' },
  backup: { kind: 'TrackerBackup', plural: 'trackerbackups' },
}

/** `taken`, or each complaint on a line of its own. */
async function said(asked: ReturnType<ApiServer['ask']>): Promise<string> {
  const { code, answer } = await asked
  if (code < 300) return 'taken'
  const { causes = [] } = (answer.details ?? {}) as { causes?: { field?: string; message: string }[] }
  const lines = causes.map(({ field, message }) => `${field ?? ''}: ${message}`)
  return lines.length > 0 ? lines.join('\n') : String(answer.message)
}

const at = (object: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((o, name) => (o as Record<string, unknown> | undefined)?.[name], object)

describe('a real API server', async () => {
  let server: ApiServer | { readonly reason: string }
  before(async () => {
    server = await startApiServer()
    if ('reason' in server) return
    const done = await server.kubectl(['apply', '--server-side', '-k', join(ROOT, 'manifests/crd')])
    assert.equal(done.code, 0, done.err)
    const names = crds.map(({ object }) => `crd/${(object.metadata as { name: string }).name}`)
    await server.kubectl(['wait', '--for=condition=Established', '--timeout=30s', ...names])
  })
  after(() => {
    if (!('reason' in server)) server.stop()
  })

  test('takes and refuses what it should, with a message that names the field', async (t) => {
    if ('reason' in server) return t.skip(server.reason)
    const { ask } = server
    await runCases(join(import.meta.dirname, 'testdata/specs.txt'), ({ command, words, options, input }) => {
      const name = options.get('name') ?? 't'
      const own = '/apis/skep.dev/v1alpha1/namespaces/default'
      const dry = words.includes('keep') ? '' : '&dryRun=All'
      const kind = KINDS[command]
      if (kind !== undefined)
        return said(
          ask(
            'PATCH',
            `${own}/${kind.plural}/${name}?fieldManager=test&force=true&fieldValidation=Strict${dry}`,
            `apiVersion: skep.dev/v1alpha1\nkind: ${kind.kind}\nmetadata: {name: ${name}}\nspec: ${input || '{}'}\n`,
            'application/apply-patch+yaml',
          ),
        )
      const cluster = `${own}/trackerclusters/${name}`
      const merge = 'application/merge-patch+json'
      if (command === 'born') {
        const status = { clusterID: '0123456789abcdef0123456789abcdef', ...JSON.parse(input) }
        return said(ask('PATCH', `${cluster}/status`, JSON.stringify({ status }), merge))
      }
      if (command === 'scale')
        return said(ask('PATCH', `${cluster}/scale`, `{"spec":{"replicas":${words[0]}}}`, merge))
      assert.equal(command, 'get')
      return ask('GET', cluster, '', merge).then(({ answer }) =>
        words.map((path) => `${path} ${JSON.stringify(at(answer, path))}`).join('\n'),
      )
    })
  })

  test('takes all that is rendered, field by field, and finds no pod that asks for too much', async (t) => {
    if ('reason' in server) return t.skip(server.reason)
    const strict = ['apply', '--dry-run=server', '--validate=strict']
    const namespace = join(ROOT, 'manifests/base/namespace.yaml')
    await server.kubectl(['apply', '-f', namespace])
    // A controller would make it, and none runs here.
    await server.kubectl(['create', 'serviceaccount', 'default', '-n', 'skep-system'])
    const base = await server.kubectl([...strict, '-k', join(ROOT, 'manifests/base')])
    assert.equal(base.code, 0, base.err)
    assert.doesNotMatch(base.err, /violate PodSecurity/)
    const tools = await kubeTools()
    assert.equal(tools.kind, 'tools')
    const helm = tools.kind === 'tools' ? tools.tools.helm4 : ''
    const everything = {
      'ingress.enabled': true,
      'ingress.hosts[0]': 'a.example',
      'cluster.services.http.trustedProxies[0]': '10.0.0.0/8',
      'dashboard.enabled': true,
      'operator.priorityClassName': 'system-cluster-critical',
      'operator.tolerations[0].operator': 'Exists',
    }
    const set = Object.entries(everything).flatMap(([name, value]) => ['--set', `${name}=${value}`])
    for (const more of [[], ['--set', 'operator.scope=namespace']]) {
      const text = await render(helm, CHART, ['--namespace', 'skep-system', ...set, ...more])
      const done = await server.kubectl([...strict, '-f', '-'], text)
      assert.equal(done.code, 0, done.err)
      assert.doesNotMatch(done.err, /violate PodSecurity/)
    }
  })

  test('takes the samples, and explains every field', async (t) => {
    if ('reason' in server) return t.skip(server.reason)
    for (const sample of ['one', 'three', 'autoscaled']) {
      const args = ['apply', '--dry-run=server', '-k', join(ROOT, 'manifests/samples', sample)]
      const done = await server.kubectl(args)
      assert.equal(done.code, 0, done.err)
    }
    const { out } = await server.kubectl(['explain', 'tc.spec', '--recursive'])
    for (const field of ['tolerateFailures', 'externalTrafficPolicy', 'drainSeconds'])
      assert.match(out, new RegExp(field))
  })
})
