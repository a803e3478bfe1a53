// skep ctl: asks and changes a running replica through its control API. Tables for people, --json for
// programs. Refuses: touching the data folder itself, but for the network key that the token is derived from.

import { readFileSync } from 'node:fs'
import { Code, ConnectError } from '@connectrpc/connect'
import { FAILURE, OK, TEMPORARY, UNAVAILABLE } from '@skep/cli/exit-codes.ts'
import { AccessList, AccessOperation } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { infoHashes, readInfoHash, readInfoHashes } from './access/info-hash-list.ts'
import type { Configured } from './config/flags.ts'
import { addConfigFlags, type Command, configOf, newCommand, UsageError } from './config/flags.ts'
import { suggestion } from './config/layers.ts'
import type { ConfigKey } from './config/options.ts'
import { type ClusterClient, clusterClient } from './ctl/client.ts'
import { examine } from './ctl/doctor.ts'
import { add, demote, events, fault, members, promote, remove, transfer } from './ctl/members.ts'
import { recoverHere } from './ctl/recover.ts'
import { readSettingWords } from './ctl/settings.ts'
import { snapshot } from './ctl/snapshot.ts'
import { drain, stop } from './ctl/stop.ts'
import { faultsTable, settingsTable, statusTable, toJson } from './ctl/table.ts'
import { controlToken, NetworkKeyError, networkKeyPath, readNetworkKeys } from './keys/network-key.ts'

const KEYS = ['controlHost', 'controlPort', 'dataDir', 'networkKeyFile'] as const

/** What a call is done with. */
export type Asked = {
  readonly client: ClusterClient
  readonly configured: Configured
  readonly json: boolean
  readonly options: Readonly<Record<string, unknown>>
  readonly print: (text: string) => void
}

/** Where a call reads its variables and writes; a test has its own. */
export type CtlEnds = {
  readonly environment: NodeJS.ProcessEnv
  readonly out: (text: string) => void
  readonly err: (text: string) => void
}

const PROCESS: CtlEnds = {
  environment: process.env,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
}

export async function ctlCommand(args: string[], ends: CtlEnds = PROCESS): Promise<number> {
  let code = OK
  const program = newCommand('skep ctl', 'Ask and change a running replica through its control API.')
  program.usage('[options] <command>').enablePositionalOptions(false)
  const flags = (command: Command, more: readonly ConfigKey[] = []): Command =>
    addConfigFlags(command, [...KEYS, ...more]).option('--json', 'Print JSON instead of a table.')
  const call =
    (run: (asked: Asked, ...rest: string[]) => Promise<number | undefined>) =>
    async (...given: unknown[]): Promise<void> => {
      const command = given.at(-1) as Command
      const rest = given.slice(0, -2).flat() as string[]
      code = (await ask(command, run, rest, ends)) ?? OK
    }
  flags(program.command('status').description('How the replica stands.'))
    .option('--watch', 'Again each second, until Ctrl-C.')
    .action(call(status))
  flags(program.command('settings').description('The replicated settings: get, or set name=value ...'))
    .argument('[action]', 'get or set', 'get')
    .argument('[name=value...]', 'such as interval=20m numwant-max=100 allow-private=off')
    .action(call(settings))
  flags(program.command('access').description('The lists of allowed and denied torrents.'))
    .argument('<list>', 'allow or deny')
    .argument('<action>', 'list, add, remove, replace or off')
    .argument(
      '[info_hash...]',
      'hexadecimal, base32 or magnet links; for replace: a file, - is standard input',
    )
    .option('--revision <number>', 'Only if the list has this revision.')
    .action(call(access))
  flags(program.command('members').description('Who is in the cluster, votes, leads and lags.')).action(
    call(members),
  )
  flags(program.command('add').description('How a further replica joins: what to type on its machine.'))
    .argument('[name]', 'of the new replica', '')
    .action(call(add))
  flags(program.command('promote').description('Let learners vote; ask the leader.'))
    .argument('<member...>', 'names or IDs; two at once where one would leave an even number of voters')
    .action(call(promote))
  flags(program.command('demote').description('Let voters learn only; ask the leader.'))
    .argument('<member...>', 'names or IDs')
    .action(call(demote))
  flags(program.command('remove').description('Take a member out of the cluster, for good; ask the leader.'))
    .argument('<member>', 'name or ID')
    .action(call(remove))
  flags(program.command('transfer').description('Let another member lead; ask the leader.'))
    .argument('[member]', 'name or ID; nobody named: whoever is best')
    .action(call(transfer))
  flags(program.command('events').description('Elections, transfers, joins and removals, oldest first.'))
    .option('--watch', 'Go on with what happens, until Ctrl-C.')
    .action(call(events))
  flags(program.command('fault').description('Disturb what this replica says to another (--allow-faults).'))
    .argument('<member>', 'name or ID of the other one')
    .option('--cut <out|in|both>', 'No connection that this one dials, that the other dials, or neither.')
    .option('--delay <duration>', 'All comes so much later.')
    .option('--loss <share>', 'So many of its Raft messages and keepalives vanish: 0 to 1.')
    .option('--for <duration>', 'It heals by itself after this; default 10s, at most 10m.')
    .option('--heal', 'End it now.')
    .action(call(fault))
  addConfigFlags(
    program
      .command('recover')
      .description(
        'Go on from one survivor when the majority is lost for good; the replica must be stopped.',
      ),
    ['dataDir', 'logStore'],
  )
    .option('--force', 'Do it; without this it only says what would be lost.')
    .option('--json', 'Print JSON instead of sentences.')
    .action(async (_: unknown, command: Command) => {
      const { force, json } = command.opts()
      const { config } = configOf(command, ends.environment)
      const print = (text: string): void => ends.out(`${text}\n`)
      code = await recoverHere(config, force === true, json === true, print)
    })
  flags(
    program.command('snapshot').description('Take a snapshot, save it as a file, begin a cluster from one.'),
    ['logStore', 'name', 'replicaAddress'],
  )
    .argument('[action]', 'take: now, and cut the log; save, check or restore a file', 'take')
    .argument('[file]', 'restore: into an empty --data-dir, of a replica that does not run')
    .action(call(snapshot))
  flags(program.command('drain').description('Lead no more, be not ready, and answer on: before a stop.'))
    .option('--for <duration>', 'Come back after this; default 5s.')
    .option('--undo', 'Take part like the others again.')
    .action(call(drain))
  flags(program.command('stop').description('Stop the replica cleanly.'))
    .option('--drain', 'Before that, drain it.')
    .option('--for <duration>', 'With --drain: for so long; default 5s.')
    .option('--purge', 'Delete its log and snapshots afterwards.')
    .action(call(stop))
  flags(
    program.command('doctor').description('Look for what is wrong: on this machine and in the replica.'),
  ).action(call(doctor))
  for (const command of program.commands)
    command
      .exitOverride()
      .configureOutput({ outputError: () => {} })
      .showSuggestionAfterError(true)
      .allowExcessArguments(false)
  await program.parseAsync(args.length === 0 ? ['--help'] : args, { from: 'user' })
  return code
}

