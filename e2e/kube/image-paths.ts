// What the image holds of this repository: one table for the Dockerfile, .dockerignore and the builder
// without an engine. Refuses: tests, sources of what is committed built, and everything only developers need.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '../..')
/** Where it lies in the image. */
export const APP = '/app'
/** Folder of log and snapshots, writable for the user of the image. */
export const DATA = '/data'
/** User and group: numbers, so that runAsNonRoot can be checked by Kubernetes. */
export const USER = 10001

/** Copied as they are; a workspace that is not there yet is left out. */
export const FILES = ['LICENSE', 'package.json', 'skep.ts'] as const
export const WORKSPACES = ['cli', 'wire', 'raft', 'tracker', 'operator', 'load'] as const
/** Left out of the workspaces, in .dockerignore's language: a name in any folder, or a folder. */
export const LEFT_OUT = [
  '**/*.test.ts',
  '**/*.case.ts',
  '**/*.md',
  '**/*.c',
  '**/testdata',
  '**/sim',
  '**/node_modules',
  'load/results',
  'raft/core',
  'wire/proto/generate.ts',
] as const

export const workspaces = (): string[] =>
  WORKSPACES.filter((folder) => existsSync(join(ROOT, folder, 'package.json')))

/** Whether a path below the root is one of those left out. */
export function leftOut(path: string): boolean {
  const parts = path.split('/')
  return LEFT_OUT.some((pattern) => {
    if (!pattern.startsWith('**/')) return path === pattern || path.startsWith(`${pattern}/`)
    const name = pattern.slice(3)
    const ending = name.startsWith('*') ? name.slice(1) : undefined
    return parts.some((part) => (ending === undefined ? part === name : part.endsWith(ending)))
  })
}

/** Every file of ours in the image, sorted, as paths below the root. */
export function ownFiles(): string[] {
  const listed = execFileSync(
    'git',
    ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...FILES, ...workspaces()],
    { cwd: ROOT, encoding: 'utf8', maxBuffer: 1 << 26 },
  )
  return listed
    .split('\n')
    .filter((path) => path !== '' && existsSync(join(ROOT, path)) && !leftOut(path))
    .sort()
}

type Manifest = {
  name: string
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

/**
 * Folders of the packages that the workspaces need to run, as paths below the root; links to workspaces are
 * not among them.
 */
export function packages(): string[] {
  const found = new Set<string>()
  const need = (from: string): void => {
    const manifest = JSON.parse(readFileSync(join(ROOT, from, 'package.json'), 'utf8')) as Manifest
    const optional = Object.keys(manifest.optionalDependencies ?? {})
    for (const name of [...Object.keys(manifest.dependencies ?? {}), ...optional]) {
      if (name.startsWith('@skep/')) continue
      const folder = lookUp(from, name)
      if (folder === undefined) {
        if (optional.includes(name)) continue
        throw new Error(`${name}, which ${manifest.name} needs, is not installed: npm ci`)
      }
      if (found.has(folder)) continue
      found.add(folder)
      need(folder)
    }
  }
  for (const workspace of workspaces()) need(workspace)
  return [...found].sort()
}

/** Node's own way: node_modules of each folder upwards. */
function lookUp(from: string, name: string): string | undefined {
  for (let folder = from; ; folder = folder.includes('/') ? folder.slice(0, folder.lastIndexOf('/')) : '') {
    const at = join(folder, 'node_modules', name)
    if (existsSync(join(ROOT, at, 'package.json'))) return at
    if (folder === '') return undefined
  }
}

/** Parts of packages that this platform cannot run, or nobody reads at run time. */
export function unused(path: string): boolean {
  const built = /\/prebuilds\/([^/]+)\//.exec(path)
  if (built !== null && built[1] !== `${process.platform}-${process.arch}`) return true
  if (/\.musl\.node$/.test(path)) return true
  return (
    /\.(md|map|d\.ts|d\.mts|d\.cts|cc|cpp|c|h|gyp|gypi|ts)$/i.test(path) ||
    /\/(test|tests|deps|docs)\//.test(path)
  )
}
