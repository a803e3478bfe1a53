// A cluster for text cases (testdata/*.txt): groups of one instance, each with a disk in memory, joined by a
// network that delivers what it is told to. Everything is drawn from one seed. For tests only; never part of
// the package.
import { type Case, integerOption, integersOption } from '@skep/testing/datadriven.ts'
import { Random } from '@skep/testing/random.ts'
import { type Core, type CoreOptions, loadCore, RaftPanic } from '../core.ts'
import { confChangeOf, MESSAGE_TYPES, MSG_SNAP, messageInfo } from '../message.ts'
import type {
  ConfChangeStep,
  ConfState,
  Entry,
  GroupOptions,
  HardState,
  Ready,
  Result,
  Snapshot,
} from '../types.ts'

const NOBODY: ConfState = { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }
const SETTLE_LIMIT_ROUNDS = 1000

type Disk = {
  hardState: HardState | null
  snapshot: Snapshot | null
  /** Older than the snapshot as long as nobody compacts. */
  entries: Entry[]
  compacted: { index: number; term: number } | null
}

type Node = {
  readonly id: number
  handle: number
  disk: Disk
  applied: number
  confState: ConfState
  /** The state machine: the data of all entries applied. */
  seen: string
  /** Whether old entries can be read back from disk, and how often they were. */
  readBack: boolean
  reads: number
}

type Sent = { readonly from: number; readonly to: number; readonly type: number; readonly data: Uint8Array }

export type Cluster = { readonly core: Core; readonly run: (c: Case) => string }

export const makeCluster = async (seed: number, options: CoreOptions = {}): Promise<Cluster> => {
  let time = 0
  const chance = new Random(seed)
  const core = await loadCore({
    random: () => chance.unit(),
    now: () => (time += 0.001),
    reserveBytes: 0,
    ...options,
  })
  const cluster: World = { core, nodes: new Map(), network: [], cut: new Set(), limits: {} }
  return { core, run: (c) => runCommand(cluster, c) }
}

type World = {
  readonly core: Core
  readonly nodes: Map<number, Node>
  network: Sent[]
  readonly cut: Set<number>
  limits: Partial<GroupOptions>
}

const text = (data: Uint8Array): string => JSON.stringify(new TextDecoder().decode(data))
const outcome = (r: Result): string => (r.ok ? 'ok' : `${r.code}: ${r.message}`)

const node = (w: World, id: number): Node => {
  const n = w.nodes.get(id)
  if (n === undefined) throw new Error(`no node ${id}`)
  return n
}

/** Starts a node from its disk; what it had applied beyond its snapshot is applied again. */
const boot = (w: World, n: Node, kept = Number.POSITIVE_INFINITY): void => {
  const { disk } = n
  n.applied = disk.snapshot?.index ?? 0
  n.confState = disk.snapshot?.confState ?? NOBODY
  n.seen = new TextDecoder().decode(disk.snapshot?.data)
  const readEntries = (from: number, to: number): Entry[] => {
    n.reads++
    return disk.entries.filter((e) => e.index >= from && e.index < to)
  }
  n.handle = w.core.create({
    id: n.id,
    electionTicks: 10,
    heartbeatTicks: 1,
    maxSizePerMessageBytes: 1 << 20,
    maxUncommittedBytes: 1 << 20,
    maxInflightMessages: 16,
    maxInflightBytes: 1 << 20,
    ...w.limits,
    hardState: disk.hardState,
    snapshot: disk.snapshot,
    entries: disk.entries.slice(-kept),
    applied: n.applied,
    ...(disk.compacted === null ? {} : { compacted: disk.compacted }),
    ...(n.readBack ? { readEntries } : {}),
  })
}

const emptyNode = (id: number, snapshot: Snapshot | null, readBack: boolean): Node => ({
  id,
  handle: 0,
  disk: { hardState: null, snapshot, entries: [], compacted: null },
  applied: 0,
  confState: NOBODY,
  seen: '',
  readBack,
  reads: 0,
})

