// A file of chance and its .torrent (BEP 3), so that an end-to-end run needs nobody's content.
// Refuses: several files, v2 torrents.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream, writeFileSync } from 'node:fs'
import { encode } from '@skep/wire/bencode.ts'

const PIECE_BYTES = 256 * 1024
const BLOCK_BYTES = 1 << 20

export type Content = {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
  readonly infoHash: Uint8Array
  /** Bencoded info dictionary; a .torrent is this and announce URLs. */
  readonly info: Record<string, Uint8Array | string | number>
}

/** Writes `bytes` of seeded bytes to `path`; the name makes the torrent differ from others. */
export async function makeContent(path: string, name: string, bytes: number, seed: number): Promise<Content> {
  const out = createWriteStream(path)
  const whole = createHash('sha256')
  const pieces: Buffer[] = []
  let piece = createHash('sha1')
  let inPiece = 0
  let state = seed | 0 || 1
  for (let left = bytes; left > 0; ) {
    const block = new Uint32Array(Math.min(BLOCK_BYTES, left) >> 2)
    for (let i = 0; i < block.length; i++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      block[i] = state
    }
    const raw = new Uint8Array(block.buffer)
    whole.update(raw)
    for (let at = 0; at < raw.length; ) {
      const take = Math.min(PIECE_BYTES - inPiece, raw.length - at)
      piece.update(raw.subarray(at, at + take))
      at += take
      inPiece += take
      if (inPiece === PIECE_BYTES) {
        pieces.push(piece.digest())
        piece = createHash('sha1')
        inPiece = 0
      }
    }
    if (!out.write(raw)) await once(out, 'drain')
    left -= raw.length
  }
  if (inPiece > 0) pieces.push(piece.digest())
  out.end()
  await once(out, 'finish')
  const info = {
    length: bytes,
    name,
    'piece length': PIECE_BYTES,
    pieces: new Uint8Array(Buffer.concat(pieces)),
  }
  return { name, bytes, sha256: whole.digest('hex'), infoHash: sha1(encode(info)), info }
}

/** A torrent of the same content: same info_hash whatever the URLs, each of which is a tier. */
export const writeTorrent = (
  path: string,
  content: Pick<Content, 'info'>,
  tiers: readonly [string, ...string[]],
): void => {
  const list = tiers.length > 1 ? { 'announce-list': tiers.map((url) => [url]) } : {}
  writeFileSync(path, encode({ announce: tiers[0], ...list, 'creation date': 1, info: content.info }))
}

const sha1 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha1').update(bytes).digest())

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const block of createReadStream(path)) hash.update(block as Buffer)
  return hash.digest('hex')
}
