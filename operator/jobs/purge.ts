// Run by a Job on the volume of a stopped replica: takes away its log, its snapshots, its key and its name.
// Refuses: the folder itself, and what a file system keeps there.

import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { complain } from '@skep/cli/complain.ts'

/** Made by the file system. */
const OTHERS = ['lost+found']

export async function purgeRun(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { 'data-dir': { type: 'string' } } })
  const folder = values['data-dir']
  if (folder === undefined) {
    complain('operator purge-run needs --data-dir')
    return 64
  }
  for (const name of readdirSync(folder))
    if (!OTHERS.includes(name)) {
      rmSync(join(folder, name), { recursive: true, force: true })
      process.stdout.write(`${join(folder, name)} is deleted\n`)
    }
  return 0
}