/** Runs one call and turns what goes wrong into a sentence with cause and mend. */
async function ask(
  command: Command,
  run: (asked: Asked, ...rest: string[]) => Promise<number | undefined>,
  rest: string[],
  ends: CtlEnds,
): Promise<number | undefined> {
  const configured = configOf(command, ends.environment)
  const { config } = configured
  const options = command.opts()
  const url = `http://${config.controlHost.includes(':') ? `[${config.controlHost}]` : config.controlHost}:${config.controlPort}`
  const keyPath = networkKeyPath(config.dataDir, config.networkKeyFile)
  const print = (text: string): void => ends.out(text.endsWith('\n') ? text : `${text}\n`)
  try {
    // These work, or look, even where there is no key.
    const offline = run === doctor || rest[0] === 'check' || rest[0] === 'restore'
    const tokens = offline ? tokensOrNone(keyPath) : readNetworkKeys(keyPath).map(controlToken)
    const client = clusterClient(url, tokens)
    return await run({ client, configured, json: options.json === true, options, print }, ...rest)
  } catch (error) {
    return explain(error, url, keyPath, ends)
  }
}

function tokensOrNone(path: string): readonly string[] {
  try {
    return readNetworkKeys(path).map(controlToken)
  } catch {
    return []
  }
}

function explain(error: unknown, url: string, keyPath: string, ends: CtlEnds): number {
  const say = (text: string): void =>
    ends.err(`skep: ${text}
`)
  if (error instanceof NetworkKeyError) {
    say(`${error.message}. Name the replica's folder by --data-dir, or its key by --network-key-file.`)
    return FAILURE
  }
  if (!(error instanceof ConnectError)) throw error
  const refused = /ECONNREFUSED|ENOTFOUND|ECONNRESET|EHOSTUNREACH|ETIMEDOUT|socket hang up/.exec(
    String(error.cause ?? error.message),
  )
  if (refused !== null) {
    say(
      `nothing answers at ${url} (${refused[0]}). Is the replica running? --control-host and --control-port say where.`,
    )
    return UNAVAILABLE
  }
  if (error.code === Code.Unauthenticated) {
    say(
      `${url} does not take the token made from ${keyPath}: it belongs to another cluster. Name the right key by --data-dir or --network-key-file.`,
    )
    return FAILURE
  }
  const where = error.rawMessage.endsWith('its own control API') ? ' (--control-host, --control-port)' : ''
  say(`${error.rawMessage}${where}`)
  return error.code === Code.DeadlineExceeded || error.code === Code.Unavailable ? TEMPORARY : FAILURE
}

