// Prints how fast the core is and what its memory does, as ratios to the first row of the same run. Three
// members in one instance, pumped without I/O, so this is the price of Raft itself and of the way in and out
// of it. Usage: node raft/bench.ts [seconds per row]
import { type Core, type CoreOptions, loadCore } from './core.ts'
import type { GroupOptions } from './types.ts'

const SECONDS = Number(process.argv[2] ?? 2)
const none = new Uint8Array()
const confState = { voters: [1, 2, 3], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false }

type Row = {
  readonly name: string
  readonly bytes: number
  readonly batch: number
  readonly slots?: boolean
  readonly keepBytes?: number
  readonly deaf?: boolean
  readonly core?: CoreOptions
}

const MIB = 1024 * 1024
const ROWS: readonly Row[] = [
  { name: '16 KiB x 4', bytes: 16384, batch: 4 },
  { name: 'the same, kept objects', bytes: 16384, batch: 4, slots: true },
  { name: 'the same, nothing reserved', bytes: 16384, batch: 4, core: { reserveBytes: 0 } },
  { name: 'the same, limit 256 MiB', bytes: 16384, batch: 4, core: { memoryLimitBytes: 256 * MIB } },
  { name: 'the same, log kept 1 MiB', bytes: 16384, batch: 4, keepBytes: MIB },
  { name: 'the same, log kept 16 MiB', bytes: 16384, batch: 4, keepBytes: 16 * MIB },
  { name: 'the same, one follower deaf', bytes: 16384, batch: 4, deaf: true },
  { name: '256 KiB x 1', bytes: 262144, batch: 1 },
  { name: '4 KiB x 1', bytes: 4096, batch: 1 },
  { name: '256 B x 1', bytes: 256, batch: 1 },
  { name: '256 B x 1, kept objects', bytes: 256, batch: 1, slots: true },
]

const member = (id: number, keepBytes: number): GroupOptions => ({
  id,
  electionTicks: 10,
  heartbeatTicks: 1,
  maxSizePerMessageBytes: MIB,
  maxUncommittedBytes: 16 * MIB,
  maxInflightMessages: 256,
  maxInflightBytes: 64 * MIB,
  hardState: null,
  snapshot: { index: 1, term: 1, confState, data: none },
  entries: [],
  applied: 1,
  keepBytes,
})

type Parcel = { readonly to: number; readonly slot: number; readonly data: Uint8Array }

/** Lets the members work until they are quiet; `deaf` neither hears nor speaks. */
const pump = (core: Core, handles: readonly number[], slots: boolean, deaf: number): void => {
  for (let busy = true; busy; ) {
    busy = false
    for (let i = 0; i < handles.length; i++) {
      const handle = handles[i]!
      const r = core.ready(handle, slots)
      if (r === null) continue
      busy = true
      const parcels: Parcel[] = r.messages.map((m) => ({
        to: m.to,
        slot: m.slot,
        data: slots ? none : m.data.slice(),
      }))
      core.advance(handle)
      for (const p of parcels) {
        const heard = p.to !== deaf && i + 1 !== deaf
        if (slots) {
          if (heard) core.stepSlot(handles[p.to - 1]!, p.slot)
          core.releaseSlot(p.slot)
        } else if (heard) core.step(handles[p.to - 1]!, p.data)
      }
    }
  }
}

const measure = async (
  row: Row,
): Promise<{ rate: number; linear: number; collections: number; longest: number }> => {
  const core = await loadCore(row.core)
  const handles = [1, 2, 3].map((id) => core.create(member(id, row.keepBytes ?? 4 * MIB)))
  const slots = row.slots === true
  core.campaign(handles[0]!)
  pump(core, handles, slots, 0)
  const data = new Uint8Array(row.bytes).fill(7)
  const deaf = row.deaf === true ? 3 : 0
  const round = (): void => {
    for (let k = 0; k < row.batch; k++) core.propose(handles[0]!, data)
    pump(core, handles, slots, deaf)
  }
  for (let k = 0; k < 500; k++) round()
  const first = core.memory()
  let entries = 0
  let longest = 0
  const start = performance.now()
  let last = start
  while (last - start < SECONDS * 1000) {
    round()
    entries += row.batch
    // Time passes for the leader only: enough to keep it probing, too little to end its term.
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }
  const memory = core.memory()
  const rate = (entries * 1000) / (last - start)
  return { rate, linear: memory.linear, collections: memory.collections - first.collections, longest }
}

const TICKS = 2000

/** One simulated run: three members, delays of 1-3 ticks, 5 % loss, a proposal every third tick. */
const simulate = (core: Core, random: () => number, slots: boolean): number => {
  const handles = [1, 2, 3].map((id) => core.create(member(id, MIB)))
  let waiting: (Parcel & { readonly due: number })[] = []
  let applied = 0
  for (let t = 0; t < TICKS; t++) {
    for (const h of handles) core.tick(h)
    const due = waiting.filter((p) => p.due <= t)
    waiting = waiting.filter((p) => p.due > t)
    for (const p of due) {
      const h = handles[p.to - 1]!
      if (slots) {
        core.stepSlot(h, p.slot)
        core.releaseSlot(p.slot)
      } else core.step(h, p.data)
    }
    if (t % 3 === 0) for (const h of handles) core.propose(h, new Uint8Array(16))
    for (const h of handles) {
      for (let r = core.ready(h, slots); r !== null; r = core.ready(h, slots)) {
        applied += r.committed.length
        const sent = r.messages.map((m) => ({ to: m.to, slot: m.slot, data: slots ? none : m.data.slice() }))
        core.advance(h)
        for (const p of sent) {
          if (random() >= 0.05) waiting.push({ ...p, due: t + 1 + Math.floor(random() * 3) })
          else if (slots) core.releaseSlot(p.slot)
        }
      }
    }
  }
  for (const p of waiting) if (slots) core.releaseSlot(p.slot)
  for (const h of handles) core.destroy(h)
  return applied
}

const simulateAll = async (slots: boolean): Promise<void> => {
  let state = 1
  const random = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  const core = await loadCore({ random })
  let runs = 0
  let applied = 0
  const start = performance.now()
  for (; performance.now() - start < SECONDS * 1000; runs++) applied += simulate(core, random, slots)
  const rate = (runs * 1000) / (performance.now() - start)
  const how = slots ? 'kept objects' : 'bytes'
  console.log(`${how}: ${rate.toFixed(1)} runs/s, ${(applied / runs).toFixed(0)} entries applied in each`)
}

const main = async (): Promise<void> => {
  console.log(`three members in one instance, ${SECONDS} s a row, no I/O`)
  console.log(
    'row                            entries/s  ratio   MB/s  memory MB  collections  longest round ms',
  )
  let base = 0
  for (const row of ROWS) {
    const { rate, linear, collections, longest } = await measure(row)
    base ||= rate
    const columns = [
      row.name.padEnd(30),
      rate.toFixed(0).padStart(9),
      (rate / base).toFixed(2).padStart(6),
      ((rate * row.bytes) / 1e6).toFixed(0).padStart(6),
      (linear / 1e6).toFixed(0).padStart(10),
      String(collections).padStart(12),
      longest.toFixed(1).padStart(17),
    ]
    console.log(columns.join(' '))
  }
  console.log(`simulated runs of three members, ${TICKS} ticks, delay and loss; messages as`)
  await simulateAll(false)
  await simulateAll(true)
}

await main()
