// `skep operator`: caches, the Lease, passes. Whatever it is doing, it may be killed: the next one looks and
// goes on. Refuses: to work without the Lease, and on caches that were never filled.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { explain } from '@skep/cli/complain.ts'
import { FAILURE, OK, UNAVAILABLE } from '@skep/cli/exit-codes.ts'
import { STANDARD_OUTPUT } from '@skep/cli/output.ts'
import { reconcileBackup } from './backup.ts'
import { type OperatorConfig, readConfig } from './config.ts'
import { type LiveApi, liveApi } from './kube/api.ts'
import { REAL_CLOCK } from './kube/clock.ts'
import { elect } from './kube/elect.ts'
import { type Kube, openKube } from './kube/kube.ts'
import { SILENT_MS } from './kube/watch.ts'
import { type Lists, liveLists } from './lists.ts'
import { type Log, openLog } from './log.ts'
import { controlClients, liveMembers } from './members.ts'
import { type Metrics, newMetrics } from './metrics.ts'
import { ApiError, CONFLICT } from './model/ports.ts'
import { reconcilePolicy } from './policy.ts'
import { newQueue, type Queue } from './queue.ts'
import { type Pass, reasonOf, reconcile } from './reconcile.ts'
import { serve } from './serve.ts'
import { keepSettings } from './settings.ts'
import { keyOf, partsOf, wokenBy, work } from './work.ts'
import { clusterKey, type World } from './world.ts'

/** After a signal, passes that are under way may end, milliseconds. */
const STOP_MS = 10_000
/** A watch that neither heard nor tried anything for so long does not come back by itself, milliseconds. */
const STUCK_MS = 2 * SILENT_MS

export async function operatorCommand(args: string[]): Promise<number> {
  const job = args[0] === undefined ? undefined : JOBS[args[0]]
  if (job !== undefined) return await (await job())(args.slice(1))
  try {
    const { config, print } = readConfig(args, process.env)
    if (print !== null) {
      process.stdout.write(print)
      return OK
    }
    return await operate(config)
  } catch (error) {
    return explain(error, 'skep operator')
  }
}

/** What the operator's Jobs run, in pods of their own. */
const JOBS: Readonly<Record<string, () => Promise<(args: string[]) => Promise<number>>>> = {
  'backup-run': async () => (await import('./jobs/backup.ts')).backupRun,
  'restore-run': async () => (await import('./jobs/backup.ts')).restoreRun,
  'purge-run': async () => (await import('./jobs/purge.ts')).purgeRun,
  crds: async () => (await import('./jobs/hooks.ts')).crdsCommand,
  'delete-cluster': async () => (await import('./jobs/hooks.ts')).deleteClusterCommand,
}

async function operate(config: OperatorConfig): Promise<number> {
  const log = openLog(config.logLevel)
  STANDARD_OUTPUT.again = (lines, why) => log('warn', 'lines of this log were lost', { lines, why })
  const stop = new AbortController()
  const why = onSignals(stop, log)
  let kube: Kube
  try {
    kube = openKube()
  } catch (error) {
    log(
      'error',
      `the API server is not known: ${reasonOf(error)}; in a pod a service account names it, elsewhere KUBECONFIG or ~/.kube/config`,
    )
    return UNAVAILABLE
  }
  const queue = newQueue()
  const marks = new Map<string, string>()
  let wake = (): void => {}
  const api = liveApi(kube, REAL_CLOCK, {
    namespaces: config.namespaces,
    instance: hostname(),
    onChange(kind, change) {
      for (const key of wokenBy(kind, change, marks)) queue.add(key, REAL_CLOCK.nowMs())
      wake()
    },
    onError: (message) => log('warn', 'a watch broke and is begun again', { reason: message }),
  })
  const metrics = newMetrics(() => api.caches, queue.size)
  const server = await listen(config, api, metrics, log)
  if (server === 'taken') return UNAVAILABLE
  log('info', 'started', {
    version: ownVersion(),
    server: kube.server,
    namespaces: config.namespaces.length === 0 ? 'all' : config.namespaces,
  })

  const watching = api.run(stop.signal)
  await Promise.race([api.whenFilled, once(stop.signal, 'abort')])
  const { world, lists } = newWorld(api, config.imageRepository)
  const begin = (): Promise<void> => {
    metrics.leading(true)
    const working = work(
      queue,
      config.workers,
      REAL_CLOCK,
      stop.signal,
      passOf(world, lists, metrics, log),
      (key, error, ms) =>
        log(isUsual(error) ? 'debug' : 'warn', 'a pass failed', {
          key,
          reason: reasonOf(error),
          again_ms: Math.round(ms),
        }),
    )
    wake = working.wake
    resync(api, queue, config, stop.signal, working.wake)
    return working.ended
  }
  const code = config.leaderElect ? await whileLeading(kube, config, stop, log, begin) : await alone(begin)
  stop.abort()
  metrics.leading(false)
  // Without the Lease nothing may go on, not for a moment.
  if (code === OK) await Promise.race([watching, sleep(STOP_MS)])
  server?.close()
  log('info', 'stopped', { why: why() })
  return code
}

