// `npm run fuzz`: seeded rubbish for every parser, ten million datagrams through the real packet code, and a
// real process over a real socket. Refuses: to pass when something threw, grew, flooded the log, or was not
// counted.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Random } from '@skep/testing/random.ts'
import { callTargets } from './fuzz-calls.ts'
import { type FuzzTarget, packetTarget, parserTargets } from './fuzz-parsers.ts'
import { fuzzSocket } from './fuzz-socket.ts'
import { freePorts } from './processes.ts'

const HELP = `npm run fuzz -- [--minutes 5] [--datagrams 10000000] [--seed N] [--only TEXT]

  --minutes N     all of it ends about then
  --datagrams N   through the packet code in this process; the rest of the time goes to parsers and the socket
  --seed N        the same cases again
  --only TEXT     only targets whose name contains it ("socket" is the real process)

Exit codes: 0 nothing found, 1 something found, 64 usage.`

/** Heap that may be gained over a target: caches and warm code, not one thing a case. */
const HEAP_MOST_BYTES = 32 << 20
/** Shares of the time: the packets may take until then, the parsers after them; the socket gets the rest. */
const PACKET_SHARE = 0.7
const PARSER_SHARE = 0.15
const SLICE = 2048

type Found = { readonly name: string; readonly what: string }

setFlagsFromString('--expose-gc')
// A parser's warnings about rubbish are not what is looked for here.
process.removeAllListeners('warning')
const collect = runInNewContext('gc') as () => void

const heap = (): number => {
  collect()
  return process.memoryUsage().heapUsed
}

/** Cases until `most` or the time is up. */
function play(
  target: FuzzTarget,
  random: Random,
  most: number,
  milliseconds: number,
): { cases: number; found?: Found } {
  const end = performance.now() + milliseconds
  let cases = 0
  let warm = 0
  while (cases < most && performance.now() < end) {
    for (let i = 0; i < SLICE && cases < most; i++, cases++)
      try {
        target.run(random)
      } catch (error) {
        const { last } = target
        const shown = typeof last === 'string' ? JSON.stringify(last) : Buffer.from(last).toString('hex')
        return {
          cases,
          found: { name: target.name, what: `case ${cases}: ${(error as Error).stack}\nby ${shown}` },
        }
      }
    if (warm === 0 && cases > SLICE * 8) warm = heap()
  }
  const grown = warm === 0 ? 0 : heap() - warm
  if (grown > HEAP_MOST_BYTES)
    return { cases, found: { name: target.name, what: `the heap grew by ${grown} bytes` } }
  return { cases }
}

function inProcess(settings: Settings): Found[] {
  const found: Found[] = []
  const wanted = ({ name }: FuzzTarget): boolean => name.includes(settings.only)
  const packets = [packetTarget()].filter(wanted)
  const parsers = [...parserTargets(), ...callTargets()].filter(wanted)
  const run = (target: FuzzTarget, number: number, most: number, milliseconds: number): void => {
    const begin = performance.now()
    const done = play(target, new Random(settings.seed + number), most, milliseconds)
    const rate = done.cases / ((performance.now() - begin) / 1000)
    process.stdout.write(
      `${target.name}: ${done.cases} cases, ${rate.toFixed(0)}/s${done.found ? ', FOUND' : ''}\n`,
    )
    if (done.found !== undefined) found.push(done.found)
    if (settings.datagrams === most && done.cases < most && done.found === undefined)
      process.stdout.write(`  the time was up before ${most} cases\n`)
  }
  for (const target of packets) run(target, 0, settings.datagrams, settings.milliseconds * PACKET_SHARE)
  for (const [i, target] of parsers.entries())
    run(target, i + 1, Number.MAX_SAFE_INTEGER, (settings.milliseconds * PARSER_SHARE) / parsers.length)
  return found
}

async function overSocket(settings: Settings): Promise<Found[]> {
  const folder = mkdtempSync(join(tmpdir(), 'skep-fuzz-'))
  try {
    const [udp, http] = await freePorts(2)
    const random = new Random(settings.seed + 1000)
    const share = Math.max(5000, settings.milliseconds * (1 - PACKET_SHARE - PARSER_SHARE))
    const result = await fuzzSocket(folder, { udp: udp!, http: http! }, random, share)
    process.stdout.write(`socket: ${result.sent} datagrams to a real process\n`)
    for (const line of result.seen) process.stdout.write(`  ${line}\n`)
    return result.faults.map((what) => ({ name: 'socket', what }))
  } catch (error) {
    return [{ name: 'socket', what: (error as Error).message }]
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

type Settings = { milliseconds: number; datagrams: number; seed: number; only: string }

function read(): Settings | number {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '5' },
        datagrams: { type: 'string', default: '10000000' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        only: { type: 'string', default: '' },
        help: { type: 'boolean' },
      },
    })
    if (values.help === true) {
      process.stdout.write(`${HELP}\n`)
      return 0
    }
    const [minutes, datagrams, seed] = [Number(values.minutes), Number(values.datagrams), Number(values.seed)]
    if (!(minutes > 0 && minutes <= 600)) throw new Error('--minutes: from 0 to 600')
    if (!Number.isInteger(datagrams) || datagrams < 1) throw new Error('--datagrams: a whole number')
    if (!Number.isInteger(seed)) throw new Error('--seed: a whole number')
    return { milliseconds: minutes * 60_000, datagrams, seed, only: values.only }
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${HELP}\n`)
    return 64
  }
}

async function main(): Promise<number> {
  const settings = read()
  if (typeof settings === 'number') return settings
  process.stdout.write(`seed ${settings.seed}\n`)
  const found = inProcess(settings)
  if ('socket'.includes(settings.only)) found.push(...(await overSocket(settings)))
  for (const { name, what } of found) {
    process.stdout.write(`FOUND  ${name}: ${what}\n`)
    process.stdout.write(
      `again: npm run fuzz -- --seed ${settings.seed} --only '${name}' --minutes ${settings.milliseconds / 60_000}\n`,
    )
  }
  process.stdout.write(`fuzz: ${found.length} found\n`)
  return found.length === 0 ? 0 : 1
}

process.exit(await main())
