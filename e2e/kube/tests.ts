// `npm run test:kube`: the tests that only Helm, kubectl and a real API server can judge (`*.kube.ts`), after
// these were made ready. Refuses: to skip one of them. Where the servers cannot be built it says so once, and
// ends with 0.

import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { resolve } from 'node:path'
import { buildServers } from './build.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const HELP = `npm run test:kube -- [FILE ...]

The tests that need Helm, kubectl and a real Kubernetes API server on loopback: all *.kube.ts, or these. Linux, root, go;
the servers are built once, 5 to 10 minutes.

Exit codes: 0 all passed or nothing could be run here (said so), 1 something failed.`

const say = (line: string): void => void process.stdout.write(`${line}\n`)

async function main(chosen: readonly string[]): Promise<number> {
  if (chosen.includes('--help')) {
    say(HELP)
    return 0
  }
  const built = await buildServers(say)
  if (built.kind === 'missing') {
    say(`kube tests: not run here: ${built.reason}`)
    return 0
  }
  const files = chosen.length > 0 ? chosen : globSync('e2e/kube/*.kube.ts', { cwd: ROOT })
  return spawnSync(process.execPath, ['--test', ...files], { cwd: ROOT, stdio: 'inherit' }).status ?? 1
}

process.exitCode = await main(process.argv.slice(2))
