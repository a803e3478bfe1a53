// The API server for the runner: plain requests through `kubectl proxy` on a Unix socket, so that asking ten
// times a second costs nothing and any kubeconfig works. Refuses: caches; what is asked is asked of the
// server.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const ANSWER_MS = 10_000
/** A connection for each request: what the proxy leaves unread of one would be taken for the next. */
const agent = new Agent({ keepAlive: false })

export type Condition = { type: string; status: string; reason?: string; message?: string }
/** As much of any object as the scenarios look at. */
export type KubeObject = {
  kind?: string
  metadata: {
    name: string
    namespace?: string
    uid?: string
    generation?: number
    annotations?: Record<string, string>
    labels?: Record<string, string>
    deletionTimestamp?: string
    ownerReferences?: { kind: string; name: string }[]
  }
  spec?: Record<string, unknown>
  status?: Record<string, unknown> & { conditions?: Condition[] }
}

export class ApiRefusal extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const PATHS: Readonly<Record<string, string>> = {
  trackerclusters: '/apis/skep.dev/v1alpha1',
  trackerbackups: '/apis/skep.dev/v1alpha1',
  torrentpolicies: '/apis/skep.dev/v1alpha1',
  statefulsets: '/apis/apps/v1',
  deployments: '/apis/apps/v1',
  jobs: '/apis/batch/v1',
  cronjobs: '/apis/batch/v1',
  leases: '/apis/coordination.k8s.io/v1',
  endpointslices: '/apis/discovery.k8s.io/v1',
  poddisruptionbudgets: '/apis/policy/v1',
  events: '/api/v1',
}

export type Api = {
  /** The object, or undefined when there is none. */
  get(plural: string, namespace: string, name: string): Promise<KubeObject | undefined>
  list(plural: string, namespace: string, labels?: string): Promise<KubeObject[]>
  /** Merge patch. */
  patch(plural: string, namespace: string, name: string, change: object): Promise<void>
  /** Without waiting; with `now` without grace. Gone already is fine. */
  remove(plural: string, namespace: string, name: string, now?: boolean): Promise<void>
  create(plural: string, namespace: string, object: object): Promise<void>
  raw(path: string): Promise<string>
  stop(): void
}

/** `inside`: put before kubectl. */
export async function openApi(inside: readonly string[], env: NodeJS.ProcessEnv): Promise<Api> {
  const folder = mkdtempSync(join(tmpdir(), 'skep-api-'))
  const socket = join(folder, 'api.sock')
  const command = [...inside, 'kubectl', 'proxy', `--unix-socket=${socket}`]
  const proxy: ChildProcess = spawn(command[0]!, command.slice(1), {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const stop = (): void => {
    proxy.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
  process.on('exit', stop)
  await Promise.race([
    once(createInterface({ input: proxy.stdout! }), 'line'),
    once(proxy, 'exit').then(() => {
      throw new Error('kubectl proxy ended')
    }),
  ])
  const ask = (method: string, path: string, body?: object, type = 'application/json'): Promise<string> =>
    new Promise((done, failed) => {
      const asked = request(
        { agent, socketPath: socket, method, path, timeout: ANSWER_MS, headers: { 'content-type': type } },
        (response) => {
          let text = ''
          response.setEncoding('utf8')
          response.on('data', (part) => {
            text += part
          })
          response.on('error', failed)
          response.on('end', () => {
            const code = response.statusCode ?? 0
            if (code < 300) done(text)
            else failed(new ApiRefusal(code, messageOf(text)))
          })
        },
      )
      asked.on('timeout', () => asked.destroy(new Error(`${method} ${path}: no answer`)))
      asked.on('error', failed)
      asked.end(body === undefined ? undefined : JSON.stringify(body))
    })
  const path = (plural: string, namespace: string, name = ''): string => {
    const place = namespace === '' ? '' : `/namespaces/${namespace}`
    return `${PATHS[plural] ?? '/api/v1'}${place}/${plural}${name === '' ? '' : `/${name}`}`
  }
  const absent = (error: unknown): undefined => {
    if (error instanceof ApiRefusal && error.code === 404) return undefined
    throw error
  }
  return {
    get: (plural, namespace, name) => ask('GET', path(plural, namespace, name)).then(JSON.parse, absent),
    async list(plural, namespace, labels = '') {
      const query = labels === '' ? '' : `?labelSelector=${encodeURIComponent(labels)}`
      const text = await ask('GET', `${path(plural, namespace)}${query}`).catch(absent)
      return text === undefined ? [] : (JSON.parse(text) as { items: KubeObject[] }).items
    },
    async patch(plural, namespace, name, change) {
      await ask('PATCH', path(plural, namespace, name), change, 'application/merge-patch+json')
    },
    async remove(plural, namespace, name, now = false) {
      const options = { kind: 'DeleteOptions', apiVersion: 'v1', ...(now ? { gracePeriodSeconds: 0 } : {}) }
      await ask('DELETE', path(plural, namespace, name), options).catch(absent)
    },
    async create(plural, namespace, object) {
      await ask('POST', path(plural, namespace), object)
    },
    raw: (where) => ask('GET', where),
    stop,
  }
}

function messageOf(text: string): string {
  try {
    return (JSON.parse(text) as { message?: string }).message ?? text
  } catch {
    return text
  }
}
