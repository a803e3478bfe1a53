// The chart as Helm 4 and Helm 3 render it: what a default install asks for and may do, what values change,
// and what is refused.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { needKubeTools } from '@skep/testing/tools/tools.ts'
import { CHART, differing, RENDERED, ROOT, renderedFiles } from '../../charts/generate.ts'
import { render } from '../../charts/manifests.ts'
import { type Manifest, parseAll } from '../../charts/yaml-text.ts'

const run = promisify(execFile)
const { helm3, helm4, kubectl } = await needKubeTools()

const set = (values: Record<string, string | number | boolean>): string[] =>
  Object.entries(values).flatMap(([name, value]) => ['--set', `${name}=${value}`])
/** There is no default. */
const IMAGE = ['--set', 'image.repository=registry.example/skep']
const objects = async (...args: string[]): Promise<Manifest[]> =>
  parseAll(await render(helm4, CHART, [...IMAGE, '--namespace', 'ns', ...args]))
const one = (all: readonly Manifest[], kind: string, name?: string): Manifest => {
  const found = all.filter((o) => o.kind === kind && (name === undefined || o.metadata.name === name))
  assert.equal(found.length, 1, `one ${kind} ${name ?? ''}, found ${found.map((o) => o.metadata.name)}`)
  return found[0]!
}
const at = (object: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((o, name) => (o as Record<string, unknown> | undefined)?.[name], object)
const isHook = (o: Manifest): boolean => o.metadata.annotations?.['helm.sh/hook'] !== undefined

describe('by Helm', () => {
  let standard: Manifest[]
  before(async () => {
    standard = await objects()
  })

  test('both Helms lint it strictly and render the same', async () => {
    for (const helm of [helm4, helm3])
      await run(helm, ['lint', '--strict', '--kube-version', '1.35.0', CHART])
    const everything = [
      ...set({ 'ingress.enabled': true, 'ingress.hosts[0]': 'a.example', 'gateway.enabled': true }),
      ...set({ 'gateway.parentRefs[0].name': 'g', 'cluster.services.http.trustedProxies[0]': '10.0.0.0/8' }),
      ...set({ 'serviceMonitor.enabled': true, 'prometheusRule.enabled': true, 'dashboard.enabled': true }),
    ]
    for (const args of [[], everything])
      assert.deepEqual(
        parseAll(await render(helm3, CHART, [...IMAGE, ...args])),
        parseAll(await render(helm4, CHART, [...IMAGE, ...args])),
      )
  })

  test('manifests/ is what the chart renders, and kustomize takes it: npm run manifests', async () => {
    assert.deepEqual(differing(await renderedFiles(helm4), RENDERED), [])
    const built = await run(kubectl, ['kustomize', join(ROOT, 'manifests/base')], { maxBuffer: 1 << 24 })
    const kinds = parseAll(built.stdout).map((o) => o.kind)
    assert.equal(kinds.filter((k) => k === 'CustomResourceDefinition').length, 3)
    assert.ok(kinds.includes('Deployment') && kinds.includes('Namespace'))
    for (const sample of ['one', 'three', 'autoscaled']) {
      const { stdout } = await run(kubectl, ['kustomize', join(ROOT, 'manifests/samples', sample)])
      one(parseAll(stdout), 'TrackerCluster')
    }
  })

  test('a default install is a cluster of three, and nothing that is left out is said', () => {
    assert.deepEqual(one(standard, 'TrackerCluster', 'skep').spec, {
      allowPrivate: 'auto',
      image: { pullPolicy: 'IfNotPresent', repository: 'registry.example/skep', tag: '0.2.0' },
      replicas: 3,
      services: {
        http: { port: 8168, type: 'LoadBalancer' },
        perReplica: { enabled: false },
        udp: { port: 6969, type: 'LoadBalancer' },
      },
      storage: { retention: 'Retain', size: '2Gi' },
    })
  })

  test('values reach the TrackerCluster by the names of its fields', async () => {
    const all = await objects(
      ...set({ 'image.repository': 'localhost/skep', 'image.tag': 'dev', 'image.pullPolicy': 'Never' }),
      ...set({ 'cluster.name': 'hive', 'cluster.replicas': 5, 'cluster.allowPrivate': 'on' }),
      ...set({ 'cluster.services.udp.type': 'NodePort', 'cluster.services.udp.nodePort': 30069 }),
      ...set({ 'cluster.services.http.type': 'ClusterIP', 'cluster.storage.size': '1Gi' }),
      ...set({ 'cluster.hibernated': false, 'cluster.autoscaling.max': 7, 'cluster.pod.drainSeconds': 0 }),
    )
    const cluster = one(all, 'TrackerCluster', 'hive')
    const expected = {
      'spec.image': { repository: 'localhost/skep', tag: 'dev', pullPolicy: 'Never' },
      'spec.replicas': 5,
      'spec.allowPrivate': 'on',
      'spec.services.udp': { type: 'NodePort', nodePort: 30069, port: 6969 },
      'spec.services.http.type': 'ClusterIP',
      'spec.storage.size': '1Gi',
      'spec.hibernated': false,
      'spec.autoscaling': { max: 7 },
      'spec.pod': { drainSeconds: 0 },
    }
    for (const [path, value] of Object.entries(expected)) assert.deepEqual(at(cluster, path), value, path)
    const images = JSON.stringify(all).match(/localhost\/skep:dev/g)
    assert.equal(images?.length, all.filter((o) => ['Deployment', 'Job', 'Pod'].includes(o.kind)).length)
    assert.equal((await objects(...set({ 'cluster.allowPrivate': 'true' }))).length, standard.length)
  })

  test('what is misspelt or impossible is refused, with the name of the value', async () => {
    for (const [name, value, words] of [
      ['cluster.replica', 3, /replica/],
      ['operator.replica', 3, /replica/],
      ['cluster.replicas', 0, /replicas/],
      ['cluster.services.udp.type', 'External', /udp.type|udp\/type/],
      ['operator.namespaces[0]', 'a', /operator.scope/],
      ['ingress.enabled', true, /trustedProxies/],
      ['gateway.enabled', true, /trustedProxies/],
      ['operator.scope=namespace,operator.namespaces[0]', 'other', /does not look after/],
      ['serviceAccount.create', false, /serviceAccount.name/],
    ] as const)
      for (const helm of [helm4, helm3])
        await assert.rejects(render(helm, CHART, [...IMAGE, ...set({ [name]: value })]), words)
    for (const helm of [helm4, helm3])
      await assert.rejects(
        render(helm, CHART),
        /image.repository is empty: there is no image.*docs\/kubernetes.md/,
      )
  })

  test('no pod may more than it needs', async () => {
    const pods = standard.flatMap((o) => {
      const spec = o.kind === 'Pod' ? o.spec : at(o, 'spec.template.spec')
      return spec === undefined ? [] : [{ name: `${o.kind} ${o.metadata.name}`, spec }]
    })
    assert.deepEqual(pods.map((p) => p.name).sort(), [
      'Deployment skep-operator',
      'Job skep-crds',
      'Job skep-delete',
      'Pod skep-announce',
    ])
    for (const { name, spec } of pods) {
      const text = JSON.stringify(spec)
      assert.equal(at(spec, 'securityContext.runAsNonRoot'), true, name)
      assert.equal(at(spec, 'securityContext.seccompProfile.type'), 'RuntimeDefault', name)
      for (const c of at(spec, 'containers') as unknown[])
        assert.deepEqual(
          at(c, 'securityContext'),
          {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            readOnlyRootFilesystem: true,
            runAsNonRoot: true,
          },
          name,
        )
      assert.doesNotMatch(text, /"host(Network|PID|IPC|Path|Port)"|privileged/, name)
    }
  })

  test('the operator may do what docs/kubernetes.md gives the reason for, and nothing else', () => {
    const docs = readFileSync(join(ROOT, 'docs/kubernetes.md'), 'utf8')
    const roles = standard.filter((o) => o.kind === 'ClusterRole' || o.kind === 'Role')
    const rules = roles.flatMap((o) => (o.rules as Rule[]).map((rule) => ({ of: o.metadata.name, ...rule })))
    for (const { of, apiGroups, resources, verbs } of rules) {
      assert.doesNotMatch(
        [...apiGroups, ...resources, ...verbs].join(' '),
        /\*|escalate|bind|impersonate/,
        of,
      )
      const row = `| ${resources.map((r) => `\`${r}\``).join(', ')} | ${verbs.join(', ')} |`
      assert.ok(docs.includes(row), `docs/kubernetes.md has no row for ${of}: ${row}`)
    }
    const operators = rules.filter((r) => r.of === 'ns-skep-operator')
    for (const { resources, verbs } of operators)
      if (['secrets', 'statefulsets', 'trackerclusters', 'configmaps'].some((r) => resources.includes(r)))
        assert.ok(!verbs.includes('delete'), `delete ${resources}`)
  })

  test('for one namespace there is nothing of the whole cluster', async () => {
    const all = await objects(
      ...set({ 'operator.scope': 'namespace', 'rbac.aggregate': false, 'crds.upgrade': false }),
    )
    assert.deepEqual(
      all.filter((o) => o.kind.startsWith('Cluster')).map((o) => o.metadata.name),
      [],
    )
    assert.deepEqual(
      all.filter((o) => o.metadata.namespace !== 'ns').map((o) => o.kind),
      [],
    )
    assert.match(JSON.stringify(one(all, 'Deployment')), /"--namespaces=ns"/)
    const two = await objects(
      ...set({ 'operator.scope': 'namespace', 'operator.namespaces[0]': 'a', 'operator.namespaces[1]': 'b' }),
      ...set({ 'cluster.create': false }),
    )
    const roles = two.filter((o) => o.kind === 'RoleBinding' && o.metadata.name === 'skep-operator')
    assert.deepEqual(
      roles.map((o) => o.metadata.namespace),
      ['a', 'b'],
    )
  })

  test('selectors are made of what never changes', () => {
    const selectors = standard.flatMap((o) => {
      const selector = at(o, 'spec.selector.matchLabels') ?? (o.kind === 'Service' && at(o, 'spec.selector'))
      return selector ? [selector] : []
    })
    assert.equal(selectors.length, 3)
    for (const selector of selectors)
      assert.deepEqual(selector, {
        'app.kubernetes.io/name': 'skep-operator',
        'app.kubernetes.io/instance': 'skep',
      })
  })

  test('an upgrade brings the definitions along, an uninstall deletes the cluster first', () => {
    const files = at(one(standard, 'ConfigMap', 'skep-crds'), 'data') as Record<string, string>
    const names = Object.values(files).map((text) => (JSON.parse(text) as Manifest).metadata.name)
    const rule = (one(standard, 'ClusterRole', 'ns-skep-crds').rules as Rule[]).find((r) =>
      r.verbs.includes('patch'),
    )
    assert.deepEqual([...names].sort(), [...(rule?.resourceNames ?? [])].sort())
    const hooks = standard.filter(isHook).map((o) => [o.kind, o.metadata.annotations?.['helm.sh/hook']])
    assert.deepEqual(
      hooks.filter(([kind]) => kind === 'Job'),
      [
        ['Job', 'pre-upgrade'],
        ['Job', 'pre-delete'],
      ],
    )
  })

  test('HTTP comes through an Ingress or a Gateway: announce and scrape, nothing else', async () => {
    const proxies = set({ 'cluster.services.http.trustedProxies[0]': '10.0.0.0/8', 'cluster.name': 'hive' })
    const ingress = await objects(
      ...proxies,
      ...set({ 'ingress.enabled': true, 'ingress.hosts[0]': 'tracker.example', 'ingress.tlsSecret': 'tls' }),
    )
    const rules = at(one(ingress, 'Ingress', 'hive'), 'spec.rules') as {
      host: string
      http: { paths: unknown[] }
    }[]
    assert.deepEqual(
      rules.flatMap((r) => r.http.paths.map((p) => [r.host, at(p, 'path'), at(p, 'backend.service.name')])),
      ['/announce', '/scrape'].map((path) => ['tracker.example', path, 'hive-http']),
    )
    const gateway = await objects(
      ...proxies,
      ...set({
        'gateway.enabled': true,
        'gateway.parentRefs[0].name': 'public',
        'cluster.services.http.port': 80,
      }),
    )
    const route = one(gateway, 'HTTPRoute', 'hive')
    assert.deepEqual(at(route, 'spec.rules'), [
      {
        matches: ['/announce', '/scrape'].map((value) => ({ path: { type: 'Exact', value } })),
        backendRefs: [{ name: 'hive-http', port: 80 }],
      },
    ])
  })

  test('only replicas and the operator reach what is not for clients', async () => {
    const ingress = at(one(standard, 'NetworkPolicy', 'skep-replicas'), 'spec.ingress') as {
      ports: { port: number | string }[]
      from?: unknown[]
    }[]
    assert.deepEqual(
      ingress.map(({ ports, from }) => [ports.map((p) => p.port), from?.length ?? 'all']),
      [
        [['udp', 'http'], 'all'],
        [[5560], 1],
        [[8169], 2],
      ],
    )
    const without = await objects(...set({ 'networkPolicy.enabled': false }))
    assert.equal(without.filter((o) => o.kind === 'NetworkPolicy').length, 0)
  })

  test('monitoring is for all clusters; each alert has a runbook', async () => {
    const all = await objects(
      ...set({ 'serviceMonitor.enabled': true, 'prometheusRule.enabled': true, 'dashboard.enabled': true }),
      ...set({ 'prometheusRule.runbooks': 'https://runbooks.example/page' }),
    )
    const groups = at(one(all, 'PrometheusRule'), 'spec.groups') as { rules: Alert[] }[]
    const alerts = groups.flatMap((g) => g.rules)
    assert.ok(alerts.length > 15)
    const docs = readFileSync(join(ROOT, 'docs/runbooks.md'), 'utf8')
    for (const { alert, annotations } of alerts) {
      assert.equal(annotations.runbook_url, `https://runbooks.example/page#${alert.toLowerCase()}`)
      assert.match(docs, new RegExp(`^#+ ${alert}$`, 'm'), `docs/runbooks.md has no section ${alert}`)
    }
    JSON.parse(at(one(all, 'ConfigMap', 'skep-dashboard'), 'data')!['skep.json' as never])
    assert.equal(all.filter((o) => o.kind === 'ServiceMonitor').length, 2)
  })

  test('the notes print the announce URLs', async () => {
    const env = { ...process.env, KUBECONFIG: '/nonexistent' }
    const notes = async (...args: string[]): Promise<string> => {
      const dry = ['install', 'skep', CHART, '--dry-run=client', '--namespace', 'ns', ...IMAGE, ...args]
      return (await run(helm4, dry, { env, maxBuffer: 1 << 24 })).stdout.split('\nNOTES:\n')[1]!
    }
    assert.match(await notes(), /udp:\/\/ADDRESS:6969[\s\S]*get service skep-udp/)
    const node = set({ 'cluster.services.udp.type': 'NodePort', 'cluster.services.udp.nodePort': 30069 })
    assert.match(await notes(...node), /udp:\/\/NODE:30069/)
    assert.match(
      await notes(...set({ 'cluster.services.http.type': 'ClusterIP' })),
      /http:\/\/skep-http.ns:8168\/announce/,
    )
    assert.match(await notes(), /each a tier of its own/)
    const own = await notes(...set({ 'cluster.services.perReplica.enabled': true, 'cluster.replicas': 2 }))
    for (const name of ['skep-udp-0', 'skep-udp-1', 'skep-http-0', 'skep-http-1'])
      assert.match(own, new RegExp(`get service ${name} `))
    assert.match(await notes(...set({ 'cluster.create': false })), /no cluster yet/)
  })
})

type Rule = { apiGroups: string[]; resources: string[]; verbs: string[]; resourceNames?: string[] }
type Alert = { alert: string; expr: string; annotations: { runbook_url: string } }
