// A list that is kept up to date: one kind in one namespace (or all). Lists, watches from there, and begins
// again after 410 or whatever breaks. A stream that says nothing is taken for dead: bookmarks come each
// minute, and TCP alone does not notice a cable that was pulled. Refuses: to be believed silently; it says
// when it last heard from the server.

import { ApiError, type KubeObject } from '../model/ports.ts'
import type { Clock } from './clock.ts'
import { apiVersionOf, type Kind, pathOf } from './kinds.ts'
import type { Kube } from './kube.ts'

/** Without a line of a watch for so long it is begun anew, milliseconds; bookmarks come about every 60 s. */
const QUIET_MS = 90_000
/** Without success for so long what the list shows cannot be believed, milliseconds. */
export const SILENT_MS = 120_000
/** Objects a page of a list. */
const PAGE = 500
const BACKOFF_FIRST_MS = 200
const BACKOFF_MOST_MS = 15_000

export type WatchOf = {
  readonly kind: Kind
  /** null: all. */
  readonly namespace: string | null
  /** Label selector; '' : all. */
  readonly labels: string
}

export type Change = { readonly type: 'put' | 'gone'; readonly object: KubeObject }

export type Cache = {
  readonly of: WatchOf
  get(namespace: string, name: string): KubeObject | null
  all(): Iterable<KubeObject>
  /** Listed once. */
  readonly filled: () => boolean
  readonly whenFilled: Promise<void>
  /** Milliseconds since the server was last heard of. */
  silentMs(): number
  /** Milliseconds since it was last heard of or tried: where this grows, the loop itself is stuck. */
  idleMs(): number
  /** Watches that were begun, and lists; for metrics. */
  readonly counts: { watches: number; lists: number; errors: number }
  /** Clock when the signal is raised. Never rejects. */
  run(signal: AbortSignal): Promise<void>
}

type Line = {
  readonly type: string
  readonly object: KubeObject & { readonly code?: number; readonly message?: string }
}

export const newCache = (
  kube: Pick<Kube, 'ask' | 'lines'>,
  of: WatchOf,
  clock: Clock,
  onChange: (change: Change) => void,
  onError: (message: string) => void = () => {},
): Cache => {
  const objects = new Map<string, KubeObject>()
  const counts = { watches: 0, lists: 0, errors: 0 }
  let filled = false
  const full = Promise.withResolvers<void>()
  let heardMs = clock.nowMs()
  let triedMs = heardMs
  let version: string | null = null
  const keyOf = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ''}/${metadata.name}`
  const put = (object: KubeObject): void => {
    objects.set(keyOf(object), object)
    onChange({ type: 'put', object })
  }
  const drop = (object: KubeObject): void => {
    if (objects.delete(keyOf(object))) onChange({ type: 'gone', object })
  }
  const query = (more: Record<string, string>): string => {
    const all = { ...(of.labels === '' ? {} : { labelSelector: of.labels }), ...more }
    return `${pathOf(of.kind, of.namespace)}?${new URLSearchParams(all)}`
  }

  const list = async (): Promise<void> => {
    counts.lists++
    const there = new Map<string, KubeObject>()
    let next = ''
    let listed: string
    do {
      const path = query({ limit: String(PAGE), ...(next === '' ? {} : { continue: next }) })
      const page = (await kube.ask({ method: 'GET', path })) as {
        metadata: { resourceVersion: string; continue?: string }
        items: readonly KubeObject[]
      }
      // Items of a list do not say what they are.
      for (const item of page.items) {
        const object = { ...item, kind: of.kind, apiVersion: apiVersionOf(of.kind) }
        there.set(keyOf(object), object)
      }
      next = page.metadata.continue ?? ''
      listed = page.metadata.resourceVersion
    } while (next !== '')
    for (const [key, object] of objects) if (!there.has(key)) drop(object)
    for (const [key, object] of there)
      if (objects.get(key)?.metadata.resourceVersion !== object.metadata.resourceVersion) put(object)
    version = listed
    filled = true
    full.resolve()
    heardMs = clock.nowMs()
  }

  const take = (text: string): void => {
    const { type, object } = JSON.parse(text) as Line
    if (type === 'ERROR') throw new ApiError(object.code ?? 0, object.message ?? 'the watch failed')
    version = object.metadata.resourceVersion ?? version
    if (type === 'DELETED') drop(object)
    else if (type !== 'BOOKMARK') put(object)
  }

  const watch = async (signal: AbortSignal): Promise<void> => {
    counts.watches++
    const stop = new AbortController()
    const end = AbortSignal.any([signal, stop.signal])
    let lineMs = clock.nowMs()
    const heard = (): void => {
      lineMs = heardMs = clock.nowMs()
    }
    const quiet = (async () => {
      while (!end.aborted) {
        await clock.wait(Math.max(1, lineMs + QUIET_MS - clock.nowMs()), end)
        if (clock.nowMs() - lineMs >= QUIET_MS) stop.abort()
      }
    })()
    const path = query({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: version!,
      timeoutSeconds: String(Math.round(240 + 120 * clock.chance())),
    })
    let fault: unknown = null
    try {
      await kube.lines(path, end, heard, (line) => {
        heard()
        try {
          take(line)
        } catch (error) {
          fault = error
          stop.abort()
        }
      })
    } catch (error) {
      if (fault === null && !end.aborted) throw error
    } finally {
      stop.abort()
      await quiet
    }
    if (fault !== null) throw fault
  }

  return {
    of,
    get: (namespace, name) => objects.get(`${namespace}/${name}`) ?? null,
    all: () => objects.values(),
    filled: () => filled,
    whenFilled: full.promise,
    silentMs: () => clock.nowMs() - heardMs,
    idleMs: () => clock.nowMs() - Math.max(heardMs, triedMs),
    counts,
    async run(signal) {
      let failures = 0
      while (!signal.aborted)
        try {
          triedMs = clock.nowMs()
          if (version === null) await list()
          await watch(signal)
          failures = 0
        } catch (error) {
          counts.errors++
          // Without an answer the watch goes on where it was. After any other (410: too long ago) only a list
          // says what was missed.
          if (!(error instanceof ApiError) || error.code !== 0) version = null
          if (!signal.aborted)
            onError(`${of.kind}: ${error instanceof Error ? error.message : String(error)}`)
          const most = Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failures++, 10))
          await clock.wait(most * (0.5 + clock.chance() / 2), signal)
        }
    },
  }
}
