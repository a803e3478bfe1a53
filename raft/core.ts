// etcd's Raft core (go.etcd.io/raft/v3, RawNode) for JavaScript: messages in, Ready out, many groups in one
// instance. It decides; the caller owns disk, network and clock. It refuses to do I/O, and after a panic it
// refuses everything.
import type { Core, CoreOptions } from './api.ts'
import { compileCore } from './artefact.ts'
import { RaftError } from './errors.ts'
import { type Instance, startInstance } from './instance.ts'
import {
  ERROR_CODES,
  makeWriter,
  putConfChange,
  putDescriptor,
  putOptions,
  readConfState,
  readProgress,
  readReady,
  type Writer,
} from './layout.ts'
import type { RaftErrorCode, Result, Role } from './types.ts'

export type { Core, CoreOptions } from './api.ts'
export { compileCore } from './artefact.ts'
export { RaftError, RaftPanic } from './errors.ts'
export type * from './types.ts'
export { ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, ENTRY_NORMAL } from './types.ts'

/**
 * Proposals above this are dropped, messages above it refused: an entry has to fit a frame and the memory.
 */
export const MAX_INPUT_BYTES = 64 * 1024 * 1024
const DEFAULT_MEMORY_LIMIT_BYTES = 64 * 1024 * 1024
const ROLES: readonly Role[] = ['follower', 'candidate', 'leader', 'pre-candidate']
const OK: Result = { ok: true }

/** Starts an instance. Takes some 50 ms the first time in a thread. */
export const loadCore = async (options: CoreOptions = {}): Promise<Core> => {
  const instance = startInstance(options.module ?? (await compileCore()), {
    random: options.random ?? secureRandom(),
    now: options.now ?? ((): number => performance.now()),
  })
  const limit = options.memoryLimitBytes ?? DEFAULT_MEMORY_LIMIT_BYTES
  // No growth rule (-1), only the limit: the rule would let the memory double, and growing is what hurts the
  // host.
  instance.call('collect_by', -1, limit)
  instance.call('reserve', options.reserveBytes ?? limit)
  if (options.touch === true) touch(instance.linear().buffer)
  const wire = connect(instance)
  const core: Core = {
    ...groupCalls(wire),
    ...logCalls(wire),
    ...readyCalls(wire),
    ...leaderCalls(wire),
    ...statusCalls(wire),
    warmUp: (proposals = 1000) => warmUp(core, proposals),
  }
  return core
}

/**
 * Writes a byte of every page back to itself: from then on the memory is the process's, and does not seem to
 * grow.
 */
const touch = (memory: ArrayBuffer): void => {
  const bytes = new Uint8Array(memory)
  for (let at = 0; at < bytes.length; at += 4096) Atomics.or(bytes, at, 0)
}

const secureRandom = (): (() => number) => {
  const pool = new Uint32Array(256)
  let left = 0
  return () => {
    if (left === 0) {
      crypto.getRandomValues(pool)
      left = pool.length
    }
    return pool[--left]! / 2 ** 32
  }
}

/** How bytes and refusals get over; shared by all calls below. */
type Wire = Instance & {
  readonly alive: Set<number>
  /** Throws for a handle that is not in use: the core itself would panic. */
  readonly known: (handle: number) => number
  readonly result: (code: number) => Result
  readonly failure: () => string
  readonly give: (room: 'input' | 'fresh', data: Uint8Array) => void
  readonly giveWritten: (write: (w: Writer) => void) => void
  /** Where the last answer lies. Asked before the memory is looked at: calls may move it. */
  readonly output: () => number
  readonly fixed: (k: number) => number
}

const connect = (instance: Instance): Wire => {
  const { call, linear } = instance
  const alive = new Set<number>()
  const numbersAt = call('output_numbers') >>> 0
  const output = (): number => call('output') >>> 0
  const failure = (): string => {
    const n = call('failure')
    const at = output()
    return new TextDecoder().decode(linear().bytes.subarray(at, at + n))
  }
  const give = (room: 'input' | 'fresh', data: Uint8Array): void => {
    const at = call(room, data.length) >>> 0
    linear().bytes.set(data, at)
  }
  return {
    ...instance,
    alive,
    output,
    failure,
    give,
    known: (handle) => {
      if (!alive.has(handle)) throw new RaftError('bad-config', `no group has handle ${handle}`)
      return handle
    },
    result: (code) => (code === 0 ? OK : { ok: false, code: ERROR_CODES[code]!, message: failure() }),
    giveWritten: (write) => {
      const w = makeWriter()
      write(w)
      give('input', w.bytes.subarray(0, w.length))
    },
    fixed: (k) => linear().view.getFloat64(numbersAt + 8 * k, true),
  }
}

const groupCalls = ({ call, known, result, giveWritten, alive, readers, failure }: Wire) => {
  let last = 0
  return {
    create: (options) => {
      giveWritten((w) => putOptions(w, options))
      // The core may want old entries before it has told the handle: handles count up from 1.
      if (options.readEntries !== undefined) readers.set(last + 1, options.readEntries)
      const handle = call('create')
      if (handle === 0) {
        readers.delete(last + 1)
        throw new RaftError('bad-config', failure())
      }
      last = handle
      alive.add(handle)
      return handle
    },
    destroy: (handle) => {
      call('destroy', known(handle))
      alive.delete(handle)
      readers.delete(handle)
    },
    tick: (handle) => void call('tick', known(handle)),
    campaign: (handle) => result(call('campaign', known(handle))),
  } satisfies Partial<Core>
}

