#!/usr/bin/env node
// The one command: names the subcommands, loads the one that is meant, turns errors into sentences and exit
// codes. Refuses: doing anything itself.

import { readFileSync } from 'node:fs'
import { newCommand } from './cli/command.ts'
import { explain } from './cli/complain.ts'
import { EXIT_CODES, OK, USAGE } from './cli/exit-codes.ts'
import { lastWords, outliveReaders } from './cli/guard.ts'
import { catchSignals } from './cli/signals.ts'

type Run = (args: string[]) => Promise<number>

/** Loaded when called, so that help and completion stay quick. */
const COMMANDS: readonly (readonly [string, string, () => Promise<Run>])[] = [
  [
    'start',
    'Run a tracker in this terminal, with words for people.',
    async () => (await import('./tracker/start.ts')).startCommand,
  ],
  [
    'tracker',
    'Run one tracker replica, as a server does.',
    async () => (await import('./tracker/start.ts')).trackerCommand,
  ],
  [
    'ctl',
    'Ask and change a running replica through its control API.',
    async () => (await import('./tracker/ctl.ts')).ctlCommand,
  ],
  [
    'announce',
    'Announce two peers at a tracker, and see that it tells them of each other.',
    async () => (await import('./load/announce.ts')).announceCommand,
  ],
  [
    'operator',
    'Run tracker clusters on Kubernetes.',
    async () => (await import('./operator/main.ts')).operatorCommand,
  ],
  ['bench', 'Load a tracker and measure it: skep bench udp.', async () => bench],
  ['completion', 'Print completions for bash, zsh or fish.', async () => completions],
]

/** Those that serve others: told to stop while they are still being loaded, they stop as they do later. */
const SERVERS: readonly (string | undefined)[] = ['start', 'tracker', 'operator']

async function bench(args: string[]): Promise<number> {
  const [what, ...rest] = args
  if (what === 'udp') return (await import('./load/bench-udp.ts')).benchUdp(rest)
  const command = newCommand('skep bench', 'Load a tracker and measure it.').usage('udp [options]')
  command
    .command('udp')
    .description('Announces, scrapes and connects over UDP; see skep bench udp --help.')
    .helpOption(false)
  await command.parseAsync(args.length === 0 ? ['--help'] : args, { from: 'user' })
  return USAGE
}

async function completions(args: string[]): Promise<number> {
  const { completionCommand } = await import('./cli/completion.ts')
  const { TABLE } = await import('./tracker/config/table.ts')
  const { CALL_WORDS } = await import('./tracker/ctl.ts')
  return await completionCommand(args, {
    commands: COMMANDS.map(([name, note]) => [name, note]),
    configured: ['start', 'tracker'],
    table: TABLE,
    words: { ctl: CALL_WORDS, bench: ['udp'] },
  })
}

async function run(args: string[]): Promise<number> {
  const version = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8'))
    .version as string
  if (args[1] === '--version' || args[1] === '-V') args = ['--version']
  const program = newCommand('skep', 'A BitTorrent tracker cluster that survives losing a machine.')
  program.version(version, '-V, --version', 'Show the version.').enablePositionalOptions()
  program.addHelpText(
    'after',
    `\nExit codes:\n${EXIT_CODES.map(([code, text]) => `  ${String(code).padEnd(4)}${text}`).join('\n')}`,
  )
  let code = OK
  for (const [name, summary, load] of COMMANDS)
    program
      .command(name)
      .description(summary)
      .argument('[args...]')
      .usage('[options]')
      .helpOption(false)
      .allowUnknownOption()
      .passThroughOptions()
      .exitOverride()
      .action(async (rest: string[]) => {
        code = await (await load())(rest)
      })
  await program.parseAsync(args.length === 0 ? ['--help'] : args, { from: 'user' })
  return code
}

/** Whose help tells more about these words. */
function named([first]: readonly string[]): string {
  return COMMANDS.some(([name]) => name === first) ? `skep ${first}` : 'skep'
}

if (SERVERS.includes(process.argv[2])) outliveReaders()
if (['start', 'tracker'].includes(process.argv[2] ?? '')) catchSignals()
const code = await run(process.argv.slice(2)).catch((error) => explain(error, named(process.argv.slice(2))))
await lastWords()
// Threads of a replica that failed may still run: the process ends with them.
process.exit(code)
