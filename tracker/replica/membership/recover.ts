// `skep ctl recover --force`: a cluster that has lost its majority goes on from one survivor, as a
// configuration of one. Works on the log of a stopped replica. What is lost by it is written out first.
// Refuses: to run on a replica that was never a member or holds no state, and to write anything before it is
// told to.
//
// How: everything in the log counts as committed, and behind it entries are written that take every other
// member out, as a leader would have written them. A start applies them like any others, so the directory,
// the removed members and the snapshot all say the same. The term is raised, so that nothing an old leader
// has sent can fit in behind.

import { type ConfChange, type ConfState, type Core, ENTRY_CONF_CHANGE_V2, type Entry } from '@skep/raft'
import { newestEntries } from '../log/begin.ts'
import type { LogStore } from '../log/log.ts'
import { decodeIdentity, type Identity } from './birth.ts'
import { firstDirectory } from './birth-flow.ts'
import { configured, type Directory, idsOf, nameOf } from './directory.ts'
import { decodeDirectory } from './members-machine.ts'

export type RecoverReport = {
  /** Null: it can be done (or is done). */
  readonly refused: string | null
  readonly done: boolean
  readonly name: string
  readonly clusterId: string
  /** Members that are taken out. */
  readonly removed: readonly { readonly id: number; readonly name: string; readonly voter: boolean }[]
  readonly lastIndex: number
  readonly term: number
  /** Entries that this replica holds without knowing that a majority had them: they are kept. */
  readonly uncertain: number
  /** For an admin, in order. */
  readonly sentences: readonly string[]
}

/**
 * Replays a stopped replica's log in `core`, and with `force` writes the new configuration. Safe to repeat.
 * `level`: the highest that this program knows.
 */
export const recover = async (
  log: LogStore,
  core: Core,
  force: boolean,
  level: number,
): Promise<RecoverReport> => {
  const identity = log.identity === null ? null : decodeIdentity(log.identity, level)
  const fault = unfit(log, identity)
  if (fault !== null || identity === null) return refusal(identity, fault ?? '')
  const { confState, directory } = await replay(log, core, identity)
  const id = identity.memberId
  const known = idsOf(confState).includes(id)
  if (!known)
    return refusal(
      identity,
      `${identity.name} is no member of the cluster any more (member ${id}): its state ends where it was removed, so recover ` +
        'from another one, or delete this data directory and join again',
    )
  const others = idsOf(confState).filter((o) => o !== id)
  const entries = changes(log, confState, id)
  const report = describe(log, identity, confState, directory, others)
  if (!force || entries.length === 0) return report
  const term = report.term + 1
  const last = entries.at(-1)!.index
  await log.append({
    hardState: { term, vote: id, commit: last },
    entries: entries.map((e) => ({ ...e, term })),
    sync: true,
  })
  // What was remembered of others, or said of this one, was of the cluster that is no more.
  await log.setLives(new Uint8Array(), true)
  return { ...report, done: true }
}

const unfit = (log: LogStore, identity: Identity | null): string | null => {
  if (identity === null)
    return 'this data directory belongs to no cluster: there is nothing to recover. Name the survivor’s by --data-dir'
  if (identity.phase !== undefined)
    return `${identity.name} never became a member (it is ${identity.phase}): it holds no state to recover from`
  if (log.snapshot === null)
    return `${identity.name} has joined but was never sent the state: recover from a member that has it`
  return null
}

const refusal = (identity: Identity | null, sentence: string): RecoverReport => ({
  refused: sentence,
  done: false,
  name: identity?.name ?? '',
  clusterId: identity?.clusterId ?? '',
  removed: [],
  lastIndex: 0,
  term: 0,
  uncertain: 0,
  sentences: [sentence],
})

/**
 * Who is a member once all of the log is applied, and what they are called. The core knows the rules of
 * changes.
 */