const describeReady = (n: Node, r: Ready): string[] => {
  const lines: string[] = []
  const { hardState: hs, snapshot } = r
  if (hs !== null) lines.push(`hard state term=${hs.term} vote=${hs.vote} commit=${hs.commit}`)
  if (snapshot !== null)
    lines.push(`install ${snapshot.index}/${snapshot.term} ${describeConf(snapshot.confState)}`)
  for (const e of r.entries) lines.push(`append ${describeEntry(e)}`)
  for (const m of r.messages) lines.push(`send ${describeMessage(m.data)}${m.early ? ' early' : ''}`)
  for (const e of r.committed) lines.push(`apply ${describeEntry(e)}`)
  for (const s of r.readStates) lines.push(`read ${text(s.context)} at ${s.index}`)
  const sync = r.mustSync ? ' (sync)' : ''
  return [`ready ${n.id}${sync}${lines.length === 0 ? ' nothing' : ''}`, ...lines.map((line) => `  ${line}`)]
}

const describeEntry = (e: Entry): string => {
  const at = `${e.index}/${e.term}`
  if (e.type === 0) return `${at} ${e.data.length > 64 ? `${e.data.length} bytes` : text(e.data)}`
  const change = confChangeOf(e)!
  const steps = change.steps.map((s) => `${s.type} ${s.id}`).join(', ')
  return `${at} ${steps === '' ? 'leave joint' : steps} ${change.transition} ${text(change.context)}`
}

const describeMessage = (data: Uint8Array): string => {
  const m = messageInfo(data)!
  const parts = [`${m.from}->${m.to} ${MESSAGE_TYPES[m.type]} term=${m.term} ${m.index}/${m.logTerm}`]
  if (m.commit > 0) parts.push(`commit=${m.commit}`)
  if (m.entries > 0) parts.push(`entries=${m.entries}`)
  if (m.reject) parts.push(`reject hint=${m.rejectHint}`)
  if (m.snapshot !== null)
    parts.push(`snapshot ${m.snapshot.index}/${m.snapshot.term} ${text(m.snapshot.data)}`)
  return parts.join(' ')
}

const describeConf = (cs: ConfState): string => {
  const parts = [`voters=(${cs.voters})`]
  if (cs.learners.length > 0) parts.push(`learners=(${cs.learners})`)
  if (cs.votersOutgoing.length > 0) parts.push(`outgoing=(${cs.votersOutgoing})`)
  if (cs.learnersNext.length > 0) parts.push(`next=(${cs.learnersNext})`)
  if (cs.autoLeave) parts.push('auto-leave')
  return parts.join(' ')
}

const persist = (n: Node, r: Ready): void => {
  const { disk } = n
  if (r.hardState !== null) disk.hardState = r.hardState
  if (r.snapshot !== null) {
    disk.snapshot = { ...r.snapshot, data: r.snapshot.data.slice() }
    disk.entries = []
    disk.compacted = null
    n.applied = r.snapshot.index
    n.confState = r.snapshot.confState
    n.seen = new TextDecoder().decode(r.snapshot.data)
  }
  const first = r.entries[0]
  if (first !== undefined) disk.entries = disk.entries.filter((e) => e.index < first.index)
  for (const e of r.entries) disk.entries.push({ ...e, data: e.data.slice() })
}

/** Works off one Ready: persist, send, apply, advance. */
const work = (w: World, n: Node, lines: string[]): boolean => {
  const r = w.core.ready(n.handle)
  if (r === null) return false
  lines.push(...describeReady(n, r))
  persist(n, r)
  for (const m of r.messages) w.network.push({ from: n.id, to: m.to, type: m.type, data: m.data.slice() })
  const committed = r.committed.map((e) => ({ ...e, data: e.data.slice() }))
  for (const e of committed) {
    n.applied = e.index
    if (e.type !== 0) {
      n.confState = w.core.applyConfChange(n.handle, e)
      lines.push(`  now ${describeConf(n.confState)}`)
    } else n.seen += new TextDecoder().decode(e.data).slice(0, 8)
  }
  w.core.advance(n.handle)
  return true
}

