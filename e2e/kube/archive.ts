// Writes an image as a docker-archive, which every engine and containerd load: tar files by hand, so that the
// same content gives the same bytes. Refuses: names over 255 bytes, and anything but files, folders and
// symbolic links.

import { createHash } from 'node:crypto'
import {
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** One thing in a layer; `path` without a leading slash. Owner is root unless told. */
export type Entry = {
  readonly path: string
  readonly mode: number
  readonly owner?: number
} & (
  | { readonly kind: 'folder' }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'file'; readonly from: string }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
)

/** What a container runtime needs to know (OCI image configuration, section config). */
export type ImageConfig = {
  readonly Entrypoint: readonly string[]
  readonly Env: readonly string[]
  readonly WorkingDir: string
  readonly User: string
  readonly Labels: Readonly<Record<string, string>>
  readonly ExposedPorts: Readonly<Record<string, object>>
  readonly Volumes: Readonly<Record<string, object>>
}

const BLOCK = 512
const TYPES = { file: '0', bytes: '0', link: '2', folder: '5' } as const

/** A ustar header (POSIX.1-1988, 512 bytes): everything that would differ from run to run is 0. */
function header(entry: Entry, size: number): Buffer {
  const path = entry.kind === 'folder' ? `${entry.path}/` : entry.path
  const block = Buffer.alloc(BLOCK)
  const cut = path.length <= 100 ? -1 : path.lastIndexOf('/', 155)
  const [prefix, name] = cut === -1 ? ['', path] : [path.slice(0, cut), path.slice(cut + 1)]
  if (Buffer.byteLength(name) > 100) throw new Error(`the name is too long for an archive: ${path}`)
  block.write(name, 0)
  const octal = (value: number, at: number, digits: number): void => {
    block.write(`${value.toString(8).padStart(digits, '0')}\0`, at)
  }
  octal(entry.mode, 100, 7)
  octal(entry.owner ?? 0, 108, 7)
  octal(entry.owner ?? 0, 116, 7)
  octal(size, 124, 11)
  octal(0, 136, 11)
  block.write('        ', 148)
  block.write(TYPES[entry.kind], 156)
  if (entry.kind === 'link') {
    if (Buffer.byteLength(entry.target) > 100) throw new Error(`the link is too long: ${entry.target}`)
    block.write(entry.target, 157)
  }
  block.write('ustar\x0000', 257)
  block.write(prefix, 345)
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  )
  block.write(' ', 155)
  return block
}

const padding = (size: number): Buffer => Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)

/** Writes a tar file; returns the SHA-256 of its bytes. */
export function writeTar(to: string, entries: Iterable<Entry>): string {
  const file = openSync(to, 'w')
  const hash = createHash('sha256')
  const put = (bytes: Uint8Array): void => {
    writeSync(file, bytes)
    hash.update(bytes)
  }
  try {
    for (const entry of entries) {
      const bytes =
        entry.kind === 'file'
          ? readFileSync(entry.from)
          : entry.kind === 'bytes'
            ? entry.bytes
            : Buffer.alloc(0)
      put(header(entry, bytes.length))
      put(bytes)
      put(padding(bytes.length))
    }
    put(Buffer.alloc(2 * BLOCK))
  } finally {
    closeSync(file)
  }
  return hash.digest('hex')
}

/** Packs layers, lowest first, under a name such as localhost/skep:dev. */
export function writeImage(
  to: string,
  name: string,
  config: ImageConfig,
  layers: readonly Iterable<Entry>[],
  architecture: 'amd64' | 'arm64',
): void {
  const work = mkdtempSync(join(tmpdir(), 'skep-image-'))
  try {
    const made = layers.map((entries, i) => {
      const path = join(work, `layer${i}.tar`)
      return { path, digest: writeTar(path, entries) }
    })
    const description = {
      architecture,
      os: 'linux',
      created: '1970-01-01T00:00:00Z',
      config,
      rootfs: { type: 'layers', diff_ids: made.map((layer) => `sha256:${layer.digest}`) },
      history: made.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'npm run image' })),
    }
    const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
    const digest = createHash('sha256').update(bytes(description)).digest('hex')
    const names = made.map((layer) => `${layer.digest}.tar`)
    writeTar(join(work, 'image.tar'), [
      { kind: 'bytes', path: `${digest}.json`, mode: 0o644, bytes: bytes(description) },
      ...made.map((layer, i): Entry => ({ kind: 'file', path: names[i]!, mode: 0o644, from: layer.path })),
      {
        kind: 'bytes',
        path: 'manifest.json',
        mode: 0o644,
        bytes: bytes([{ Config: `${digest}.json`, RepoTags: [name], Layers: names }]),
      },
    ])
    if (to === '-') writeFileSync(1, readFileSync(join(work, 'image.tar')))
    else copyFileSync(join(work, 'image.tar'), to)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** A file's entry with the mode it has, only readable or executable. */
export const fileEntry = (path: string, from: string): Entry => ({
  kind: 'file',
  path,
  from,
  mode: (statSync(from).mode & 0o111) === 0 ? 0o644 : 0o755,
})
