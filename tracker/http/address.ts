// Who asks: addresses between text and raw words, trusted networks, and the client's address behind proxies.
// Refuses: to believe a header that did not come through a trusted network, and any parameter; to take the
// next best word where a trusted one cannot be used.

import { BlockList, isIP } from 'node:net'
import { parseIPv4, parseIPv6 } from '@skep/wire/ip.ts'

/** An asker's address: IPv4 in word 0, IPv6 in words 0-3, raw network bytes; IPv4-mapped IPv6 is IPv4. */
export type Asker = {
  readonly v6: boolean
  readonly words: Int32Array
  /** The address as a bencoded string (BEP 24), one character a byte. */
  readonly externalIp: string
}

/**
 * Reads what Node calls `remoteAddress`, or any textual address; null if it is none. Zones (`%eth0`) are cut
 * off.
 */
export function parseAddress(text: string): Asker | null {
  const zone = text.indexOf('%')
  const address = zone < 0 ? text : text.slice(0, zone)
  const bytes = address.includes(':') ? parseIPv6(address) : parseIPv4(address)
  if (bytes === null) return null
  const mapped =
    bytes.length === 16 && bytes[10] === 255 && bytes[11] === 255 && bytes.every((b, i) => i > 9 || b === 0)
  return askerOf(mapped ? bytes.slice(12) : bytes)
}

function askerOf(bytes: Uint8Array): Asker {
  const padded = new Uint8Array(16)
  padded.set(bytes)
  return {
    v6: bytes.length === 16,
    words: new Int32Array(padded.buffer),
    externalIp: `${bytes.length}:${String.fromCharCode(...bytes)}`,
  }
}

/** Networks whose word about a client's address is taken, given as addresses or CIDR blocks. */
export class TrustedNetworks {
  private readonly list = new BlockList()
  readonly any: boolean

  /** Throws a RangeError that names the entry which is no network. */
  constructor(entries: readonly string[]) {
    this.any = entries.length > 0
    for (const entry of entries) {
      const [address, bits] = entry.split('/') as [string, string | undefined]
      const family = isIP(address)
      const most = family === 4 ? 32 : 128
      const prefix = bits === undefined ? most : Number(bits)
      if (family === 0 || !Number.isInteger(prefix) || prefix < 0 || prefix > most || bits === '')
        throw new RangeError(`${JSON.stringify(entry)} is no network: write 10.0.0.0/8 or 2001:db8::/32`)
      this.list.addSubnet(address, prefix, family === 4 ? 'ipv4' : 'ipv6')
    }
  }

  has(text: string): boolean {
    if (!this.any) return false
    const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)
    const address = mapped ? mapped[1]! : text
    const family = isIP(address)
    return family !== 0 && this.list.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }

  /**
   * The client's address from the value of X-Forwarded-For (several headers joined by commas): the rightmost
   * hop that is not itself trusted; the leftmost when all are. Null: the header is not usable, and nobody
   * knows who asks.
   */
  client(forwardedFor: string): Asker | null {
    const hops = forwardedFor.split(',')
    for (let i = hops.length - 1; i >= 0; i--) {
      const hop = bareAddress(hops[i]!.trim())
      if (isIP(hop) === 0) return null
      if (i === 0 || !this.has(hop)) return parseAddress(hop)
    }
    return null
  }
}

/** Some proxies write a port: `1.2.3.4:567`, `[::1]:567`. Anything else is what it is. */
function bareAddress(hop: string): string {
  const [, v6, v4] = /^(?:\[([0-9a-f:.]+)\](?::\d+)?|([\d.]+):\d+)$/i.exec(hop) ?? []
  if (v6 !== undefined) return v6.includes(':') ? v6 : ''
  return v4 ?? hop
}
