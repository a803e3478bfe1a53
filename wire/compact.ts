// Compact peers as trackers hand them out: IPv4 in 6 bytes (BEP 23), IPv6 in 18 bytes (BEP 7, BEP 15),
// network order. Refuses: host names, zone indices; a list whose length is no multiple of a peer.

import { formatIPv4, formatIPv6, parseIPv4, parseIPv6 } from './ip.ts'

/** Bytes of a compact IPv4 peer: address 4, port 2. */
const PEER4_BYTES = 6
/** Bytes of a compact IPv6 peer: address 16, port 2. */
const PEER6_BYTES = 18

export type Peer = { readonly address: string; readonly port: number }

/** Peers of one family as bytes. RangeError for an address of another family or a port outside 0..65535. */
export function encodePeers(peers: readonly Peer[], family: 4 | 6): Uint8Array {
  const size = family === 4 ? PEER4_BYTES : PEER6_BYTES
  const bytes = new Uint8Array(peers.length * size)
  peers.forEach(({ address, port }, i) => {
    const raw = family === 4 ? parseIPv4(address) : parseIPv6(address)
    if (raw === null) throw new RangeError(`${address}: not an IPv${family} address`)
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw new RangeError(`${port}: not a port`)
    const at = i * size
    bytes.set(raw, at)
    bytes[at + size - 2] = port >>> 8
    bytes[at + size - 1] = port & 0xff
  })
  return bytes
}

/** The peers in `bytes`; null if its length is no multiple of a peer of that family. */
export function decodePeers(bytes: Uint8Array, family: 4 | 6): Peer[] | null {
  const size = family === 4 ? PEER4_BYTES : PEER6_BYTES
  if (bytes.length % size !== 0) return null
  const peers: Peer[] = []
  for (let at = 0; at < bytes.length; at += size) {
    peers.push({
      address: family === 4 ? formatIPv4(bytes, at) : formatIPv6(bytes, at),
      port: (bytes[at + size - 2]! << 8) | bytes[at + size - 1]!,
    })
  }
  return peers
}