async function status({ client, json, options, print }: Asked): Promise<number | undefined> {
  if (options.watch !== true) {
    const answer = await client.status({})
    print(json ? toJson('status', answer) : statusTable(answer))
    return
  }
  for await (const { status: answer } of client.watch({})) {
    if (answer === undefined) continue
    if (json) print(toJson('status', answer, false))
    else print(`${process.stdout.isTTY ? '\u001b[H\u001b[2J' : ''}${statusTable(answer)}`)
  }
}

async function settings(
  { client, json, print }: Asked,
  action = 'get',
  ...words: string[]
): Promise<undefined> {
  if (action !== 'get' && action !== 'set')
    throw new UsageError(`settings ${action}: get or set${suggestion(action, ['get', 'set'])}`)
  if (action === 'set' && words.length === 0)
    throw new UsageError('settings set needs name=value, such as interval=20m')
  if (action === 'get' && words.length > 0) throw new UsageError('settings get takes nothing more')
  const { settings: inForce } =
    action === 'get' ? await client.getSettings({}) : await client.changeSettings(readSettingWords(words))
  print(json ? toJson('settings', inForce!) : settingsTable(inForce!))
}

const LISTS: Readonly<Record<string, AccessList>> = { allow: AccessList.ALLOW, deny: AccessList.DENY }
const OPERATIONS: Readonly<Record<string, AccessOperation>> = {
  add: AccessOperation.ADD,
  remove: AccessOperation.REMOVE,
  replace: AccessOperation.REPLACE,
  off: AccessOperation.OFF,
}

async function access(
  { client, json, options, print }: Asked,
  listName: string,
  action: string,
  ...words: string[]
): Promise<undefined> {
  const list = LISTS[listName]
  if (list === undefined)
    throw new UsageError(`access ${listName}: allow or deny${suggestion(listName, Object.keys(LISTS))}`)
  if (action === 'list') {
    const answer = await client.getAccess({ list })
    const hashes = answer.infoHashes.map((hash) => Buffer.from(hash).toString('hex'))
    if (json)
      return print(
        JSON.stringify(
          { list: listName, active: answer.active, revision: answer.revision, infoHashes: hashes },
          null,
          2,
        ),
      ) as undefined
    print(
      `# ${listName} list ${answer.active ? 'in force' : 'off'}, ${hashes.length} entries, revision ${answer.revision}`,
    )
    for (const hash of hashes) print(hash)
    return
  }
  const operation = OPERATIONS[action]
  if (operation === undefined)
    throw new UsageError(
      `access ${listName} ${action}: list, add, remove, replace or off${suggestion(action, ['list', ...Object.keys(OPERATIONS)])}`,
    )
  const hashes =
    action === 'replace' ? hashesOfFile(words) : action === 'off' ? none(words) : hashesOfWords(action, words)
  const revision =
    options.revision === undefined
      ? {}
      : { expectedRevision: wholeNumber('--revision', String(options.revision)) }
  const answer = await client.changeAccess({ list, operation, infoHashes: split(hashes), ...revision })
  if (json) print(toJson('access', answer))
  else
    print(
      `${listName} list ${answer.active ? 'in force' : 'off'}: ${answer.entries} entries, revision ${answer.revision}`,
    )
}

function hashesOfWords(action: string, words: readonly string[]): Uint8Array {
  if (words.length === 0) throw new UsageError(`access ... ${action} needs at least one info_hash`)
  const hex = words.map((word) => {
    const hash = readInfoHash(word)
    if (hash === null)
      throw new UsageError(
        `${word} is not an info_hash: 40 hexadecimal digits, 32 of base32, or a magnet link`,
      )
    return hash
  })
  return infoHashes(hex).bytes
}

function hashesOfFile(words: readonly string[]): Uint8Array {
  const [path, ...more] = words
  if (path === undefined || more.length > 0)
    throw new UsageError('access ... replace needs one file; - is standard input')
  let text: string
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (cause) {
    throw new UsageError(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
  const read = readInfoHashes(text)
  if (!read.ok) throw new UsageError(`${path}: ${read.faults.join('; ')}. Nothing was changed.`)
  return read.hashes.bytes
}

function none(words: readonly string[]): Uint8Array {
  if (words.length > 0) throw new UsageError('access ... off takes nothing more')
  return new Uint8Array(0)
}

const split = (bytes: Uint8Array): Uint8Array<ArrayBuffer>[] =>
  Array.from({ length: bytes.length / 20 }, (_, i) => new Uint8Array(bytes.subarray(i * 20, i * 20 + 20)))

function wholeNumber(what: string, text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new UsageError(`${what} ${text}: a whole number`)
  return Number(text)
}

async function doctor({ client, configured, json, print }: Asked): Promise<number> {
  const findings = await examine(configured.config, client)
  print(json ? JSON.stringify(findings, null, 2) : faultsTable(findings))
  return findings.some(({ verdict }) => verdict === 'bad') ? FAILURE : OK
}
