// The control API's calls: skep.cluster.v1.Cluster over whatever serves a replica. Messages in, messages out.
// Refuses: knowing sockets, tokens and threads; control-server.ts lets in only who may ask.

import { setTimeout as wait } from 'node:timers/promises'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect'
import {
  AccessList,
  AccessOperation,
  AllowPrivate,
  type ChangeSettingsRequest,
  Cluster,
  type SettingsSchema,
  type StatusResponseSchema,
} from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { INFO_HASH_BYTES } from './access-list.ts'
import type { Changed, Changes } from './control-changes.ts'
import { type MemberCalls, memberCalls } from './control-members.ts'
import { ALLOW, DENY, type AccessOperation as Operation } from './swarm/access.ts'
import type { Settings } from './swarm/settings.ts'

export type StatusMessage = MessageInitShape<typeof StatusResponseSchema>

/** What the control API can do to a replica. */
export type Controlled = {
  status(): Promise<StatusMessage>
  readonly changes: Changes
  readonly members: MemberCalls
  /** Resolves with the snapshot's index once it is on disk. */
  snapshot(): Promise<number>
  /** Begins to stop; returns at once. */
  stop(purge: boolean): void
}

const WATCH_DEFAULT_MS = 1000
const WATCH_LEAST_MS = 100
const WATCH_MOST_MS = 60_000

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
    const { changes } = replica
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
      getSettings: () => ({ settings: settingsMessage(changes.settings()) }),
      async changeSettings(request) {
        done(await changes.changeSettings(settingsChange(request)))
        return { settings: settingsMessage(changes.settings()) }
      },
      getAccess({ list }) {
        const number = listOf(list)
        const { active, revision } = changes.access(number)
        return { active, revision, infoHashes: changes.infoHashes(number) as Uint8Array<ArrayBuffer>[] }
      },
      async changeAccess({ list, operation, infoHashes, expectedRevision }) {
        const number = listOf(list)
        const named = OPERATIONS[operation]
        if (named === undefined)
          throw new ConnectError('operation must be replace, add, remove or off', Code.InvalidArgument)
        if (infoHashes.some((hash) => hash.length !== INFO_HASH_BYTES))
          throw new ConnectError(`each info_hash must have ${INFO_HASH_BYTES} bytes`, Code.InvalidArgument)
        done(await changes.changeAccess(number, named, expectedRevision ?? null, Buffer.concat(infoHashes)))
        return changes.access(number)
      },
      ...memberCalls(replica.members),
      snapshot: async () => ({ snapshotIndex: BigInt(await replica.snapshot()) }),
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

export const settingsMessage = (settings: Settings): MessageInitShape<typeof SettingsSchema> => ({
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
