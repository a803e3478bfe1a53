// manifests/: the same without Helm. The base is the chart's own rendering for the namespace skep-system
// without what only Helm understands; the samples are three clusters. All for `kubectl apply -k`. Refuses:
// settings; who needs them takes the chart or a kustomize overlay.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Manifest } from './yaml-text.ts'
import { parseAll, yamlText } from './yaml-text.ts'

const run = promisify(execFile)
const NAMESPACE = 'skep-system'
/** Of the image, to be replaced by one's own registry. */
const PLACE = 'registry.example'
const OUTPUT_MOST = 1 << 24
/** Of Helm, and of a release that is not there. */
const LABELS_OF_HELM = ['helm.sh/chart', 'app.kubernetes.io/managed-by', 'app.kubernetes.io/instance']

/** The chart as Helm renders it. Rejects with Helm's own words. */
export async function render(
  helm: string,
  chart: string,
  args: readonly string[] = [],
  release = 'skep',
): Promise<string> {
  const { stdout } = await run(helm, ['template', release, chart, '--kube-version', '1.35.0', ...args], {
    maxBuffer: OUTPUT_MOST,
  })
  return stdout
}

export async function manifests(helm: string, chart: string): Promise<Map<string, string>> {
  const text = await render(helm, chart, [
    ...[
      '--namespace',
      NAMESPACE,
      '--no-hooks',
      '--set',
      `cluster.create=false,image.repository=${PLACE}/skep`,
    ],
  ])
  const objects = parseAll(text).map(withoutHelm)
  const files = new Map([
    ['manifests/base/operator.yaml', yamlText(objects)],
    [
      'manifests/base/namespace.yaml',
      yamlText([
        {
          apiVersion: 'v1',
          kind: 'Namespace',
          metadata: {
            name: NAMESPACE,
            labels: {
              'app.kubernetes.io/part-of': 'skep',
              'pod-security.kubernetes.io/enforce': 'restricted',
            },
          },
        },
      ]),
    ],
    ['manifests/base/kustomization.yaml', kustomization(['namespace.yaml', '../crd', 'operator.yaml'])],
    [
      'manifests/crd/kustomization.yaml',
      kustomization(['trackerclusters.yaml', 'torrentpolicies.yaml', 'trackerbackups.yaml']),
    ],
  ])
  for (const [name, spec] of Object.entries(SAMPLES)) {
    files.set(`manifests/samples/${name}/kustomization.yaml`, kustomization(['cluster.yaml']))
    files.set(
      `manifests/samples/${name}/cluster.yaml`,
      yamlText([
        { apiVersion: 'skep.dev/v1alpha1', kind: 'TrackerCluster', metadata: { name: 'tracker' }, spec },
      ]),
    )
  }
  return files
}

const SAMPLES: Readonly<Record<string, object>> = {
  // For trying it out: survives a restart, not a lost machine.
  one: { replicas: 1, memory: '128Mi', storage: { size: '1Gi' } },
  // Any one machine may be lost; no two replicas share one.
  three: {
    replicas: 3,
    tolerateFailures: 1,
    topologySpread: { nodes: 'Required' },
    rollout: { surge: true },
  },
  // Five replicas vote, so that any two machines may be lost; the others learn and answer.
  autoscaled: {
    replicas: 5,
    maxVoters: 5,
    tolerateFailures: 2,
    memory: '2Gi',
    storage: { size: '10Gi' },
    autoscaling: { min: 5, max: 12, announcesPerSecondPerReplica: 20_000 },
    resources: { requests: { cpu: '1' } },
  },
}

const kustomization = (resources: readonly string[]): string =>
  yamlText([{ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources }])

function withoutHelm(object: Manifest): Manifest {
  const strip = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(strip)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .filter(([key]) => !LABELS_OF_HELM.includes(key))
        .map(([key, inner]) => [key, strip(inner)]),
    )
  }
  return strip(object) as Manifest
}
