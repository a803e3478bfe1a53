// What the chart's hooks run, in Jobs with rights of their own: bring the custom resource definitions up to
// date before an upgrade, and delete a cluster before the operator that has to finish it. Refuses: to delete
// definitions, with which all clusters would go, and to take fields out of them.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { complain } from '@skep/cli/complain.ts'
import { FAILURE, OK, USAGE } from '@skep/cli/exit-codes.ts'
import { pathOf } from '../kube/kinds.ts'
import { type Kube, openKube } from '../kube/kube.ts'
import { ApiError, NOT_FOUND } from '../model/ports.ts'
import { GROUP, type TrackerCluster } from '../model/types.ts'

/**
 * Longest wait for the API server to take a definition into use, or for a cluster to be gone, milliseconds.
 */
const ESTABLISH_MS = 30_000
const DELETE_MS = 240_000
const LOOK_MS = 500

/** Where the words go and what time it is; a test has its own. */
export type HookEnds = {
  readonly kube: Pick<Kube, 'ask'>
  readonly say: (line: string) => void
  readonly wait: (ms: number) => Promise<void>
}

const ends = (): HookEnds => ({
  kube: openKube(),
  say: (line) => void process.stdout.write(`${line}\n`),
  wait: (ms) => sleep(ms),
})

export async function crdsCommand(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { folder: { type: 'string' } } })
  if (values.folder === undefined) {
    complain('operator crds needs --folder')
    return USAGE
  }
  const { folder } = values
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'))
  return await applyDefinitions(
    files.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Definition),
    ends(),
  )
}

export type Definition = {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
}

/** Server-side apply of each, then waits until the API server serves it. */
export async function applyDefinitions(
  definitions: readonly Definition[],
  { kube, say, wait }: HookEnds,
): Promise<number> {
  for (const definition of definitions) {
    const { name } = definition.metadata
    if (definition.kind !== 'CustomResourceDefinition' || !name.endsWith(`.${GROUP}`)) {
      say(`${name} is no definition of ${GROUP}: nothing is done`)
      return FAILURE
    }
  }
  for (const definition of definitions) {
    const { name } = definition.metadata
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`
    await kube.ask({
      method: 'PATCH',
      // In Helm's own name: under another, the next release that brings these definitions along would be
      // refused as a conflict.
      path: `${path}?fieldManager=helm&force=true`,
      contentType: 'application/apply-patch+yaml',
      body: definition,
    })
    if (
      !(await until(ESTABLISH_MS, wait, async () => established(await kube.ask({ method: 'GET', path }))))
    ) {
      say(`${name}: written, but not served after ${ESTABLISH_MS / 1000} s`)
      return FAILURE
    }
    say(`${name}: up to date`)
  }
  return OK
}

const established = (definition: unknown): boolean =>
  (definition as Definition).status?.conditions?.some(
    (c) => c.type === 'Established' && c.status === 'True',
  ) === true

export async function deleteClusterCommand(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { namespace: { type: 'string' }, name: { type: 'string' } } })
  if (values.namespace === undefined || values.name === undefined) {
    complain('operator delete-cluster needs --namespace and --name')
    return USAGE
  }
  return await deleteCluster(values.namespace, values.name, ends())
}

/** Deletes it and waits until it is gone; says what is waited for. */
export async function deleteCluster(namespace: string, name: string, hook: HookEnds): Promise<number> {
  const { kube, say, wait } = hook
  const path = pathOf('TrackerCluster', namespace, name)
  const read = (method: 'GET' | 'DELETE'): Promise<TrackerCluster | null> =>
    kube.ask({ method, path }).then(
      (answer) => answer as TrackerCluster,
      (error) => {
        if (error instanceof ApiError && error.code === NOT_FOUND) return null
        throw error
      },
    )
  if ((await read('DELETE')) === null) {
    say(`${namespace}/${name} is not there`)
    return OK
  }
  let told = ''
  const gone = await until(DELETE_MS, wait, async () => {
    const left = await read('GET')
    const doing = left?.status?.lastStep?.message ?? 'waiting for the operator'
    if (left !== null && doing !== told) say((told = doing))
    return left === null
  })
  if (gone) {
    say(`${namespace}/${name} is gone`)
    return OK
  }
  say(
    `${namespace}/${name} is still there after ${DELETE_MS / 1000} s: is the operator running? ` +
      `Without it: kubectl -n ${namespace} patch tc ${name} --type=merge -p '{"metadata":{"finalizers":null}}'`,
  )
  return FAILURE
}

async function until(
  ms: number,
  wait: (ms: number) => Promise<void>,
  look: () => Promise<boolean>,
): Promise<boolean> {
  for (let waited = 0; ; waited += LOOK_MS) {
    if (await look()) return true
    if (waited >= ms) return false
    await wait(LOOK_MS)
  }
}
