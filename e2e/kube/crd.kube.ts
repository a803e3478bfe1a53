// The custom resource definitions, the samples and all that the chart renders, held by a real API server:
// what it refuses, and in which words, is in testdata/specs.txt.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runCases } from '@skep/testing/datadriven.ts'
import { CHART, ROOT } from '../../charts/generate.ts'
import { render } from '../../charts/manifests.ts'
import { type ApiServer, startApiServer } from './api-server.ts'

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
  let server: ApiServer
  before(async () => {
    server = await startApiServer()
    const done = await server.kubectl(['apply', '--server-side', '-k', join(ROOT, 'manifests/crd')])
    assert.equal(done.code, 0, done.err)
    const names = Object.values(KINDS).map(({ plural }) => `crd/${plural}.skep.dev`)
    const held = await server.kubectl(['wait', '--for=condition=Established', '--timeout=30s', ...names])
    assert.equal(held.code, 0, held.err)
  })
  after(() => server?.stop())

  test('takes and refuses what it should, with a message that names the field', async () => {
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

  test('takes all that is rendered, field by field, and finds no pod that asks for too much', async () => {
    const strict = ['apply', '--dry-run=server', '--validate=strict']
    const namespace = join(ROOT, 'manifests/base/namespace.yaml')
    await server.kubectl(['apply', '-f', namespace])
    // A controller would make it, and none runs here.
    await server.kubectl(['create', 'serviceaccount', 'default', '-n', 'skep-system'])
    const base = await server.kubectl([...strict, '-k', join(ROOT, 'manifests/base')])
    assert.equal(base.code, 0, base.err)
    assert.doesNotMatch(base.err, /violate PodSecurity/)
    const everything = {
      'image.repository': 'registry.example/skep',
      'ingress.enabled': true,
      'ingress.hosts[0]': 'a.example',
      'cluster.services.http.trustedProxies[0]': '10.0.0.0/8',
      'dashboard.enabled': true,
      'operator.priorityClassName': 'system-cluster-critical',
      'operator.tolerations[0].operator': 'Exists',
    }
    const set = Object.entries(everything).flatMap(([name, value]) => ['--set', `${name}=${value}`])
    for (const more of [[], ['--set', 'operator.scope=namespace']]) {
      const text = await render(server.tools.helm4, CHART, ['--namespace', 'skep-system', ...set, ...more])
      const done = await server.kubectl([...strict, '-f', '-'], text)
      assert.equal(done.code, 0, done.err)
      assert.doesNotMatch(done.err, /violate PodSecurity/)
    }
  })

  test('takes the samples, and explains every field', async () => {
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