const alone = async (begin: () => Promise<void>): Promise<number> => {
  await begin()
  return OK
}

/** Losing the Lease ends the process: whatever is under way may not go on beside another operator. */
const whileLeading = async (
  kube: Kube,
  config: OperatorConfig,
  stop: AbortController,
  log: Log,
  begin: () => Promise<void>,
): Promise<number> => {
  const namespace = config.leaseNamespace === '' ? kube.namespace : config.leaseNamespace
  const identity = `${hostname()}_${randomBytes(4).toString('hex')}`
  const released = new AbortController()
  let working: Promise<void> | null = null
  // The Lease is kept until the last pass has ended.
  stop.signal.addEventListener('abort', () => {
    Promise.race([working ?? Promise.resolve(), sleep(STOP_MS)]).then(() => released.abort())
  })
  const election = { namespace, lease: config.lease, identity }
  const end = await elect(kube, election, REAL_CLOCK, released.signal, (ours, holder) => {
    log('info', ours ? 'holds the lease and works' : 'another operator works', {
      holder,
      lease: config.lease,
    })
    if (ours) working ??= begin()
  })
  if (end === 'stopped') return OK
  log('error', 'the lease is lost: this process ends, another operator goes on', { lease: config.lease })
  return FAILURE
}

const newWorld = (api: LiveApi, repository: string): { world: World; lists: Lists } => {
  const memories: World['memories'] = new Map()
  const clients = controlClients((at) => memories.get(clusterKey(at.namespace, at.cluster))?.keys ?? [])
  const world: World = {
    api,
    members: liveMembers(clients),
    nowMs: () => Date.now(),
    makeKey: () => randomBytes(32).toString('hex'),
    repository,
    version: ownVersion(),
    memories,
  }
  return { world, lists: liveLists(clients) }
}

const passOf =
  (world: World, lists: Lists, metrics: Metrics, log: Log) =>
  async (key: string): Promise<number | null> => {
    const { kind, namespace, name } = partsOf(key)
    const cluster = `${namespace}/${name}`
    const from = performance.now()
    const told = (result: 'done' | 'failed', pass: Pass): void =>
      metrics.pass(
        kind,
        cluster,
        (performance.now() - from) / 1000,
        result,
        pass?.plan ?? null,
        pass?.wroteStatus ?? false,
      )
    try {
      if (kind !== 'TrackerCluster') {
        const again =
          kind === 'TorrentPolicy'
            ? await reconcilePolicy(world, lists, namespace, name)
            : await reconcileBackup(world, namespace, name)
        told('done', null)
        return again
      }
      const pass = await reconcile(world, namespace, name)
      told('done', pass)
      if (pass === null) metrics.gone(cluster)
      else if (pass.plan.step.kind !== 'none')
        log('info', pass.plan.message, { cluster, step: pass.plan.step.kind, reason: pass.plan.reason })
      else await keepSettings(world, lists, namespace, name)
      return pass?.plan.requeueAfterMs ?? null
    } catch (error) {
      told('failed', null)
      throw error
    }
  }

/** Somebody was quicker: the next pass looks again. */
const isUsual = (error: unknown): boolean => error instanceof ApiError && error.code === CONFLICT

const resync = async (
  api: LiveApi,
  queue: Queue,
  { resyncSeconds }: OperatorConfig,
  signal: AbortSignal,
  wake: () => void,
): Promise<void> => {
  while (!signal.aborted) {
    await REAL_CLOCK.wait(resyncSeconds * 1000, signal)
    for (const kind of ['TrackerCluster', 'TorrentPolicy', 'TrackerBackup'] as const)
      for (const cache of api.caches.filter((c) => c.of.kind === kind))
        for (const { metadata } of cache.all())
          queue.add(keyOf(kind, metadata.namespace ?? '', metadata.name), REAL_CLOCK.nowMs())
    wake()
  }
}

const listen = async (
  config: OperatorConfig,
  api: LiveApi,
  metrics: Metrics,
  log: Log,
): Promise<Server | null | 'taken'> => {
  if (config.metricsPort === 0) return null
  try {
    return await serve(config.metricsHost, config.metricsPort, {
      live: () => {
        // Not where the API server is away: starting again would not bring it back.
        const stuck = api.caches.find((c) => c.idleMs() > STUCK_MS)
        return stuck === undefined
          ? ''
          : `the watch of ${stuck.of.kind} is stuck for ${Math.round(stuck.idleMs() / 1000)} s`
      },
      ready: () => (api.filled() ? '' : `still to be listed: ${api.awaits().join(', ')}`),
      metrics: metrics.text,
      metricsType: metrics.contentType,
    })
  } catch (error) {
    log('error', `--metrics-port ${config.metricsPort}: ${reasonOf(error)}`)
    return 'taken'
  }
}

/** The first signal stops after the passes under way, the second at once. */
const onSignals = (stop: AbortController, log: Log): (() => string) => {
  let why = 'it has nothing to do any more'
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(FAILURE)
      why = signal
      log('info', 'stopping', { signal })
      stop.abort()
    })
  return () => why
}

const ownVersion = (): string =>
  (JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8')) as { version: string })
    .version
