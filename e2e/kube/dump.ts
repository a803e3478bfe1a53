// What helps to understand a failure, in a folder: what Kubernetes and the operator say, and the logs of
// every pod. Refuses: to fail itself; what cannot be had is left out.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Report } from './outside.ts'
import type { Target } from './target.ts'
import { NAMESPACE } from './world.ts'

const EACH_MS = 20_000

/** Writes it all; returns the folder. */
export async function dump(
  target: Target,
  folder: string,
  why: string,
  report: Report | undefined,
): Promise<string> {
  mkdirSync(folder, { recursive: true })
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
  write('why.txt', `${why}\n`)
  if (report !== undefined) write('users.json', JSON.stringify(report, null, 2))
  const of = async (name: string, ...args: string[]): Promise<void> => {
    const done = await target.kubectl(['-n', NAMESPACE, ...args], { timeoutMs: EACH_MS })
    write(name, done.code === 0 ? done.out : `${done.out}\n${done.err}`)
  }
  await of('overview.txt', 'get', 'nodes,tc,sts,pods,pvc,svc,endpointslices,pdb,jobs', '-o', 'wide')
  await of('trackerclusters.yaml', 'get', 'tc', '-o', 'yaml')
  await of('events.txt', 'get', 'events', '--sort-by=.lastTimestamp')
  await of('objects.yaml', 'get', 'sts,pods,svc,configmaps,endpointslices,leases', '-o', 'yaml')
  await of('describe.txt', 'describe', 'pods,pvc')
  const pods = await target.api.list('pods', NAMESPACE).catch(() => [])
  for (const { metadata } of pods) {
    await of(`log-${metadata.name}.txt`, 'logs', metadata.name, '--all-containers', '--tail=2000')
    await of(
      `log-${metadata.name}-before.txt`,
      'logs',
      metadata.name,
      '--all-containers',
      '--previous',
      '--tail=500',
    )
  }
  return folder
}
