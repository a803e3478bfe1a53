// Thread entry of the replica: opens the log, becomes a member of a cluster (or of one of its own), and runs
// it. The only thread that writes the swarm table. Refuses: to go on after a panic of the core, a damaged log
// or a bug: it says why and ends, and the process with it.

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { NO_PERMISSION, TEMPORARY } from '@skep/cli/exit-codes.ts'
import { loadCore, RaftPanic } from '@skep/raft'
import { type FolderError, folderError } from '../keys/folder.ts'
import type { LogDisk } from '../replica/log/disk.ts'
import { LogDamaged, LogFormat, LogLocked, type LogStore, LogWriteFailed } from '../replica/log/log.ts'
import { openLog } from '../replica/log/store.ts'
import { type Identity, IdentityTooNew } from '../replica/membership/birth.ts'
import { Birth, BirthRefused, BirthStopped, firstDirectory } from '../replica/membership/birth-flow.ts'
import { LifeRefused } from '../replica/membership/lives.ts'
import { pskOf } from '../replica/transport/psk.ts'
import type { Birth as BirthRecord } from '../swarm/entry.ts'
import { allocate, type Limits, limitsFor } from '../swarm/layout.ts'
import { LEVEL, LevelUnknown } from '../swarm/level.ts'
import type { FailureKind, News, Order, ReplicaOptions } from './messages.ts'
import { Network } from './network.ts'
import { runMember } from './running.ts'

const options = workerData as ReplicaOptions
const port = parentPort!
const say = (news: News): void => port.postMessage(news)

/** Memory of the Raft core: it keeps 4 MiB of the log, and Go collects when this is full. */
const CORE_BYTES = 32 * 1024 * 1024

const main = async (): Promise<void> => {
  try {
    writeFileSync('/proc/thread-self/comm', 'replica')
  } catch {
    // Only Linux names threads this way; nothing depends on it.
  }
  const slice = options.sliceNanoseconds ?? 0
  // Where there are no system calls the thread has the system's slice.
  if (slice > 0)
    await import('../native/scheduler.ts').then(
      (s) => s.setSchedulerSlice(slice),
      () => {},
    )
  port.on('message', early)
  const log = await openLog(await disk(), { group: 0, loose: options.fsync === 'interval' })
  goOn()
  const { identity, network } = await become(log)
  const core = await loadCore({ memoryLimitBytes: CORE_BYTES, touch: true })
  core.warmUp()
  goOn()
  const buffers = allocate((identity.birth as BirthRecord).limits, process.arch === 'x64')
  const directory = firstDirectory(identity)
  await runMember({ options, say, log, core, identity, directory, buffers, network }, port)
}

/** Of the network, in force. */
let keys = (options.cluster?.networkKeys ?? []).map(pskOf)

/** Told to stop while it is still becoming somebody: what is under way ends, and the rest is not begun. */
const stopped = new AbortController()
const early = (order: Order): void => {
  if (order.kind === 'stop') stopped.abort()
  if (order.kind === 'keys') keys = order.keys.map(pskOf)
}
const goOn = (): void => {
  if (stopped.signal.aborted) throw new BirthStopped('stopped before it answered')
}

const disk = async (): Promise<LogDisk> => {
  const dir = join(options.dataDir, 'replica')
  if (options.logStore === 'lmdb') return (await import('../replica/log/lmdb.ts')).lmdbDisk(dir)
  return (await import('../replica/log/level.ts')).levelDisk(dir)
}

/**
 * Who this replica is: from its log, or settled now with the others, and written down before anything else.
 */
const become = async (log: LogStore): Promise<{ identity: Identity; network: Network | null }> => {
  const { cluster } = options
  let network: Network | null = null
  const birth = new Birth({
    log,
    name: options.name,
    address: cluster?.address ?? '',
    initialMembers: cluster?.initialMembers ?? [],
    join: cluster?.join ?? null,
    learner: cluster?.learner ?? false,
    ask: (address, question) => network!.ask(address, question),
    randomWord: () => randomBytes(4).readInt32LE(),
    level: LEVEL,
    birth: newBirth,
    refuses: (record) => lackOfRoom((record as BirthRecord).limits),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    say: (sentence) => say({ kind: 'note', sentence }),
  })
  if (cluster !== undefined && cluster !== null) {
    network = new Network(
      cluster,
      () => keys,
      options.name,
      LEVEL,
      (question) => birth.answer(question),
    )
    await network.transport.listen()
  }
  stopped.signal.addEventListener('abort', () => birth.stop())
  const identity = await birth.run()
  say({ kind: 'note', sentence: '' })
  return { identity, network }
}

const newBirth = (clusterId: string, level: number): BirthRecord => {
  const words = new Int32Array(new Uint8Array(randomBytes(28)).buffer)
  return {
    clusterId,
    hashSeed: words[0]!,
    ...(level < 2 ? {} : { hashKey: [words[3]!, words[4]!, words[5]!, words[6]!] }),
    idKey: [words[1]!, words[2]!],
    limits: limitsFor(options.memoryBytes, options.peerDetails),
    settings: options.birthSettings,
    level,
  }
}

/** Every member applies the same entries, so every member needs the room that the cluster was born with. */
const lackOfRoom = (born: Limits): string | null => {
  const mine = limitsFor(options.memoryBytes, born.details)
  for (const name of ['torrents', 'pages4', 'pages6'] as const)
    if (mine[name] < born[name])
      return (
        `this cluster was born with room for ${born.torrents} torrents and ${born.pages4 * 64} IPv4 peers; ` +
        `--memory ${Math.floor(options.memoryBytes / 2 ** 20)}MiB is less: start with at least what it was born with`
      )
  return null
}

const folderFault = (error: unknown): FolderError =>
  folderError(options.dataDir, join(options.dataDir, 'replica'), error)

const kindOf = (error: unknown): FailureKind => {
  if (error instanceof LogDamaged) return 'damaged'
  if (error instanceof LogLocked) return 'locked'
  if (error instanceof LogFormat) return 'format'
  if (error instanceof BirthStopped) return 'stopped'
  if (error instanceof BirthRefused || error instanceof IdentityTooNew || error instanceof LevelUnknown)
    return 'refused'
  if (error instanceof LifeRefused) return 'copy'
  if (error instanceof RaftPanic) return 'panic'
  const { code, syscall } = error as NodeJS.ErrnoException
  if (syscall === 'listen' || syscall === 'getaddrinfo') return 'port'
  if (!(error instanceof LogWriteFailed) && typeof code !== 'string') return 'bug'
  const { exitCode } = folderFault(error)
  return exitCode === TEMPORARY ? 'full' : exitCode === NO_PERMISSION ? 'forbidden' : 'disk'
}

const failed = (error: unknown): void => {
  const { message: told, stack } = error instanceof Error ? error : new Error(String(error))
  const failure = kindOf(error)
  const message = failure === 'full' || failure === 'forbidden' ? folderFault(error).message : told
  say({ kind: 'failed', failure, message, ...(stack === undefined ? {} : { stack }) })
  port.close()
  // The message is on its way; nothing else may run on this state.
  setImmediate(() => process.exit(1))
}

process.on('uncaughtException', failed)
process.on('unhandledRejection', failed)
main().catch(failed)
