// `npm run image`: the image that the chart runs, packed from this checkout without an engine and without a
// registry: the Node that runs this, the libraries it names, the workspaces, the packages they need. Refuses:
// to hold what the Dockerfile's image does not (apart from a distribution around Node): both follow
// image-paths.ts.

import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Entry, fileEntry, type ImageConfig, writeImage } from './archive.ts'
import { APP, DATA, ownFiles, packages, ROOT, USER, unused, workspaces } from './image-paths.ts'

const HELP = `npm run image -- --output FILE [--name localhost/skep:dev] [--as-version X.Y.Z]

  --output FILE       a docker-archive: docker load, podman load, ctr -n k8s.io images import, kind load image-archive
  --name NAME:TAG     what it is called
  --as-version X.Y.Z  the version that the image says it is, instead of package.json's: to try an upgrade`

/** Loaded by the C library when names are looked up; no program names them. */
const LOOK_UPS = ['libnss_files.so.2', 'libnss_dns.so.2', 'libresolv.so.2']

export const imageConfig = (version: string): ImageConfig => ({
  Entrypoint: ['node', 'skep.ts'],
  Env: [
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'NODE_ENV=production',
    `SKEP_DATA_DIR=${DATA}`,
  ],
  WorkingDir: APP,
  User: `${USER}:${USER}`,
  Labels: {
    'org.opencontainers.image.title': 'skep',
    'org.opencontainers.image.description': 'A BitTorrent tracker cluster that survives losing a machine',
    'org.opencontainers.image.licenses': 'MIT',
    'org.opencontainers.image.version': version,
  },
  ExposedPorts: { '6969/udp': {}, '8167/tcp': {}, '8168/tcp': {}, '8169/tcp': {}, '5560/tcp': {} },
  Volumes: { [DATA]: {} },
})

/** Collects entries and the folders above them, each once. */
function layer(): { add: (entry: Entry) => void; entries: () => Entry[] } {
  const all = new Map<string, Entry>()
  const above = (path: string): void => {
    const folder = dirname(path)
    if (folder === '.' || all.has(folder)) return
    above(folder)
    all.set(folder, { kind: 'folder', path: folder, mode: 0o755 })
  }
  return {
    add(entry) {
      above(entry.path)
      all.set(entry.path, entry)
    },
    entries: () => [...all.values()],
  }
}

/** Node, its libraries, and the few files of /etc that it reads. */
function base(node: string): Entry[] {
  const { add, entries } = layer()
  add(fileEntry('usr/local/bin/node', node))
  const named = execFileSync('ldd', [node], { encoding: 'utf8' }).matchAll(/(\/\S+)/g)
  const libraries = new Set([...named].map((match) => match[1]!))
  const libc = [...libraries].find((path) => /\/libc\.so\.6$/.test(path))
  for (const name of LOOK_UPS) {
    const path = join(dirname(libc ?? '/lib'), name)
    if (existsSync(path)) libraries.add(path)
  }
  for (const path of [...libraries].sort())
    add({ kind: 'file', path: path.slice(1), from: realpathSync(path), mode: 0o755 })
  const text = (path: string, lines: string): void =>
    add({ kind: 'bytes', path, mode: 0o644, bytes: Buffer.from(`${lines}\n`) })
  text('etc/passwd', `root:x:0:0::/:/sbin/nologin\nskep:x:${USER}:${USER}::${APP}:/sbin/nologin`)
  text('etc/group', `root:x:0:\nskep:x:${USER}:`)
  text('etc/nsswitch.conf', 'hosts: files dns')
  add({ kind: 'folder', path: 'tmp', mode: 0o1777 })
  return entries()
}

/** The packages, as npm laid them out, and the links to the workspaces. */
function modules(): Entry[] {
  const { add, entries } = layer()
  const walk = (folder: string): void => {
    for (const name of readdirSync(join(ROOT, folder)).sort()) {
      const path = join(folder, name)
      const state = lstatSync(join(ROOT, path))
      if (name === 'node_modules' || unused(path)) continue
      if (state.isDirectory()) walk(path)
      else if (state.isFile()) add(fileEntry(join(APP, path).slice(1), join(ROOT, path)))
    }
  }
  for (const folder of packages()) walk(folder)
  for (const name of workspaces())
    add({
      kind: 'link',
      path: `${APP.slice(1)}/node_modules/@skep/${name}`,
      target: `../../${name}`,
      mode: 0o777,
    })
  return entries()
}

/** Our own files, and the folder for the data. */
function own(version: string | undefined): Entry[] {
  const { add, entries } = layer()
  for (const path of ownFiles()) {
    const to = join(APP, path).slice(1)
    if (path === 'package.json' && version !== undefined) {
      const manifest = { ...JSON.parse(readFileSync(join(ROOT, path), 'utf8')), version }
      add({
        kind: 'bytes',
        path: to,
        mode: 0o644,
        bytes: Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`),
      })
    } else add(fileEntry(to, join(ROOT, path)))
  }
  add({ kind: 'folder', path: DATA.slice(1), mode: 0o755, owner: USER })
  return entries()
}

export type ImageOptions = {
  readonly output: string
  readonly name: string
  readonly version?: string | undefined
}

/** Three layers, the one that changes most on top: a second version of the image costs no second Node. */
export function buildImage(options: ImageOptions): void {
  if (process.platform !== 'linux')
    throw new Error('an image for Linux is packed on Linux; elsewhere use the Dockerfile')
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  writeImage(
    options.output,
    options.name,
    imageConfig(options.version ?? version),
    [base(realpathSync(process.execPath)), modules(), own(options.version)],
    process.arch === 'arm64' ? 'arm64' : 'amd64',
  )
}

function main(): number {
  try {
    const { values } = parseArgs({
      options: {
        output: { type: 'string' },
        name: { type: 'string', default: 'localhost/skep:dev' },
        'as-version': { type: 'string' },
        help: { type: 'boolean' },
      },
    })
    if (values.help === true || values.output === undefined) {
      process.stdout.write(`${HELP}\n`)
      return values.help === true ? 0 : 64
    }
    buildImage({ output: values.output, name: values.name, version: values['as-version'] })
    if (values.output !== '-')
      process.stdout.write(
        `${values.output}: ${values.name}, ${(statSync(values.output).size / 1e6).toFixed(0)} MB\n`,
      )
    return 0
  } catch (error) {
    process.stderr.write(`image: ${(error as Error).message}\n`)
    return 1
  }
}

if (import.meta.main) process.exit(main())
