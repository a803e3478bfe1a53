// The two watched lists of a replica: from `--allow-list` and `--deny-list` to changes in the log. They are
// in force before the first answer. Refuses: to start with a file that is missing or has a line that says
// nothing; and to touch a list whose option is not given: `skep ctl access` may hold it.

import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { TEMPORARY, USAGE } from '@skep/cli/exit-codes.ts'
import { SettledFile } from '@skep/cli/settled-file.ts'
import type { TrackerConfig } from '../config/options.ts'
import { type Changes, changesOf, type Propose } from '../control/changes.ts'
import type { Logger } from '../log.ts'
import { type AccessList, ALLOW, DENY } from '../swarm/access.ts'
import { clusterIdOf } from '../swarm/apply.ts'
import type { StoreBuffers } from '../swarm/layout.ts'
import { Store } from '../swarm/store.ts'
import { type AccessFile, committedDigest, listOf, remember, watchAccessFile } from './file.ts'
import type { InfoHashes } from './info-hash-list.ts'

/** Between tries to commit a list at the start, milliseconds. */
const TRY_MS = 100
/**
 * A follower waits for a leader that takes the same list from its own file, milliseconds. One that has none,
 * as while options are changed replica by replica, must not keep it from serving for ever.
 */
const LEADER_MS = 10_000

/** A list that this replica cannot start with; the message names file and line. */
export class ListRefused extends Error {
  readonly exitCode: number
  constructor(message: string, passes: boolean) {
    super(message)
    this.exitCode = passes ? TEMPORARY : USAGE
  }
}

export type ListName = 'allow' | 'deny'

type Lists = Pick<TrackerConfig, 'allowList' | 'denyList' | 'dataDir'>
type First = {
  readonly path: string
  readonly name: ListName
  readonly list: AccessList
  readonly option: string
  readonly text: string
  readonly hashes: InfoHashes
}

/** A replica that can be asked, but does not answer anybody yet. */
type Opened = {
  readonly store: StoreBuffers
  readonly propose: Propose
  status(): Promise<{ readonly role: string }>
  readonly serving: Promise<void>
  readonly failed: Promise<Error>
}

export type AccessFiles = {
  /** Resolves once the lists are in force; from then on their files are watched. Rejects: ListRefused. */
  settle(replica: Opened, signal: AbortSignal): Promise<void>
  /** Why a file is not in force, by list; '' where it is. */
  faults(): Readonly<Record<ListName, string>>
  stop(): void
}

/** Reads the files that are named. Rejects: ListRefused. */
export async function accessFiles(config: Lists, log: Logger, signal: AbortSignal): Promise<AccessFiles> {
  const first: First[] = []
  for (const [name, path, list] of [
    ['allow', config.allowList, ALLOW],
    ['deny', config.denyList, DENY],
  ] as const)
    if (path !== null) first.push(await readFirst(name, path, list, signal))
  const watched = new Map<ListName, AccessFile>()
  const faultOf = (name: ListName): string => watched.get(name)?.fault() ?? ''
  return {
    async settle(replica, until) {
      if (first.length === 0) return
      const store = new Store(replica.store)
      const changes = changesOf(store, replica.propose)
      await Promise.race([replica.serving, replica.failed, aborted(until)])
      for (const one of first) {
        if (until.aborted) return
        // A cluster that was born anew has empty lists, whatever an earlier one had taken from this file.
        const scope = clusterIdOf(store)
        const memory = join(config.dataDir, `${one.name}-list.seen`)
        await commitFirst(one, { scope, memory }, changes, replica, until, log)
        const options = {
          ...{ path: one.path, option: one.option, scope, memory, log },
          commit: ({ bytes }: InfoHashes) => commit(changes, one.list, bytes),
          entries: () => changes.access(one.list).entries,
        }
        watched.set(one.name, await watchAccessFile(options))
      }
    },
    faults: () => ({ allow: faultOf('allow'), deny: faultOf('deny') }),
    stop() {
      for (const file of watched.values()) file.stop()
    },
  }
}

async function readFirst(
  name: ListName,
  path: string,
  list: AccessList,
  signal: AbortSignal,
): Promise<First> {
  const option = `--${name}-list`
  const found = await new SettledFile(path).text(signal)
  if (found.kind === 'stopped' || found.kind === 'same')
    return { path, name, list, option, text: '', hashes: NO_HASHES }
  if (found.kind === 'fault')
    throw new ListRefused(`${option} ${path}: ${found.fault}. ${WITHOUT}`, found.passes)
  const read = listOf(found.text, 0)
  if (!read.ok) throw new ListRefused(`${option} ${path}, ${read.faults.join('; ')}. ${WITHOUT}`, false)
  return { path, name, list, option, text: found.text, hashes: read.hashes }
}

const NO_HASHES: InfoHashes = { bytes: new Uint8Array(0), count: 0, digest: '' }
const WITHOUT = 'Nothing is served with a list that cannot be read: mend it, or leave the option out'

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })

const inForce = (changes: Changes, list: AccessList, bytes: Uint8Array): boolean =>
  changes.access(list).active && Buffer.concat(changes.infoHashes(list)).equals(bytes)

async function commit(changes: Changes, list: AccessList, bytes: Uint8Array): Promise<void> {
  // The leader reads the same file and was quicker; only a leader can change lists.
  if (inForce(changes, list, bytes)) return
  const changed = await changes.changeAccess(list, 'replace', null, bytes)
  if (changed.kind !== 'done') throw new Error(changed.why)
}

/** Until the list is in force, here or by the leader. */
async function commitFirst(
  { path, list, option, text, hashes }: First,
  seen: { readonly scope: string; readonly memory: string },
  changes: Changes,
  replica: Opened,
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  if ((await committedDigest(seen)) === hashes.digest) return
  const read = listOf(text, changes.access(list).entries)
  if (!read.ok) throw new ListRefused(`${option} ${path}, ${read.faults.join('; ')}. ${WITHOUT}`, false)
  const until = performance.now() + LEADER_MS
  while (!signal.aborted) {
    if (inForce(changes, list, hashes.bytes)) break
    const changed = await changes.changeAccess(list, 'replace', null, hashes.bytes)
    if (changed.kind === 'done') break
    if (changed.kind === 'full' || changed.kind === 'invalid')
      throw new ListRefused(`${option} ${path}: ${changed.why}. ${WITHOUT}`, false)
    const { role } = await replica.status()
    const others = role !== 'leader' && (changes.access(list).revision > 0 || performance.now() > until)
    if (others) {
      log.warn(
        { file: path },
        `${option} ${path}: the leader has not taken this list; what the cluster has stays`,
      )
      return
    }
    await wait(TRY_MS, undefined, { signal }).catch(() => {})
  }
  if (signal.aborted) return
  await remember(seen, hashes.digest)
  log.info({ file: path, entries: hashes.count }, `${option}: list in force`)
}
