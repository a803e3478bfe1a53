// The swarm table as text cases: what a person would want to read about a tracker. One store a file;
// commands:
//   store interval=S peers=N torrents=N [level=N] [details=on] [allow-private=auto|on|off]
//                                 a new cluster (interval: the largest one)
//   apply t=S                     lines: join | leave SWARM ADDRESS [left=N] [completed] [id=N] [peer-id=N];
//                                 touch SWARM ADDRESS (id: the tag, of peer_id and key; peer-id: with details)
//   announce SWARM ADDRESS [left=N] [want=N] [started] [completed] [stopped] [id=N] [peer-id=N]
//                                 what would be asked for, and the answer
//   scrape SWARM...
//   allow | deny replace|add|remove|off SWARM...
// Refuses: randomness in what it prints; peers are sorted.

import { test } from 'node:test'
import { type Case, integerOption, runCases } from '@skep/testing/datadriven.ts'
import { parseIPv4, parseIPv6 } from '@skep/wire/ip.ts'
import { type AccessOperation, ALLOW, DENY } from './access.ts'
import { Announcer } from './announce.ts'
import { Apply } from './apply.ts'
import { COMPLETED, DETAILS, IPV6, LEAVE, PUT, SEEDER, STARTED, WORD_DETAILS } from './change.ts'
import { accessEntry, BatchWriter, batchEntry, birthEntry } from './entry.ts'
import { allocate, limitsFor, PAGE } from './layout.ts'
import { DEFAULT_SETTINGS } from './settings.ts'
import { Store } from './store.ts'

const WHAT = ['none', 'refresh', 'change', 'denied', 'busy']
const WORDS = 24

type Line = { readonly swarm: string; readonly address: string; readonly rest: readonly string[] }

const optionOf = (rest: readonly string[], key: string): string | undefined =>
  rest.find((r) => r.startsWith(`${key}=`))?.slice(key.length + 1)

/** `10.0.0.1:6881` or `[fd00::1]:6881` into a record. */
function putAddress(text: string, words: Int32Array): void {
  const [, host, port] = /^\[?([^\]]+?)\]?:(\d+)$/.exec(text)!
  const raw = parseIPv4(host!) ?? parseIPv6(host!)!
  const bytes = Uint8Array.from(raw)
  new Uint8Array(words.buffer, words.byteOffset + 4, 16).set(bytes)
  const n = Number(port)
  words[0]! |= (bytes.length === 16 ? IPV6 : 0) | ((((n & 0xff) << 8) | (n >>> 8)) << 16)
}

const hashOf = (swarm: string): Int32Array => new Int32Array(5).fill(swarm.charCodeAt(0))

function record(kind: number, line: Line): Int32Array {
  const words = new Int32Array(WORDS)
  words[0] = kind
  putAddress(line.address, words)
  if (Number(optionOf(line.rest, 'left') ?? 1) === 0) words[0] |= SEEDER
  if (line.rest.includes('completed')) words[0] |= COMPLETED
  if (line.rest.includes('started')) words[0] |= STARTED
  words.set(hashOf(line.swarm), 5)
  words[10] = Number(optionOf(line.rest, 'id') ?? 0)
  const peerId = optionOf(line.rest, 'peer-id')
  if (peerId !== undefined) {
    words[0] |= DETAILS
    words.fill(Number(peerId), WORD_DETAILS, WORD_DETAILS + 5)
  }
  return words
}

class World {
  private store!: Store
  private apply!: Apply
  private announcer!: Announcer
  private batches = 0
  private timeMs = 0
  private readonly names = new Set<string>()

  handle(c: Case): string {
    switch (c.command) {
      case 'store':
        return this.open(c)
      case 'apply':
        return this.change(c)
      case 'announce':
        return this.announce(c)
      case 'scrape':
        return c.words.map((swarm) => `${swarm} ${this.counts(swarm)}`).join('\n')
      case 'allow':
      case 'deny': {
        const [operation, ...swarms] = c.words
        const hashes = new Uint8Array(Int32Array.from(swarms.flatMap((s) => [...hashOf(s)])).buffer)
        this.apply.apply(
          accessEntry(c.command === 'allow' ? ALLOW : DENY, operation as AccessOperation, 0, hashes),
        )
        return ''
      }
    }
    throw new Error(`${c.place}: unknown command ${c.command}`)
  }

