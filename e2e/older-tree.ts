// The tree of an older version, as it was released, with its own packages and its own Node: what an upgrade
// begins with. Kept in the cache by its commit. Refuses: to guess. What is neither a tag nor a commit of this
// history is fetched from where this clone came from, or a sentence says what to type.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cached } from '@skep/testing/tools/cache.ts'

const ROOT = join(import.meta.dirname, '..')
/** The commits of released versions, for clones without tags. */
const RELEASED: Readonly<Record<string, string>> = {
  'v0.1.0': '40f876f3e8cc691ae08811d5ce4290bfad7e02ef',
}
const OUTPUT_MOST = 1 << 26

export type Tree = {
  readonly root: string
  /** The Node that its own lockfile brings. */
  readonly node: string
  readonly version: string
}

export const THIS_TREE: Tree = { root: ROOT, node: process.execPath, version: versionOf(ROOT) }

export function versionOf(root: string): string {
  return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version
}

/** Rejects with a sentence that says what to do. `clone`: where its history is looked for. */
export async function olderTree(from: string, say: (line: string) => void, clone = ROOT): Promise<Tree> {
  const commit = commitOf(from, clone)
  const begun = performance.now()
  const root = await cached(`tree-${commit}`, async (folder) => {
    say(`${from} (${commit.slice(0, 12)}) is built once`)
    const packed = run(['git', '-C', clone, 'archive', commit], { cwd: folder })
    run(['tar', '-x'], { cwd: folder, input: packed })
    // Its own tools ask git which files it has.
    run(['git', 'init', '--quiet'], { cwd: folder })
    run(['npm', 'ci', '--no-fund', '--no-audit'], { cwd: folder })
  })
  const tree = { root, node: join(root, 'node_modules/.bin/node'), version: versionOf(root) }
  say(`${from} is ${tree.version} in ${root} (${((performance.now() - begun) / 1000).toFixed(1)} s)`)
  return tree
}

/** A tag, else the commit that the table says, else both from the origin; a shallow clone has neither. */
export function commitOf(from: string, clone: string): string {
  const known = (name: string): string | undefined => {
    const asked = git(clone, 'rev-parse', '--quiet', '--verify', `${name}^{commit}`)
    return asked.status === 0 ? asked.stdout.toString().trim() : undefined
  }
  const released = RELEASED[from]
  const here = (): string | undefined =>
    known(`refs/tags/${from}`) ?? known(from) ?? (released && known(released))
  const found = here()
  if (found !== undefined) return found
  const fetches = [
    ['--depth', '1', 'origin', `refs/tags/${from}:refs/tags/${from}`],
    ...(released === undefined ? [] : [['--depth', '1', 'origin', released]]),
  ]
  const said: string[] = []
  for (const fetch of fetches) {
    const done = git(clone, 'fetch', '--quiet', ...fetch)
    const now = here()
    if (now !== undefined) return now
    said.push(done.stderr.toString().trim().split('\n').at(-1) ?? '')
  }
  throw new Error(
    `${from} is not in this clone, and its origin did not give it (${said.join('; ')}).\n` +
      `Fetch it, then try again: git fetch --depth 1 origin tag ${from}`,
  )
}

const git = (clone: string, ...args: string[]): ReturnType<typeof spawnSync> =>
  spawnSync('git', ['-C', clone, ...args], { env: { ...process.env, GIT_TERMINAL_PROMPT: '0' } })

function run(command: readonly string[], options: { cwd: string; input?: Buffer }): Buffer {
  const done = spawnSync(command[0]!, command.slice(1), { ...options, maxBuffer: OUTPUT_MOST })
  if (done.error !== undefined) throw new Error(`${command.join(' ')}: ${done.error.message}`)
  if (done.status !== 0)
    throw new Error(`${command.join(' ')}: ${done.stderr.toString().trim().slice(-2000)}`)
  return done.stdout
}
