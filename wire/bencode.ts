// Bencode (BEP 3): decode with limits, encode in canonical order. Strings are bytes; dictionary keys are
// strings with one character a byte (latin1), so that an info_hash survives as a key. Refuses: to guess text
// encodings, input that is deeper, larger or longer than it was told to take, trailing bytes, a key twice.
// Key order is not required of others (many trackers get it wrong) and always kept by `encode`.

export type Bencode = number | bigint | Uint8Array | readonly Bencode[] | ReadonlyMap<string, Bencode>

/**
 * What may be encoded: text is taken as UTF-8, a plain object as a dictionary, `undefined` members are left
 * out.
 */
export type Encodable =
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Encodable[]
  | ReadonlyMap<string, Encodable>
  | { readonly [key: string]: Encodable | undefined }

export type BencodeLimits = {
  /** Nested lists and dictionaries. */
  readonly depth: number
  /** Bytes of input. */
  readonly bytes: number
  /** Values in all, keys included. */
  readonly values: number
}

const DEFAULT_LIMITS: BencodeLimits = { depth: 32, bytes: 16 * 1024 * 1024, values: 1_000_000 }

export type Decoded =
  | { readonly ok: true; readonly value: Bencode }
  | { readonly ok: false; readonly reason: string; readonly at: number }

class Malformed extends Error {
  readonly at: number
  constructor(reason: string, at: number) {
    super(reason)
    this.at = at
  }
}

const COLON = 0x3a
const DICTIONARY = 0x64
const END = 0x65
const INTEGER = 0x69
const LIST = 0x6c
const MINUS = 0x2d
const ZERO = 0x30
/** Digits of the longest integer taken: those of 2^64. */
const INTEGER_DIGITS = 20

const isDigit = (byte: number | undefined) => byte !== undefined && byte >= ZERO && byte <= ZERO + 9

/** Decodes one value that fills `bytes` exactly. Never throws; strings are views into `bytes`. */
export function decode(bytes: Uint8Array, limits: BencodeLimits = DEFAULT_LIMITS): Decoded {
  if (bytes.length > limits.bytes) return { ok: false, reason: `more than ${limits.bytes} bytes`, at: 0 }
  const reader = new Reader(bytes, limits)
  try {
    const value = reader.value(0)
    if (reader.at !== bytes.length) throw new Malformed('bytes after the value', reader.at)
    return { ok: true, value }
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, reason: error.message, at: error.at }
    throw error
  }
}

class Reader {
  at = 0
  private values = 0
  private readonly bytes: Uint8Array
  private readonly limits: BencodeLimits

  constructor(bytes: Uint8Array, limits: BencodeLimits) {
    this.bytes = bytes
    this.limits = limits
  }

  value(depth: number): Bencode {
    if (++this.values > this.limits.values)
      throw new Malformed(`more than ${this.limits.values} values`, this.at)
    const byte = this.bytes[this.at]
    if (isDigit(byte)) return this.string()
    if (byte === INTEGER) return this.integer()
    if (byte !== LIST && byte !== DICTIONARY) throw new Malformed('no value here', this.at)
    if (depth >= this.limits.depth) throw new Malformed(`deeper than ${this.limits.depth}`, this.at)
    this.at++
    return byte === LIST ? this.list(depth + 1) : this.dictionary(depth + 1)
  }

  private list(depth: number): Bencode[] {
    const list: Bencode[] = []
    while (this.bytes[this.at] !== END) list.push(this.value(depth))
    this.at++
    return list
  }

  private dictionary(depth: number): Map<string, Bencode> {
    const dictionary = new Map<string, Bencode>()
    while (this.bytes[this.at] !== END) {
      const start = this.at
      this.values++
      const key = latin1(this.string())
      if (dictionary.has(key)) throw new Malformed('a key twice', start)
      dictionary.set(key, this.value(depth))
    }
    this.at++
    return dictionary
  }

  private string(): Uint8Array {
    const start = this.at
    let length = 0
    while (isDigit(this.bytes[this.at])) {
      length = length * 10 + this.bytes[this.at++]! - ZERO
      if (length > this.bytes.length) throw new Malformed('string longer than the input', start)
    }
    if (this.at === start || this.bytes[this.at] !== COLON) throw new Malformed('no string here', start)
    if (this.bytes[start] === ZERO && this.at - start > 1) throw new Malformed('leading zero', start)
    const from = this.at + 1
    if (from + length > this.bytes.length) throw new Malformed('string longer than the input', start)
    this.at = from + length
    return this.bytes.subarray(from, this.at)
  }

  private integer(): number | bigint {
    const start = this.at++
    const negative = this.bytes[this.at] === MINUS
    if (negative) this.at++
    const first = this.at
    let text = negative ? '-' : ''
    while (isDigit(this.bytes[this.at])) {
      if (this.at - first >= INTEGER_DIGITS) throw new Malformed('integer too long', start)
      text += String.fromCharCode(this.bytes[this.at++]!)
    }
    if (this.at === first || this.bytes[this.at] !== END) throw new Malformed('no integer here', start)
    const leadingZero = this.bytes[first] === ZERO && (negative || this.at - first > 1)
    if (leadingZero) throw new Malformed('leading zero', start)
    this.at++
    const value = Number(text)
    return Number.isSafeInteger(value) ? value : BigInt(text)
  }
}

/** Bytes as a string with one character a byte. */
export function latin1(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096))
  return text
}

const utf8 = new TextEncoder()

/**
 * Canonical bencode. Throws a RangeError for what bencode cannot say (fractions, characters above 255 in a
 * key).
 */
export function encode(value: Encodable): Uint8Array {
  const parts: Uint8Array[] = []
  write(value, parts)
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

function write(value: Encodable, parts: Uint8Array[]): void {
  if (typeof value === 'number' || typeof value === 'bigint') {
    if (typeof value === 'number' && !Number.isSafeInteger(value))
      throw new RangeError(`not an integer: ${value}`)
    parts.push(utf8.encode(`i${value}e`))
  } else if (typeof value === 'string') writeBytes(utf8.encode(value), parts)
  else if (value instanceof Uint8Array) writeBytes(value, parts)
  else if (Array.isArray(value)) {
    parts.push(utf8.encode('l'))
    for (const item of value as readonly Encodable[]) write(item, parts)
    parts.push(utf8.encode('e'))
  } else
    writeDictionary(value as ReadonlyMap<string, Encodable> | { [key: string]: Encodable | undefined }, parts)
}

function writeBytes(bytes: Uint8Array, parts: Uint8Array[]): void {
  parts.push(utf8.encode(`${bytes.length}:`), bytes)
}

function writeDictionary(
  value: ReadonlyMap<string, Encodable> | { readonly [key: string]: Encodable | undefined },
  parts: Uint8Array[],
): void {
  const members = value instanceof Map ? [...value] : Object.entries(value)
  members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  parts.push(utf8.encode('d'))
  for (const [key, member] of members) {
    if (member === undefined) continue
    writeBytes(
      Uint8Array.from([...key], (character: string) => {
        const code = character.codePointAt(0)!
        if (code > 255) throw new RangeError(`a key of characters above 255: ${key}`)
        return code
      }),
      parts,
    )
    write(member, parts)
  }
  parts.push(utf8.encode('e'))
}