  private open(c: Case): string {
    const pages = Math.ceil(integerOption(c, 'peers', 4096) / PAGE)
    const limits = {
      ...limitsFor(8 << 20, c.options.get('details') === 'on'),
      pages4: pages,
      torrents: integerOption(c, 'torrents', 1024),
    }
    const interval = integerOption(c, 'interval', 1800)
    this.store = new Store(allocate(limits, true))
    this.apply = new Apply(this.store, { part: () => {}, batch: () => {} })
    this.announcer = new Announcer(this.store, 1)
    this.batches = 0
    this.timeMs = 0
    const allowPrivate = (c.options.get('allow-private') ?? 'auto') as 'auto'
    const settings = {
      ...DEFAULT_SETTINGS,
      intervalSeconds: interval,
      intervalMaxSeconds: interval,
      allowPrivate,
    }
    const level = integerOption(c, 'level', 1)
    this.apply.apply(
      birthEntry({ clusterId: '0'.repeat(32), hashSeed: 1, idKey: [1, 2], limits, settings, level }),
    )
    return 'ok'
  }

  /** Cluster time moves two seconds an entry: as many empty ones come first as it takes. */
  private change(c: Case): string {
    const before = this.store.counters()
    const until = integerOption(c, 't', this.timeMs / 1000) * 1000
    while (this.timeMs + 2000 < until) this.entry((this.timeMs += 2000), [], [])
    this.timeMs = until
    const changes: Int32Array[] = []
    const touches: number[] = []
    const swarms = new Set<string>()
    for (const text of c.input.split('\n').filter((l) => l !== '')) {
      const [kind, swarm, address, ...rest] = text.split(' ') as [string, string, string]
      swarms.add(swarm)
      const words = record(kind === 'leave' ? LEAVE : PUT, { swarm, address, rest })
      if (kind !== 'touch') changes.push(words)
      else if (this.announcer.announce(words, 0, 0, 1, new Uint16Array(900), 0) === 1)
        touches.push(this.announcer.touch)
    }
    for (const s of swarms) this.names.add(s)
    this.entry(this.timeMs, changes, touches)
    const after = this.store.counters()
    const counted = Object.entries(after)
      .filter(([name, n]) => n !== before[name as keyof typeof before])
      .map(([name, n]) => `${name}=${n - before[name as keyof typeof before]}`)
    const shown = swarms.size > 0 ? [...swarms] : [...this.names]
    return [...shown.map((s) => `${s} ${this.counts(s)}`), counted.join(' ')]
      .filter((l) => l !== '')
      .join('\n')
  }

  private entry(timeMs: number, changes: readonly Int32Array[], touches: readonly number[]): void {
    const writer = new BatchWriter(1 << 16)
    const words = new Int32Array(WORDS * Math.max(1, changes.length))
    changes.forEach((record, i) => {
      words.set(record, i * WORDS)
    })
    writer.begin(7, 1, ++this.batches)
    writer.addChanges(0, { words, at: (n) => n * WORDS }, 0, changes.length)
    if (touches.length > 0) writer.addTouches(0, Int32Array.from(touches), touches.length)
    this.apply.apply(batchEntry(timeMs, [writer.bytes()]))
  }

  private counts(swarm: string): string {
    const a = this.announcer
    a.scrape(hashOf(swarm), 0)
    return `seeders=${a.seeders} leechers=${a.leechers} completed=${a.completed}`
  }

  private announce(c: Case): string {
    const [swarm = '', address = '', ...flags] = c.words
    const rest = [...flags]
    for (const [key, value] of c.options) rest.push(`${key}=${value}`)
    const words = record(rest.includes('stopped') ? LEAVE : PUT, { swarm, address, rest })
    const out = new Uint16Array(4000)
    const a = this.announcer
    const what = a.announce(words, 0, integerOption(c, 'want', 50), 3, out, 0)
    if (what >= 2) return WHAT[what]!
    const bytes = new Uint8Array(out.buffer)
    const four = Array.from({ length: a.count4 }, (_, i) => {
      const b = bytes.subarray(i * 6, i * 6 + 6)
      return `${b[0]}.${b[1]}.${b[2]}.${b[3]}:${(b[4]! << 8) | b[5]!}`
    })
    const six = Array.from({ length: a.count6 }, (_, i) => {
      const from = a.count4 * 6 + i * 18
      const b = bytes.subarray(from, from + 18)
      const halves = Array.from({ length: 8 }, (_, j) => ((b[j * 2]! << 8) | b[j * 2 + 1]!).toString(16))
      return `[${halves.join(':')}]:${(b[16]! << 8) | b[17]!}`
    })
    return [
      `${WHAT[what]} seeders=${a.seeders} leechers=${a.leechers}`,
      ...[...four.sort(), ...six.sort()],
    ].join('\n')
  }
}

for (const name of ['announce', 'expiry', 'capacity', 'access', 'twins', 'keys', 'moves'])
  test(`cases: ${name}`, async () => {
    const world = new World()
    await runCases(new URL(`./testdata/${name}.txt`, import.meta.url), (c) => world.handle(c))
  })
