// Events for `kubectl describe` and `kubectl get events`: events.k8s.io/v1, the same one counted up instead
// of written again. Refuses: to fail a pass, to wait for, and more than a few a minute about one object: what
// repeats goes into a count.

import type { EventNote } from '../model/ports.ts'
import type { Clock } from './clock.ts'
import { pathOf } from './kinds.ts'
import type { Kube } from './kube.ts'

/**
 * The same event within this is counted, not made anew, milliseconds; the API server forgets events after an
 * hour.
 */
const SERIES_MS = 30 * 60_000
/** A count is written at most so often, milliseconds. */
const COUNT_EVERY_MS = 60_000
/** Events remembered; older ones are made anew. */
const MOST = 1000
/** Most bytes of a note that the API server takes. */
const NOTE_BYTES = 1000
const NAME_LETTERS = 8

type Told = { readonly name: string; readonly firstMs: number; count: number; writtenMs: number }

export type Events = {
  tell(note: EventNote): Promise<void>
  /** Events that the API server refused. */
  readonly counts: { refused: number }
}

export const newEvents = (
  kube: Pick<Kube, 'ask'>,
  instance: string,
  clock: Pick<Clock, 'nowMs' | 'chance'>,
): Events => {
  const told = new Map<string, Told>()
  const counts = { refused: 0 }
  const time = (): string => `${new Date().toISOString().slice(0, 23)}000Z`

  const make = async ({ about, type, reason, message }: EventNote): Promise<Told> => {
    const { metadata } = about
    const nowMs = clock.nowMs()
    const letters = Math.floor(clock.chance() * 36 ** NAME_LETTERS)
      .toString(36)
      .padStart(NAME_LETTERS, '0')
    const name = `${metadata.name}.${letters}`
    const namespace = metadata.namespace ?? 'default'
    await kube.ask({
      method: 'POST',
      path: pathOf('Event', namespace),
      body: {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        metadata: { name, namespace },
        eventTime: time(),
        type,
        reason,
        action: reason,
        note: short(message),
        reportingController: 'skep.dev/operator',
        reportingInstance: instance,
        regarding: {
          apiVersion: about.apiVersion,
          kind: about.kind,
          name: metadata.name,
          namespace,
          uid: metadata.uid,
          resourceVersion: metadata.resourceVersion,
        },
      },
    })
    return { name, firstMs: nowMs, count: 1, writtenMs: nowMs }
  }

  const count = async (note: EventNote, before: Told): Promise<void> => {
    before.count++
    if (clock.nowMs() - before.writtenMs < COUNT_EVERY_MS) return
    before.writtenMs = clock.nowMs()
    await kube.ask({
      method: 'PATCH',
      path: pathOf('Event', note.about.metadata.namespace ?? 'default', before.name),
      contentType: 'application/merge-patch+json',
      body: { series: { count: before.count, lastObservedTime: time() } },
    })
  }

  return {
    counts,
    async tell(note) {
      const key = [note.about.metadata.uid, note.type, note.reason, note.message].join('\n')
      const before = told.get(key)
      try {
        if (before !== undefined && clock.nowMs() - before.firstMs < SERIES_MS) await count(note, before)
        else {
          told.delete(key)
          told.set(key, await make(note))
          if (told.size > MOST) told.delete(told.keys().next().value!)
        }
      } catch {
        counts.refused++
        told.delete(key)
      }
    },
  }
}

const short = (text: string): string =>
  Buffer.byteLength(text) <= NOTE_BYTES ? text : `${text.slice(0, NOTE_BYTES / 4 - 3)}...`