/** Delivers the messages that wait now; those from or to nodes that are cut off or unknown are lost. */
const deliver = (w: World, lines: string[], only: (m: Sent) => boolean = () => true): void => {
  const waiting = w.network
  w.network = waiting.filter((m) => !only(m))
  for (const m of waiting.filter(only)) {
    const lost = w.cut.has(m.from) || w.cut.has(m.to) || !w.nodes.has(m.to)
    if (!lost) {
      const r = w.core.step(node(w, m.to).handle, m.data)
      if (!r.ok) lines.push(`${m.from}->${m.to} ${MESSAGE_TYPES[m.type]} refused: ${outcome(r)}`)
    }
    if (m.type === MSG_SNAP) w.core.reportSnapshot(node(w, m.from).handle, m.to, !lost)
  }
}

const settle = (w: World, only: number[]): string[] => {
  const lines: string[] = []
  for (let round = 0; ; round++) {
    if (round === SETTLE_LIMIT_ROUNDS) throw new Error(`still busy after ${round} rounds`)
    let busy = false
    for (const n of w.nodes.values()) {
      if (only.length === 0 || only.includes(n.id)) while (work(w, n, lines)) busy = true
    }
    busy ||= w.network.length > 0
    deliver(w, lines)
    if (!busy) return lines
  }
}

const statusLine = (w: World, n: Node): string => {
  const s = w.core.status(n.handle)
  const parts = [
    `${n.id} ${s.role} term=${s.term} vote=${s.vote} leader=${s.leader} commit=${s.commit} applied=${s.applied}`,
  ]
  parts.push(`log=${s.firstIndex}-${s.lastIndex}`)
  if (s.snapshotIndex > 0) parts.push(`snapshot=${s.snapshotIndex}`)
  if (s.snapshotWanted) parts.push('wants a newer snapshot')
  if (s.transferee > 0) parts.push(`transferee=${s.transferee}`)
  return `${parts.join(' ')} ${JSON.stringify(n.seen)}`
}

const parseSteps = (words: readonly string[]): ConfChangeStep[] => {
  const types = { v: 'add-voter', l: 'add-learner', r: 'remove' } as const
  return words.map((word) => ({ type: types[word[0] as 'v' | 'l' | 'r'], id: Number(word.slice(1)) }))
}

/** Commands whose first word is a node. */
const nodeCommands: Record<string, (w: World, n: Node, c: Case) => string> = {
  campaign: (w, n) => outcome(w.core.campaign(n.handle)),
  tick: (w, n, c) => {
    for (let i = integerOption(c, 'n', 1); i > 0; i--) w.core.tick(n.handle)
    return ''
  },
  propose: (w, n, c) => {
    const size = integerOption(c, 'size', 0)
    return outcome(w.core.propose(n.handle, new TextEncoder().encode(c.words[1] ?? 'x'.repeat(size))))
  },
  conf: (w, n, c) => {
    const transition = c.options.get('transition') as 'auto' | undefined
    const context = new TextEncoder().encode(c.options.get('context') ?? '')
    const change = { steps: parseSteps(c.words.slice(1)), transition: transition ?? 'auto', context } as const
    return outcome(w.core.proposeConfChange(n.handle, change))
  },
  ready: (w, n) => {
    const lines: string[] = []
    return work(w, n, lines) ? lines.join('\n') : 'nothing'
  },
  deliver: (w, n) => {
    const lines: string[] = []
    deliver(w, lines, (m) => m.to === n.id)
    return lines.join('\n')
  },
  progress: (w, n) =>
    w.core
      .progress(n.handle)
      .map(({ id, match, next, state, recentActive, isLearner, pendingSnapshot }) =>
        [
          `${id} match=${match} next=${next} ${state}${recentActive ? '' : ' inactive'}`,
          `${isLearner ? ' learner' : ''}${pendingSnapshot > 0 ? ` pending=${pendingSnapshot}` : ''}`,
        ].join(''),
      )
      .join('\n'),
  conf_state: (w, n) => describeConf(w.core.confState(n.handle)),
  snapshot: (w, n) => {
    const data = new TextEncoder().encode(n.seen)
    const r = w.core.createSnapshot(n.handle, n.applied, n.confState, data)
    const term = n.disk.entries.find((e) => e.index === n.applied)?.term ?? 0
    const first = n.disk.snapshot
    if (r.ok) {
      n.disk.compacted ??= first && { index: first.index, term: first.term }
      n.disk.snapshot = { index: n.applied, term, confState: n.confState, data }
    }
    return outcome(r)
  },
  compact: (w, n, c) => {
    const index = integerOption(c, 'to')
    const r = w.core.compact(n.handle, index)
    const gone = n.disk.entries.find((e) => e.index === index)
    if (r.ok && gone !== undefined) {
      n.disk.compacted = { index, term: gone.term }
      n.disk.entries = n.disk.entries.filter((e) => e.index > index)
    }
    return outcome(r)
  },
  transfer: (w, n, c) => {
    w.core.transferLeadership(n.handle, integerOption(c, 'to'))
    return ''
  },
  forget_leader: (w, n) => {
    w.core.forgetLeader(n.handle)
    return ''
  },
  read: (w, n, c) => {
    w.core.readIndex(n.handle, new TextEncoder().encode(c.words[1]))
    return ''
  },
  restart: (w, n, c) => {
    w.core.destroy(n.handle)
    boot(w, n, integerOption(c, 'kept', Number.MAX_SAFE_INTEGER))
    return statusLine(w, n)
  },
  // The disk is gone, and nobody has noticed.
  lose: (w, n) => {
    w.core.destroy(n.handle)
    n.disk = emptyNode(n.id, null, false).disk
    boot(w, n)
    return statusLine(w, n)
  },
  damage: (_w, n, c) => {
    const from = integerOption(c, 'from')
    n.disk.entries = n.disk.entries.filter((e) => e.index < from)
    return ''
  },
  reads: (_w, n) => String(n.reads),
}