const tooLarge = (code: RaftErrorCode, data: Uint8Array): Result => {
  return { ok: false, code, message: `${data.length} bytes are more than ${MAX_INPUT_BYTES}` }
}

const logCalls = ({ call, known, result, give, giveWritten, output, linear }: Wire) =>
  ({
    propose: (handle, data) => {
      if (data.length > MAX_INPUT_BYTES) return tooLarge('proposal-dropped', data)
      known(handle)
      give('fresh', data)
      return result(call('propose', handle))
    },
    proposeConfChange: (handle, change) => {
      known(handle)
      giveWritten((w) => putConfChange(w, change))
      return result(call('propose_conf_change', handle))
    },
    applyConfChange: (handle, entry) => {
      if (entry.type === 0)
        throw new RaftError('bad-message', `entry ${entry.index} changes no configuration`)
      known(handle)
      // The data may be a view of the very memory it is copied to.
      give('input', entry.data.slice())
      const refused = result(call('apply_conf_change', handle, entry.type, entry.index))
      if (!refused.ok) throw new RaftError(refused.code, refused.message)
      const at = output()
      return readConfState(linear(), at)
    },
    step: (handle, message) => {
      if (message.length > MAX_INPUT_BYTES) return tooLarge('bad-message', message)
      known(handle)
      give('input', message)
      return result(call('step', handle))
    },
    compact: (handle, index) => result(call('compact', known(handle), index)),
    createSnapshot: (handle, index, confState, descriptor) => {
      known(handle)
      giveWritten((w) => putDescriptor(w, confState, descriptor))
      return result(call('create_snapshot', handle, index))
    },
  }) satisfies Partial<Core>

const readyCalls = ({ call, known, result, output, linear }: Wire) =>
  ({
    ready: (handle, keepMessages = false) => {
      if (call('ready', known(handle), keepMessages ? 1 : 0) === 0) return null
      const at = output()
      return readReady(linear(), at)
    },
    hasReady: (handle) => call('has_ready', known(handle)) === 1,
    advance: (handle) => void call('advance', known(handle)),
    stepSlot: (handle, slot) => result(call('step_slot', known(handle), slot)),
    releaseSlot: (slot) => void call('release_slot', slot),
    slotBytes: (slot) => {
      const n = call('slot_bytes', slot)
      const at = output()
      return new Uint8Array(linear().buffer, at, n)
    },
  }) satisfies Partial<Core>

const leaderCalls = ({ call, known, give }: Wire) =>
  ({
    transferLeadership: (handle, to) => void call('transfer_leadership', known(handle), to),
    forgetLeader: (handle) => void call('forget_leader', known(handle)),
    readIndex: (handle, context) => {
      known(handle)
      give('fresh', context)
      call('read_index', handle)
    },
    reportUnreachable: (handle, id) => void call('report_unreachable', known(handle), id),
    reportSnapshot: (handle, id, ok) => void call('report_snapshot', known(handle), id, ok ? 1 : 0),
  }) satisfies Partial<Core>

const statusCalls = ({ call, known, output, linear, fixed }: Wire) => {
  const size = (): number => linear().buffer.byteLength
  return {
    status: (handle) => {
      call('status', known(handle))
      return {
        id: fixed(0),
        role: ROLES[fixed(1)]!,
        term: fixed(2),
        vote: fixed(3),
        leader: fixed(4),
        commit: fixed(5),
        applied: fixed(6),
        transferee: fixed(7),
        firstIndex: fixed(8),
        lastIndex: fixed(9),
        snapshotIndex: fixed(10),
        snapshotWanted: fixed(11) !== 0,
      }
    },
    progress: (handle) => {
      call('progress', known(handle))
      const at = output()
      return readProgress(linear(), at)
    },
    confState: (handle) => {
      call('conf_state', known(handle))
      const at = output()
      return readConfState(linear(), at)
    },
    size,
    memory: () => {
      call('memory_stats')
      return {
        linear: size(),
        heap: fixed(0),
        heapInUse: fixed(2),
        allocatedInTotal: fixed(5),
        collections: fixed(3),
        pausedMilliseconds: fixed(4) / 1e6,
      }
    },
  } satisfies Partial<Core>
}

const warmUp = (core: Core, proposals: number): void => {
  const confState = { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
  const handle = core.create({
    id: 1,
    electionTicks: 10,
    heartbeatTicks: 1,
    maxSizePerMessageBytes: 1 << 16,
    maxUncommittedBytes: 1 << 20,
    maxInflightMessages: 16,
    maxInflightBytes: 1 << 20,
    hardState: null,
    snapshot: { index: 1, term: 1, confState, data: new Uint8Array() },
    entries: [],
    applied: 1,
    keepBytes: 1 << 16,
  })
  const drain = (): void => {
    while (core.ready(handle) !== null) core.advance(handle)
  }
  core.campaign(handle)
  drain()
  const data = new Uint8Array(256)
  for (let i = 0; i < proposals; i++) {
    core.propose(handle, data)
    drain()
  }
  core.destroy(handle)
}
