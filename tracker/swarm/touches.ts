// Touches in a log entry: in the order of their units, each as its distance to the one before, in bytes of
// seven bits (LEB128, DWARF 5 section 7.6). Two or three bytes a refresh instead of four, and apply goes
// through the table in one direction. Refuses: to know what a touch does (table.ts).

/** Most bytes of one; with thousands of them in a part they are three at most, on average. */
export const TOUCH_BYTES = 5

const MORE = 0x80
/** Fills the last word: the beginning of a touch that never comes. */
export const PADDING = MORE

/**
 * A touch word (table.ts) turned so that family and unit come first: what is near in the table is near as a
 * number.
 */
const keyOf = (word: number): number => (word << 6) | (word >>> 26)
const wordOf = (key: number): number => (key >>> 6) | (key << 26)

/**
 * Packs `words[0..count)` into `bytes` from `at` on, where `TOUCH_BYTES` each must fit; `keys` is room for
 * `count` numbers. Returns the end.
 */
export function packTouches(
  words: Int32Array,
  count: number,
  keys: Uint32Array,
  bytes: Uint8Array,
  at: number,
): number {
  const sorted = keys.subarray(0, count)
  for (let i = 0; i < count; i++) sorted[i] = keyOf(words[i]!)
  sorted.sort()
  let to = at
  let last = 0
  for (let i = 0; i < count; i++) {
    const key = sorted[i]!
    let rest = key - last
    last = key
    for (; rest >= MORE; rest >>>= 7) bytes[to++] = (rest & 0x7f) | MORE
    bytes[to++] = rest
  }
  return to
}

/** Calls `table.touch` for each of `count` packed touches in `bytes[from..to)`. */
export function unpackTouches(
  bytes: Uint8Array,
  from: number,
  to: number,
  count: number,
  table: { touch(word: number): void },
): void {
  let at = from
  let key = 0
  for (let i = 0; i < count && at < to; i++) {
    let byte = bytes[at++]!
    let distance = byte & 0x7f
    for (let shift = 7; byte >= MORE && at < to; shift += 7) {
      byte = bytes[at++]!
      distance |= (byte & 0x7f) << shift
    }
    key = (key + distance) | 0
    table.touch(wordOf(key))
  }
}

/** Are these `count` packed touches, and nothing after them but what fills the last word? */
export function areTouches(bytes: Uint8Array, count: number): boolean {
  let at = 0
  for (let i = 0; i < count; i++) {
    const from = at
    while (at < bytes.length && bytes[at]! >= MORE) at++
    at++
    if (at > bytes.length || at - from > TOUCH_BYTES) return false
  }
  if (count < 0 || bytes.length - at >= 4) return false
  return bytes.subarray(at).every((byte) => byte === PADDING)
}
