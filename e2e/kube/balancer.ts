// What a load balancer outside a cluster knows: which nodes hold a ready endpoint of a Service, asked of the
// API server again and again, and the port that the nodes open for it. Refuses: to guess; while nothing is
// known there is no target.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Place } from '../cluster-client.ts'

/** As the better balancers do. */
const LOOK_MS = 250
/** Nodes and node ports change seldom. */
const SLOW_LOOKS = 20
const ANSWER_MS = 2000
/** Answers of a node are taken for its one pod's only when it has been that pod for so long. */
const STEADY_MS = 3000

type Slice = {
  ports?: { name?: string; port?: number }[]
  endpoints?: {
    nodeName?: string
    conditions?: { ready?: boolean }
    targetRef?: { name?: string; uid?: string }
  }[]
}
type Items<T> = { items: T[] }
type Node = { metadata: { name: string }; status: { addresses?: { type: string; address: string }[] } }
type Service = { spec: { ports?: { name?: string; nodePort?: number }[] } }

export type Balancer = {
  /** Nodes with a ready endpoint now; the name tells replicas apart where that is certain. */
  targets(): readonly Place[]
  /** Pods that are ready, with their nodes. */
  ready(): readonly { pod: string; node: string }[]
  stop(): void
}

/** Ready endpoints by node, as EndpointSlices tell them. */
export function readyByNode(slices: readonly Slice[]): Map<string, { pod: string; uid: string }[]> {
  const nodes = new Map<string, { pod: string; uid: string }[]>()
  for (const slice of slices)
    for (const { nodeName, conditions, targetRef } of slice.endpoints ?? []) {
      if (nodeName === undefined || conditions?.ready === false) continue
      const there = nodes.get(nodeName) ?? []
      const [pod, uid] = [targetRef?.name ?? '', targetRef?.uid ?? '']
      if (!there.some((one) => one.uid === uid)) there.push({ pod, uid })
      nodes.set(nodeName, there)
    }
  return nodes
}

/** Starts `kubectl proxy`, which knows how to log in to any cluster, and asks through it. */
export async function startBalancer(kubectl: string, namespace: string, service: string): Promise<Balancer> {
  const proxy = spawn(kubectl, ['proxy', '--port=0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const stop = (): void => {
    clearTimeout(timer)
    proxy.kill('SIGKILL')
  }
  process.on('exit', stop)
  const [line] = (await once(createInterface({ input: proxy.stdout }), 'line')) as [string]
  const api = `http://${/127\.0\.0\.1:\d+/.exec(line)?.[0]}`
  let addresses = new Map<string, string>()
  let port: number | undefined
  let ready = new Map<string, { pod: string; uid: string }[]>()
  const since = new Map<string, { key: string; atMs: number }>()
  let looks = 0
  let names = 0
  let timer: NodeJS.Timeout | undefined
  const get = async <T>(path: string): Promise<T> => {
    const response = await fetch(`${api}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) })
    if (!response.ok) throw new Error(`${path}: ${response.status}`)
    return (await response.json()) as T
  }
  const look = async (): Promise<void> => {
    const label = encodeURIComponent(`kubernetes.io/service-name=${service}`)
    if (looks++ % SLOW_LOOKS === 0 || port === undefined || addresses.size === 0) {
      const nodes = await get<Items<Node>>('/api/v1/nodes')
      const internal = (node: Node): string =>
        node.status.addresses?.find((one) => one.type === 'InternalIP')?.address ?? ''
      addresses = new Map(nodes.items.map((node) => [node.metadata.name, internal(node)]))
      const found = await get<Service>(`/api/v1/namespaces/${namespace}/services/${service}`)
      port = found.spec.ports?.[0]?.nodePort
    }
    const slices = await get<Items<Slice>>(
      `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=${label}`,
    )
    ready = readyByNode(slices.items)
    for (const [node, there] of ready) {
      const key = there.map((one) => one.uid).join()
      if (since.get(node)?.key !== key) since.set(node, { key, atMs: performance.now() })
    }
    for (const node of since.keys()) if (!ready.has(node)) since.delete(node)
  }
  const again = (): void => {
    timer = setTimeout(() => void look().catch(unknown).finally(again), LOOK_MS)
  }
  // What was known stays known while the API server does not answer, as with a balancer.
  const unknown = (): void => {}
  await look().catch(unknown)
  again()
  return {
    targets() {
      if (port === undefined) return []
      const places: Place[] = []
      for (const [node, there] of ready) {
        const address = addresses.get(node)
        if (address === undefined || address === '') continue
        const steady = there.length === 1 && performance.now() - since.get(node)!.atMs > STEADY_MS
        // Another name each time: nobody is held to what another pod of the node has acknowledged.
        const name = steady ? `${node}/${there[0]!.pod}/${there[0]!.uid}` : `${node}/?${names++}`
        places.push({ name, address, port, disturbed: false })
      }
      return places
    },
    ready: () => [...ready].flatMap(([node, there]) => there.map(({ pod }) => ({ pod, node }))),
    stop,
  }
}