const replay = async (
  log: LogStore,
  core: Core,
  identity: Identity,
): Promise<{ confState: ConfState; directory: Directory }> => {
  const snapshot = log.snapshot!
  let directory = firstDirectory(identity)
  if (snapshot.chunks > 0)
    for await (const chunk of log.readSnapshot(snapshot)) {
      directory = decodeDirectory(chunk) ?? directory
      break
    }
  const term = Math.max(log.hardState?.term ?? 0, log.term(log.lastIndex) ?? 0)
  const handle = core.create({
    ...{ id: identity.memberId, electionTicks: 10, heartbeatTicks: 1 },
    ...{ maxSizePerMessageBytes: 1 << 20, maxUncommittedBytes: 1 << 20 },
    ...{ maxInflightMessages: 16, maxInflightBytes: 1 << 20 },
    hardState: { term, vote: log.hardState?.vote ?? 0, commit: log.lastIndex },
    snapshot: { ...snapshot, data: new Uint8Array() },
    compacted: { index: log.firstIndex - 1, term: log.term(log.firstIndex - 1)! },
    entries: newestEntries(log, 1 << 20),
    applied: snapshot.index,
    readEntries: (from, to, maxBytes) => log.readEntries(from, to, maxBytes),
  })
  let confState = core.confState(handle)
  try {
    for (let ready = core.ready(handle); ready !== null; ready = core.ready(handle)) {
      const members = ready.committed.filter((e) => e.type !== 0)
      for (const e of members.map((entry) => ({ ...entry, data: Uint8Array.from(entry.data) }))) {
        confState = core.applyConfChange(handle, e)
        directory = configured(directory, confState, e)
      }
      core.advance(handle)
    }
  } finally {
    core.destroy(handle)
  }
  return { confState, directory }
}

/** One simple change after the other: each is valid by the rules, and all are committed already. */
const changes = (log: LogStore, c: ConfState, id: number): Entry[] => {
  const list: ConfChange['steps'][] = []
  if (c.votersOutgoing.length > 0) list.push([])
  if (!c.voters.includes(id)) list.push([{ type: 'add-voter', id }])
  for (const other of idsOf(c)) {
    // Leaving a joint configuration has taken those out already that were only on their way out.
    const stays = c.voters.includes(other) || c.learners.includes(other) || c.learnersNext.includes(other)
    if (other !== id && stays) list.push([{ type: 'remove', id: other }])
  }
  return list.map((steps, i) => ({
    index: log.lastIndex + 1 + i,
    term: 0,
    type: ENTRY_CONF_CHANGE_V2,
    data: encodeConfChange(steps),
  }))
}

const TYPES = { 'add-voter': 0, remove: 1, 'add-learner': 3 } as const

/**
 * raftpb.ConfChangeV2 without context: field 2, per step its type (1) and node (2). No steps: leaves a joint
 * one.
 */
export const encodeConfChange = (steps: ConfChange['steps']): Uint8Array =>
  Uint8Array.from(
    steps.flatMap(({ type, id }) => {
      const step = [...(TYPES[type] === 0 ? [] : [0x08, TYPES[type]]), 0x10, ...varint(id)]
      return [0x12, step.length, ...step]
    }),
  )

const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))])

const describe = (
  log: LogStore,
  identity: Identity,
  confState: ConfState,
  directory: Directory,
  others: readonly number[],
): RecoverReport => {
  const { name, clusterId } = identity
  const commit = log.hardState?.commit ?? 0
  const term = Math.max(log.hardState?.term ?? 0, log.term(log.lastIndex) ?? 0)
  const uncertain = Math.max(0, log.lastIndex - commit)
  const removed = others.map((id) => ({
    id,
    name: nameOf(directory, id),
    voter: confState.voters.includes(id) || confState.votersOutgoing.includes(id),
  }))
  const base = {
    refused: null,
    done: false,
    name,
    clusterId,
    removed,
    lastIndex: log.lastIndex,
    term,
    uncertain,
  }
  if (others.length === 0 && confState.voters.length === 1)
    return { ...base, sentences: [`${name} is the only member already: just start it`] }
  const gone = removed.map((m) => `${m.name} (member ${m.id}${m.voter ? '' : ', learner'})`).join(', ')
  return {
    ...base,
    sentences: [
      `${name} goes on alone with everything up to entry ${log.lastIndex} of term ${term}.`,
      `Kept though no majority is known to have had it: ${uncertain} ${uncertain === 1 ? 'entry' : 'entries'}. Whoever ` +
        'asked for that may have been told nothing, or an error.',
      'Lost: whatever the others answered after this replica last heard of them. How much that is cannot be known here. ' +
        'Peers that still live announce again within an interval; settings and access lists changed since then do not.',
      ...(confState.voters.includes(identity.memberId)
        ? []
        : [
            `${name} was a learner, so it may lack more than a voter would: recover from a voter if one survives.`,
          ]),
      `Taken out of the cluster: ${gone || 'nobody'}. Their IDs are never used again.`,
      'Before you start this replica: make sure that none of them runs, or can be started again with its old data. Two of ' +
        'three would lead a second cluster with the same ID. Delete their data directories; started empty with --join ' +
        'they come back as new members.',
    ],
  }
}