const worldCommands: Record<string, (w: World, c: Case) => string> = {
  cluster: (w, c) => {
    const confState = {
      ...NOBODY,
      voters: integersOption(c, 'voters'),
      learners: integersOption(c, 'learners'),
    }
    const limits: Record<string, number> = {}
    for (const key of ['maxUncommittedBytes', 'keepBytes', 'maxSizePerMessageBytes', 'maxInflightBytes']) {
      if (c.options.has(key)) limits[key] = integerOption(c, key)
    }
    w.limits = limits
    for (const id of [...confState.voters, ...confState.learners]) {
      const n = emptyNode(
        id,
        { index: 1, term: 1, confState, data: new Uint8Array() },
        c.words.includes('readback'),
      )
      w.nodes.set(id, n)
      boot(w, n)
    }
    return 'ok'
  },
  // A newcomer: it knows nothing and waits for a leader to call.
  add: (w, c) => {
    for (const word of c.words) {
      const n = emptyNode(Number(word), null, false)
      w.nodes.set(n.id, n)
      boot(w, n)
    }
    return 'ok'
  },
  cut: (w, c) => {
    for (const word of c.words) w.cut.add(Number(word))
    return ''
  },
  heal: (w) => {
    w.cut.clear()
    return ''
  },
  settle: (w, c) => {
    const lines = settle(w, integersOption(c, 'only'))
    return c.words.includes('quietly') ? '' : lines.join('\n')
  },
  tick_all: (w, c) => {
    const lines: string[] = []
    for (let i = integerOption(c, 'n', 1); i > 0; i--) {
      for (const n of w.nodes.values()) w.core.tick(n.handle)
      lines.push(...settle(w, []))
    }
    return c.words.includes('quietly') ? '' : lines.join('\n')
  },
  drop: (w) => {
    const lines = w.network.map((m) => describeMessage(m.data))
    w.network = []
    return lines.join('\n')
  },
  status: (w) => [...w.nodes.values()].map((n) => statusLine(w, n)).join('\n'),
  elect: (w, c) => {
    w.core.campaign(node(w, Number(c.words[0])).handle)
    settle(w, [])
    return statusLine(w, node(w, Number(c.words[0])))
  },
}

const runCommand = (w: World, c: Case): string => {
  try {
    const worldly = worldCommands[c.command]
    if (worldly !== undefined) return worldly(w, c)
    const command = nodeCommands[c.command]
    if (command === undefined) throw new Error(`${c.place}: no command ${c.command}`)
    return command(w, node(w, Number(c.words[0])), c)
  } catch (e) {
    if (e instanceof RaftPanic) return `panic: ${e.message}`
    if (e instanceof Error && e.name === 'RaftError') return `error: ${e.message}`
    throw e
  }
}
