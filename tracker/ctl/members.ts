// skep ctl: who is in the cluster, who votes and leads, what happened to it, and faults for trials.
// Refuses: finding the leader by itself; a replica that does not lead says who does.

import { UsageError } from '@skep/cli/command.ts'
import { FAILURE } from '@skep/cli/exit-codes.ts'
import { suggestion } from '@skep/cli/nearest.ts'
import { shellWords } from '@skep/cli/paste.ts'
import { parseMilliseconds } from '@skep/cli/values.ts'
import { Cut, type EventsResponse } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { networkKeyPath } from '../keys/network-key.ts'
import type { Asked, Call } from './asked.ts'
import { membersTable, toJson } from './table.ts'

export const MEMBERS_CALLS: readonly Call[] = [
  { name: 'members', summary: 'Who is in the cluster, votes, leads and lags.', run: members },
  {
    name: 'add',
    summary: 'How a further replica joins: what to type on its machine.',
    words: [['[name]', 'of the new replica', '']],
    run: add,
  },
  {
    name: 'promote',
    summary: 'Let learners vote; ask the leader.',
    words: [['<member...>', 'names or IDs; two at once where one would leave an even number of voters']],
    run: promote,
  },
  {
    name: 'demote',
    summary: 'Let voters learn only; ask the leader.',
    words: [['<member...>', 'names or IDs']],
    run: demote,
  },
  {
    name: 'remove',
    summary: 'Take a member out of the cluster, for good; ask the leader.',
    words: [['<member>', 'name or ID']],
    run: remove,
  },
  {
    name: 'transfer',
    summary: 'Let another member lead; ask the leader.',
    words: [['[member]', 'name or ID; nobody named: whoever is best']],
    run: transfer,
  },
  {
    name: 'events',
    summary: 'Elections, transfers, joins and removals, oldest first.',
    options: [['--watch', 'Go on with what happens, until Ctrl-C.']],
    run: events,
  },
  {
    name: 'fault',
    summary: 'Disturb what this replica says to another (--allow-faults).',
    words: [['<member>', 'name or ID of the other one']],
    options: [
      ['--cut <out|in|both>', 'No connection that this one dials, that the other dials, or neither.'],
      ['--delay <duration>', 'All comes so much later.'],
      ['--loss <share>', 'So many of its Raft messages and keepalives vanish: 0 to 1.'],
      ['--for <duration>', 'It heals by itself after this; default 10s, at most 10m.'],
      ['--heal', 'End it now.'],
    ],
    run: fault,
  },
]

async function members({ client, json, print }: Asked): Promise<undefined> {
  const answer = await client.status({})
  if (json) print(answer.raft === undefined ? '{}' : toJson('raft', answer.raft))
  else
    print(
      answer.birthAwaits === '' ? membersTable(answer) : `No member of a cluster yet: ${answer.birthAwaits}`,
    )
}

const KEY_FILE = 'network.key'

/**
 * Nothing is asked of the cluster but who is in it: a replica asks to be added itself, under an ID of its
 * own.
 */
async function add({ client, configured, json, print }: Asked, name = ''): Promise<number | undefined> {
  const { raft, birthAwaits } = await client.status({})
  const members = raft?.members ?? []
  const join = members.map((m) => m.address).filter((address) => address !== '')
  if (join.length === 0) {
    print(
      birthAwaits === ''
        ? 'this replica has no address for others: start it with --initial-members or --join, then others can join it'
        : `no member of a cluster yet: ${birthAwaits}`,
    )
    return FAILURE
  }
  const taken = members.find((m) => m.name === name)
  const called = name === '' ? freeName(members.map((m) => m.name)) : name
  const port = /:(\d+)$/.exec(join[0]!)![1]!
  const words = ['skep', 'tracker', '--name', called, '--join', join.join(',')]
  words.push('--replica-address', `HOST:${port}`, '--network-key-file', KEY_FILE)
  if (json) print(JSON.stringify({ name: called, join, command: shellWords(words) }, null, 2))
  else {
    const key = networkKeyPath(configured.config.dataDir, configured.config.networkKeyFile)
    print(`Copy ${key} of this machine to ${KEY_FILE} of the new one (mode 0600), then type there:`)
    print(`  ${shellWords(words)}`)
    print(
      'HOST is a name or an address under which the other replicas reach the new one. It asks to be added itself,',
    )
    print(
      'learns, and votes once it has caught up and an odd number of voters comes of it (skep ctl members).',
    )
    if (taken !== undefined)
      print(
        `A member is called ${name} already: the new one takes its place if that one is lost, else it is refused.`,
      )
  }
  return
}

/** r3 after r0, r1 and r2. */
const freeName = (names: readonly string[]): string => {
  let i = names.length
  while (names.includes(`r${i}`)) i++
  return `r${i}`
}

const told = ({ json, print }: Asked, { message }: { message: string }): void =>
  print(json ? JSON.stringify({ message }) : message)

async function promote(asked: Asked, ...names: string[]): Promise<undefined> {
  told(asked, await asked.client.promoteMembers({ members: names }))
}

async function demote(asked: Asked, ...names: string[]): Promise<undefined> {
  told(asked, await asked.client.demoteMembers({ members: names }))
}

async function remove(asked: Asked, name: string): Promise<undefined> {
  told(asked, await asked.client.removeMember({ member: name }))
}

async function transfer(asked: Asked, name = ''): Promise<undefined> {
  told(asked, await asked.client.transferLeadership({ member: name }))
}

async function events({ client, json, options, print }: Asked): Promise<undefined> {
  for await (const event of client.events({ follow: options.watch === true }))
    print(json ? toJson('event', event, false) : eventLine(event))
}

/** `2026-01-31 12:00:00.123  term 4  leader: r1`. */
const eventLine = ({ at, kind, term, memberId, memberName, detail }: EventsResponse): string => {
  const who = memberId === 0n ? '' : `: ${memberName}`
  const time = at.replace('T', ' ').replace('Z', '')
  return `${time}  term ${String(term).padEnd(4)}  ${kind}${who}${detail === '' ? '' : ` (${detail})`}`
}

const CUTS: Readonly<Record<string, Cut>> = { out: Cut.OUT, in: Cut.IN, both: Cut.BOTH }

/** `fault r1 --cut both --for 10s`; `fault r1 --heal`. */
async function fault({ client, json, options, print }: Asked, member: string): Promise<undefined> {
  const cut = options.cut === undefined ? Cut.UNSPECIFIED : CUTS[String(options.cut)]
  if (cut === undefined)
    throw new UsageError(
      `--cut ${options.cut}: out, in or both${suggestion(String(options.cut), Object.keys(CUTS))}`,
    )
  const durationMs = options.heal === true ? 0 : time('--for', options.for ?? '10s')
  const delayMs = options.delay === undefined ? 0 : time('--delay', options.delay)
  const loss = Number(options.loss ?? 0)
  if (!(loss >= 0 && loss <= 1)) throw new UsageError(`--loss ${options.loss}: a share from 0 to 1`)
  await client.injectFault({ member, cut, delayMs, loss, durationMs })
  if (json) print('{}')
  else
    print(
      durationMs === 0
        ? `all is as usual towards ${member}`
        : `it heals by itself after ${durationMs / 1000} s`,
    )
}

function time(what: string, given: unknown): number {
  const ms = parseMilliseconds(String(given))
  if (ms === null || !Number.isInteger(ms))
    throw new UsageError(`${what} ${given}: a duration such as 200ms or 10s`)
  return ms
}
