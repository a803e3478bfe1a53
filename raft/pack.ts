// Makes the package as npm users get it, into a folder: JavaScript, declarations, the core, notices. Inside
// the repository the sources run as they are; this folder is the only thing that is ever published (the
// package.json beside this file is private and says so). Usage: node pack.ts FOLDER
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
/** What can be imported; everything else they need is compiled with them. */
const ENTRIES = ['core.ts', 'message.ts']
const COPIED = ['raft.wasm.br', 'README.md', 'LICENSE', 'NOTICE', 'licenses']

const emit = (folder: string): void => {
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  const settings = {
    extends: join(here, '../tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      declaration: true,
      rewriteRelativeImportExtensions: true,
      allowImportingTsExtensions: false,
      target: 'es2022',
      rootDir: here,
      outDir: folder,
      typeRoots: [join(here, '../node_modules/@types')],
    },
    files: ENTRIES.map((file) => join(here, file)),
    include: [],
  }
  const project = join(folder, 'tsconfig.json')
  writeFileSync(project, JSON.stringify(settings))
  try {
    execFileSync(process.execPath, [compiler, '-p', project], { stdio: ['ignore', 'inherit', 'inherit'] })
  } finally {
    rmSync(project)
  }
}

const manifest = (): object => {
  const source = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'))
  const { name, version, description, license, type } = source
  return {
    name,
    version,
    description,
    license,
    type,
    keywords: ['raft', 'consensus', 'replication', 'etcd', 'wasm'],
    engines: { node: '>=20' },
    sideEffects: false,
    exports: {
      '.': { types: './core.d.ts', default: './core.js' },
      './message': { types: './message.d.ts', default: './message.js' },
    },
  }
}

const main = (target: string | undefined): void => {
  if (target === undefined) throw new Error('usage: node pack.ts FOLDER')
  const folder = resolve(target)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  emit(folder)
  for (const file of COPIED) cpSync(join(here, file), join(folder, file), { recursive: true })
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest(), null, 2)}\n`)
}

main(process.argv[2])
