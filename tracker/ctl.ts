// skep ctl: asks and changes a running replica through its control API. Tables for people, --json for
// programs. Refuses: touching the data folder itself, but for the network key that the token is derived from.

import { type Command, newCommand } from '@skep/cli/command.ts'
import { OK } from '@skep/cli/exit-codes.ts'
import { OPTIONS } from './config/options.ts'
import { addConfigFlags } from './config/table.ts'
import { ACCESS_CALLS } from './ctl/access.ts'
import { ANNOUNCE_LIST_CALLS } from './ctl/announce-list.ts'
import { ask, type Call, type CtlEnds, KEYS } from './ctl/asked.ts'
import { DOCTOR_CALLS } from './ctl/doctor.ts'
import { MEMBERS_CALLS } from './ctl/members.ts'
import { RECOVER_CALLS } from './ctl/recover.ts'
import { SETTINGS_CALLS } from './ctl/settings.ts'
import { SNAPSHOT_CALLS } from './ctl/snapshot.ts'
import { STATUS_CALLS } from './ctl/status.ts'
import { STOP_CALLS } from './ctl/stop.ts'
import { leave } from './opening/leave.ts'

const CALLS: readonly Call[] = [
  ...STATUS_CALLS,
  ...SETTINGS_CALLS,
  ...ACCESS_CALLS,
  ...MEMBERS_CALLS,
  ...ANNOUNCE_LIST_CALLS,
  ...RECOVER_CALLS,
  ...SNAPSHOT_CALLS,
  ...STOP_CALLS,
  ...DOCTOR_CALLS,
]

/** What may follow `skep ctl`: for completion. */
export const CALL_WORDS: readonly string[] = [
  ...CALLS.map(({ name }) => name),
  ...['--json', ...KEYS.map((key) => `--${OPTIONS[key].flag}`)],
]

const PROCESS: CtlEnds = {
  environment: process.env,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
}

export async function ctlCommand(args: string[], ends: CtlEnds = PROCESS): Promise<number> {
  let code = OK
  const program = newCommand('skep ctl', 'Ask and change a running replica through its control API.')
  program.usage('[options] <command>').enablePositionalOptions(false)
  for (const call of CALLS) {
    const command = commandOf(program, call)
    command.action(async (...given: unknown[]) => {
      const words = given.slice(0, -2).flat() as string[]
      code = (await ask(call, command, words, ends)) ?? OK
    })
  }
  await program.parseAsync(args.length === 0 ? ['--help'] : args, { from: 'user' })
  return await leave(code)
}

function commandOf(program: Command, call: Call): Command {
  const command = addConfigFlags(program.command(call.name).description(call.summary), call.keys ?? KEYS)
  for (const [syntax, text, unsaid] of call.words ?? []) command.argument(syntax, text, unsaid)
  for (const [flags, text] of call.options ?? []) command.option(flags, text)
  return command
    .option('--json', 'Print JSON instead of a table.')
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .showSuggestionAfterError(true)
    .allowExcessArguments(false)
}
