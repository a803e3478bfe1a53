// Bytes and texts that a parser should not like: seeded mutations of things it does.
// Refuses: to be fair.

import type { Random } from '@skep/testing/random.ts'
import { encodeRequest, encodeUrlData } from '@skep/wire/udp-tracker.ts'

/** Numbers at which arithmetic on lengths and counts goes wrong. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff]

/** A mutated copy: bits flipped, numbers put to their edges, cut, lengthened, doubled. */
export function mutateBytes(random: Random, bytes: Uint8Array, most: number): Uint8Array {
  let out = Uint8Array.from(bytes)
  for (let i = random.below(4); i >= 0; i--) {
    const at = random.below(Math.max(1, out.length))
    switch (random.below(7)) {
      case 0:
        if (out.length > 0) out[at]! ^= 1 << random.below(8)
        break
      case 1:
        if (out.length > 0) out[at] = random.below(256)
        break
      case 2:
        if (at + 4 <= out.length) new DataView(out.buffer).setUint32(at, EDGES[random.below(EDGES.length)]!)
        break
      case 3:
        out = out.slice(0, at)
        break
      case 4:
        out = join(out, randomBytes(random, random.below(64)))
        break
      case 5:
        out = join(out.slice(0, at), out)
        break
      default:
        if (out.length > 0) out.copyWithin(at, random.below(out.length))
    }
  }
  return out.slice(0, most)
}

export function randomBytes(random: Random, length: number): Uint8Array {
  const out = new Uint8Array(length)
  for (let i = 0; i < length; i++) out[i] = random.below(256)
  return out
}

const join = (a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> => {
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}

/** A text with characters exchanged, doubled, dropped, or from anywhere in Unicode. */
export function mutateText(random: Random, text: string, most: number): string {
  let out = text
  for (let i = random.below(5); i >= 0; i--) {
    const at = random.below(out.length + 1)
    const odd = String.fromCharCode(
      [0, 0x25, 0x26, 0x3d, 0x0a, 0xff, 0x2028, 0xd800, 0xfffd][random.below(9)]!,
    )
    switch (random.below(5)) {
      case 0:
        out = out.slice(0, at) + odd + out.slice(at)
        break
      case 1:
        out = out.slice(0, at) + out.slice(at + 1 + random.below(8))
        break
      case 2:
        out = out.slice(0, at) + out.slice(random.below(out.length + 1))
        break
      case 3:
        out = out.slice(0, at) + String.fromCharCode(random.below(0x180)) + out.slice(at + 1)
        break
      default:
        out = out.slice(0, at) + EDGES[random.below(EDGES.length)] + out.slice(at)
    }
  }
  return out.slice(0, most)
}

/** Requests a tracker likes, with the connection ID given. */
export function goodRequests(random: Random, connectionId: bigint): Uint8Array[] {
  const infoHash = randomBytes(random, 20)
  // Few torrents, so that swarms grow and meet each other.
  infoHash.fill(random.below(64), 0, 19)
  const announce = {
    kind: 'announce' as const,
    connectionId,
    transactionId: random.word(),
    infoHash,
    peerId: randomBytes(random, 20),
    downloaded: 0n,
    left: BigInt(random.below(2)),
    uploaded: 0n,
    event: random.below(5),
    ip: 0,
    key: random.word(),
    numWant: random.below(100) - 1,
    port: 1 + random.below(65535),
    urlData: new Uint8Array(0),
  }
  return [
    encodeRequest({ kind: 'connect', transactionId: random.word() }),
    encodeRequest(announce),
    join(encodeRequest(announce), encodeUrlData(randomBytes(random, random.below(300)))),
    encodeRequest({
      kind: 'scrape',
      connectionId,
      transactionId: random.word(),
      infoHashes: Array.from({ length: 1 + random.below(74) }, () => infoHash),
    }),
  ]
}
