// The face of the core, one line of why per call. Views (entry data, message bytes, contexts, descriptors)
// point into the core's memory: they are valid until the next call into the same instance, whichever group
// that is about. Copy what must live longer.
import type {
  ConfChange,
  ConfState,
  Entry,
  GroupOptions,
  Memory,
  Progress,
  Ready,
  Result,
  Status,
} from './types.ts'
import type { WasmModule } from './webassembly.ts'

export type CoreOptions = {
  /** [0, 1). Default: the platform's secure generator. With a seeded one, runs repeat. */
  readonly random?: () => number
  /** Milliseconds, never going back; only the garbage collector looks at them. Default: `performance.now`. */
  readonly now?: () => number
  /**
   * Heap at which Go collects its garbage. Default 64 MiB; give about four times the sum of all `keepBytes`.
   */
  readonly memoryLimitBytes?: number
  /** Memory taken at once, because growing it later costs the host full collections. Default: the limit. */
  readonly reserveBytes?: number
  /**
   * Makes the reserved memory resident at once, so that a process does not seem to grow under load. Default
   * false.
   */
  readonly touch?: boolean
  /** From `compileCore`, to share one compilation among threads. */
  readonly module?: WasmModule
}

export type Core = {
  /** Starts a group and returns its handle, which is never used again. Throws RaftError `bad-config`. */
  readonly create: (options: GroupOptions) => number
  readonly destroy: (handle: number) => void
  /** One unit of time has passed. */
  readonly tick: (handle: number) => void
  /** Starts an election now (with a pre-vote). Does nothing on a leader, a learner or a non-member. */
  readonly campaign: (handle: number) => Result

  /** Appends `data` to the log, if this node leads; else `proposal-dropped`. Copied. */
  readonly propose: (handle: number, data: Uint8Array) => Result
  /**
   * Proposes to change who is a member. `bad-config`: it could not be applied; `proposal-dropped`: not
   * leading, or an earlier change is not applied yet. No steps and transition `auto`: leave a joint
   * configuration.
   */
  readonly proposeConfChange: (handle: number, change: ConfChange) => Result
  /**
   * Puts a committed configuration change into force and returns who is a member now. To be called while its
   * Ready is applied, by every member alike; a change that all members reject by their own rules is just not
   * applied.
   */
  readonly applyConfChange: (handle: number, entry: Entry) => ConfState
  /**
   * Takes a message of another member: raftpb.Message as protobuf. `bad-message`: no member can have sent it.
   */
  readonly step: (handle: number, message: Uint8Array) => Result

  /**
   * What is to be done now, or null: nothing, or an earlier Ready waits for `advance`. With `keepMessages`
   * messages are not encoded but kept as objects by slot number, for `stepSlot`: faster between groups of one
   * instance.
   */
  readonly ready: (handle: number, keepMessages?: boolean) => Ready | null
  readonly hasReady: (handle: number) => boolean
  /** The Ready is persisted, sent and applied. Does nothing when there is none. */
  readonly advance: (handle: number) => void
  /**
   * Delivers a kept message to a group of this instance. The slot stays, so that it can be delivered twice.
   */
  readonly stepSlot: (handle: number, slot: number) => Result
  readonly releaseSlot: (slot: number) => void
  /** The kept message as `step` would take it. */
  readonly slotBytes: (slot: number) => Uint8Array

  /**
   * Gives up the entries up to `index`: afterwards they may be deleted from disk. Whoever still needs them is
   * sent the snapshot. `compacted`: already given up; `unavailable`: not applied yet.
   */
  readonly compact: (handle: number, index: number) => Result
  /**
   * Says that a snapshot of the state as of `index` can be had. Laggards are sent the descriptor, never the
   * bytes. `confState`: who was a member as of `index`. `snapshot-out-of-date`: there is a newer one;
   * `unavailable`: not applied yet; `compacted`: the log begins later.
   */
  readonly createSnapshot: (
    handle: number,
    index: number,
    confState: ConfState,
    descriptor: Uint8Array,
  ) => Result

  /**
   * Asks for leadership to move; watch `status`. Proposals are dropped meanwhile, at most an election
   * timeout.
   */
  readonly transferLeadership: (handle: number, to: number) => void
  /** A follower stops believing in its leader, so that it may vote at once. */
  readonly forgetLeader: (handle: number) => void
  /**
   * Asks up to where the state must be applied before a read is linearizable. The answer comes as a read
   * state with the same context; none comes without a leader, so ask again after a time.
   */
  readonly readIndex: (handle: number, context: Uint8Array) => void
  /** Messages to this member are being lost: probe it instead of streaming. */
  readonly reportUnreachable: (handle: number, id: number) => void
  /** Must be called for each MsgSnap, whatever came of it: until then that member gets no entries. */
  readonly reportSnapshot: (handle: number, id: number, ok: boolean) => void

  readonly status: (handle: number) => Status
  /** The members as the leader sees them, by id; empty on anyone else. */
  readonly progress: (handle: number) => Progress[]
  readonly confState: (handle: number) => ConfState

  readonly memory: () => Memory
  /** Bytes of linear memory. */
  readonly size: () => number
  /**
   * Runs proposals through a throw-away group, so that the first real ones meet compiled code. Default 1000.
   */
  readonly warmUp: (proposals?: number) => void
}
