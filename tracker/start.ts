// skep start and skep tracker: reads the configuration.
import { addConfigFlags, configOf, newCommand } from './config-flags.ts'
import { OK } from './exit-codes.ts'

export async function trackerCommand(args: string[]): Promise<number> {
  const command = addConfigFlags(newCommand('skep tracker', 'Run one tracker replica, as a server does.'))
  await command.parseAsync(args, { from: 'user' })
  const { print } = configOf(command, process.env)
  if (print !== null) process.stdout.write(print)
  return OK
}
export const startCommand = trackerCommand
