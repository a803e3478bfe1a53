// The control API's calls: skep.cluster.v1.Cluster over whatever serves a replica. Messages in, messages out.
// Refuses: knowing sockets, tokens and threads; server.ts lets in only who may ask.

import { setTimeout as wait } from 'node:timers/promises'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect'
import { INFO_HASH_BYTES } from '@skep/wire/info-hash.ts'
import {
  AccessList,
  AccessOperation,
  AllowPrivate,
  type ChangeSettingsRequest,
  Cluster,
  type SettingsSchema,
  type StatusResponseSchema,
} from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { ALLOW, DENY, type AccessOperation as Operation } from '../swarm/access.ts'
import type { Settings } from '../swarm/settings.ts'
import type { Changed, Changes } from './changes.ts'
import { type MemberCalls, memberCalls } from './members.ts'

export type StatusMessage = MessageInitShape<typeof StatusResponseSchema>

/** What the control API can do to a replica that is a member of a cluster. */
export type Born = {
  readonly changes: Changes
  readonly members: MemberCalls
  /** Resolves with the snapshot's index once it is on disk. */
  snapshot(): Promise<number>
  /** A snapshot of now as a portable file, piece by piece. */
  save(): Promise<{ readonly totalBytes: number; readonly pieces: AsyncIterable<Uint8Array> }>
}

/** What it can do to any. */
export type Controlled = {
  status(): Promise<StatusMessage>
  /** Null: it is no member yet. */
  born(): Born | null
  /** What is awaited until then. */
  awaits(): string
  /**
   * Hands leadership over and is not ready; goes on answering for `forMs`, or until `signal`. Resolves with
   * what came of it.
   */
  drain(forMs: number, undo: boolean, signal: AbortSignal): Promise<string>
  /** Begins to stop; returns at once. */
  stop(purge: boolean): void
}

const WATCH_DEFAULT_MS = 1000
const WATCH_LEAST_MS = 100
const WATCH_MOST_MS = 60_000
/** Longest drain, milliseconds. */
const DRAIN_MOST_MS = 600_000

export const ALLOW_PRIVATE = {
  auto: AllowPrivate.AUTO,
  on: AllowPrivate.ON,
  off: AllowPrivate.OFF,
} as const

const OPERATIONS: Readonly<Record<number, Operation>> = {
  [AccessOperation.REPLACE]: 'replace',
  [AccessOperation.ADD]: 'add',
  [AccessOperation.REMOVE]: 'remove',
  [AccessOperation.OFF]: 'off',
}

export const clusterRoutes =
  (replica: Controlled) =>
  (router: ConnectRouter): void => {
    const born = (): Born => {
      const member = replica.born()
      if (member !== null) return member
      throw new ConnectError(
        `this replica is no member of a cluster yet, and only tells its status: ${replica.awaits()}`,
        Code.Unavailable,
      )
    }
    router.service(Cluster, {
      status: () => replica.status(),
      async *watch({ periodMs }, { signal }) {
        const period = periodMs === 0 ? WATCH_DEFAULT_MS : periodMs
        if (period < WATCH_LEAST_MS || period > WATCH_MOST_MS)
          throw new ConnectError(
            `period_ms must be ${WATCH_LEAST_MS} to ${WATCH_MOST_MS}`,
            Code.InvalidArgument,
          )
        while (!signal.aborted) {
          yield { status: await replica.status() }
          await wait(period, undefined, { signal, ref: false }).catch(() => {})
        }
      },
      getSettings: () => ({ settings: settingsMessage(born().changes.settings()) }),
      async changeSettings(request) {
        const { changes } = born()
        done(await changes.changeSettings(settingsChange(request)))
        return { settings: settingsMessage(changes.settings()) }
      },
      getAccess({ list }) {
        const { changes } = born()
        const number = listOf(list)
        const { active, revision } = changes.access(number)
        return { active, revision, infoHashes: changes.infoHashes(number) as Uint8Array<ArrayBuffer>[] }
      },
      async changeAccess({ list, operation, infoHashes, expectedRevision }) {
        const { changes } = born()
        const number = listOf(list)
        const named = OPERATIONS[operation]
        if (named === undefined)
          throw new ConnectError('operation must be replace, add, remove or off', Code.InvalidArgument)
        if (infoHashes.some((hash) => hash.length !== INFO_HASH_BYTES))
          throw new ConnectError(`each info_hash must have ${INFO_HASH_BYTES} bytes`, Code.InvalidArgument)
        done(await changes.changeAccess(number, named, expectedRevision ?? null, Buffer.concat(infoHashes)))
        return changes.access(number)
      },
      ...memberCalls(() => born().members),
      snapshot: async () => ({ snapshotIndex: BigInt(await born().snapshot()) }),
      async *saveSnapshot() {
        const { totalBytes, pieces } = await born().save()
        for await (const piece of pieces)
          yield { piece: piece as Uint8Array<ArrayBuffer>, totalBytes: BigInt(totalBytes) }
      },
      async drain({ forMs, undo }, { signal }) {
        if (forMs > DRAIN_MOST_MS)
          throw new ConnectError(`for_ms must be 0 to ${DRAIN_MOST_MS}`, Code.InvalidArgument)
        return { message: await replica.drain(forMs, undo, signal) }
      },
      stop({ purge }) {
        replica.stop(purge)
        return {}
      },
    })
  }

function listOf(list: AccessList): typeof ALLOW | typeof DENY {
  if (list === AccessList.ALLOW) return ALLOW
  if (list === AccessList.DENY) return DENY
  throw new ConnectError('list must be allow or deny', Code.InvalidArgument)
}

/** Throws what is not done as the error a client can act on. */
function done(changed: Changed): void {
  if (changed.kind === 'done') return
  const code = {
    invalid: Code.InvalidArgument,
    conflict: Code.Aborted,
    full: Code.ResourceExhausted,
    refused: Code.Unavailable,
    unknown: Code.DeadlineExceeded,
  }[changed.kind]
  throw new ConnectError(changed.why, code)
}

const settingsMessage = (settings: Settings): MessageInitShape<typeof SettingsSchema> => ({
  ...settings,
  allowPrivate: ALLOW_PRIVATE[settings.allowPrivate],
})

function settingsChange(request: ChangeSettingsRequest): Partial<Settings> {
  const { intervalSeconds, intervalMaxSeconds, numwantDefault, numwantMax, allowPrivate } = request
  const named = Object.entries(ALLOW_PRIVATE).find(([, value]) => value === allowPrivate)?.[0]
  if (allowPrivate !== undefined && named === undefined)
    throw new ConnectError('allow_private must be auto, on or off', Code.InvalidArgument)
  return {
    ...(intervalSeconds !== undefined && { intervalSeconds }),
    ...(intervalMaxSeconds !== undefined && { intervalMaxSeconds }),
    ...(numwantDefault !== undefined && { numwantDefault }),
    ...(numwantMax !== undefined && { numwantMax }),
    ...(named !== undefined && { allowPrivate: named as Settings['allowPrivate'] }),
  }
}
