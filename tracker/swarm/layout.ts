// Where everything of the swarm table lies: buffers, word offsets, capacity. All state, the allocators' too,
// is in these buffers, so equal buffers are equal replicas and a snapshot is a copy of what is used. Refuses:
// any logic beyond sizes.
//
// Torrent record (16 words, one cache line), array `torrents`:
//   0-4 info_hash   5 sequence (odd: being written)   6 completed
//   7 flags         8-9 IPv4 leechers   10-11 IPv4 seeders   (sets, see peers.ts)
//   12 extension record + 1, 0: none    13 state (0 free, 1 in use)
//   14 time bucket in which the last peer left    15 free list
// Extension record (16 words), array `extensions`, only for torrents that need one:
//   0-1 IPv6 leechers  2-3 IPv6 seeders  4-5 tag index (big swarms)  6 twins counted as leechers too often
//   7 twins counted as seeders too often  8 free list
// Peer unit, Uint16 half-words, array `peers4` / `peers6`:
//   address 2 | 8, port 1, stamp 1 (time bucket of the last announce), tag 2  => 12 | 24 bytes
// Tag unit, array `tags`: tag 2, hash of the peer's address 2  => 8 bytes

export const RECORD = 16
export const T_SEQUENCE = 5
export const T_COMPLETED = 6
export const T_FLAGS = 7
export const T_LEECHERS = 8
export const T_SEEDERS = 10
export const T_EXTENSION = 12
export const T_STATE = 13
export const T_EMPTY_SINCE = 14
export const T_FREE = 15
/** T_FLAGS: a peer with a private address was stored since the torrent was created. */
export const HAS_PRIVATE = 1
/** T_FLAGS: the tag index covers every tagged peer. */
export const TAGGED = 2

export const E_LEECHERS = 0
export const E_SEEDERS = 2
export const E_TAGS = 4
export const E_TWIN_LEECHERS = 6
export const E_TWIN_SEEDERS = 7
export const E_FREE = 8

/** Units a page; big swarms are made of whole pages. */
export const PAGE = 64
/** Words of bookkeeping a page: 0 kind, count, depth; 1-2 free slots; 3 next; 4 previous. */
export const PAGE_WORDS = 8

/** Words in `control`; all of it is part of a snapshot. */
export const C_MAGIC = 0
export const C_TORRENT_TOP = 1
export const C_TORRENT_FREE = 2
export const C_TORRENTS = 3
export const C_INDEX_LEVEL = 4
export const C_INDEX_OLD = 5
export const C_INDEX_CURSOR = 6
export const C_INDEX_SEQUENCE = 7
export const C_TIME = 8 // float64, milliseconds: words 8-9
export const C_BUCKET = 10
export const C_EXTENSION_TOP = 11
export const C_EXTENSION_FREE = 12
export const C_SWEEP = 13
export const C_DIRECTORY_TOP = 14
export const C_LEVEL = 15
/** Settings that front ends read (settings.ts). */
export const C_SETTINGS = 16
/** Connection-ID keys: current 4 words, its first window, previous 4 words. */
export const C_ID_KEYS = 48
/** Access lists: sequence, allow active, allow entries, deny entries, revisions. */
export const C_ACCESS = 64
/** What happened, counted in `apply`, the same on every member. */
export const C_COUNTERS = 80
export const COUNTERS = [
  'joins',
  'leaves',
  'completions',
  'expired',
  'touches',
  'stale_touches',
  'peers_refused_full',
  'torrents_refused_full',
  'changes_denied',
  'moves',
  'twins',
  'duplicate_batches',
  'tag_index_full',
  'tag_clashes',
] as const
export type Counter = (typeof COUNTERS)[number]
/** Free lists of directories by power of two: words 100-131. */
export const C_DIRECTORY_FREE = 100
/**
 * Families: 32 words each from here: page top, free pages, units in use, then 12 lists of partly used pages.
 */
export const C_FAMILIES = 144
export const FAMILY_WORDS = 32
export const F_TOP = 0
export const F_FREE = 1
export const F_UNITS = 2
export const F_PARTIAL = 4
/** Last batch of each member: 4 words (ID low, ID high, incarnation, number) x 64 from word 256. */
export const C_BATCHES = 256
export const BATCH_MEMBERS = 64
/** Birth: cluster ID (5 words), 1 hash seed, creation marker; words 512-. */
export const C_BIRTH = 512
/** The cluster's secret for its tables, from level 2 on: 4 words. */
export const C_HASH_KEY = 520
const CONTROL_WORDS = 1024

export const MAGIC = 0x534b4531 // "SKE1"

/** Milliseconds a time bucket; stamps are bucket numbers mod 2^16. */
export const BUCKET_MS = 16_000

/** Capacity, fixed at the cluster's birth. Counts, not bytes. */
export type Limits = {
  readonly torrents: number
  readonly extensions: number
  readonly pages4: number
  readonly pages6: number
  readonly pagesTags: number
  readonly directoryWords: number
  /** Entries of both access lists together. */
  readonly access: number
  /** Keep peer_id, key and byte counts a peer (48 bytes more). */
  readonly details: boolean
}

export const MAX_UNITS = 1 << 25

export type StoreBuffers = {
  readonly limits: Limits
  /** False where plain reads may pass atomic ones (not x64): readers then take the swarm's lock. */
  readonly ordered: boolean
  readonly control: SharedArrayBuffer
  readonly index: SharedArrayBuffer
  readonly torrents: SharedArrayBuffer
  readonly extensions: SharedArrayBuffer
  readonly directory: SharedArrayBuffer
  readonly access: SharedArrayBuffer
  readonly peers4: SharedArrayBuffer
  readonly pages4: SharedArrayBuffer
  readonly details4: SharedArrayBuffer
  readonly peers6: SharedArrayBuffer
  readonly pages6: SharedArrayBuffer
  readonly details6: SharedArrayBuffer
  readonly tags: SharedArrayBuffer
  readonly pagesTags: SharedArrayBuffer
}

/** Bytes a unit by family: IPv4, IPv6, tag. */
const UNIT_BYTES = [12, 24, 8] as const
export const DETAIL_BYTES = 48

/** Highest level of the torrent index (2^level slots, at most three quarters used). */
const indexLevels = (torrents: number): number => {
  let level = 8
  while (2 ** level * 0.75 < torrents) level++
  return level
}

/** Access table: slots of 6 words, at most half used. */
export const accessSlots = (entries: number): number => {
  let n = 64
  while (n < entries * 2) n *= 2
  return n
}

/**
 * Splits `bytes` of memory into capacities. Pages that are never touched cost nothing, so the split only says
 * what is refused first: 30 % torrents, 45 % IPv4 peers, 15 % IPv6 peers, the rest for big swarms'
 * directories and tags.
 */
export function limitsFor(bytes: number, details: boolean): Limits {
  const extra = details ? DETAIL_BYTES : 0
  const pages = (share: number, unit: number) =>
    Math.max(64, Math.min(MAX_UNITS / PAGE, Math.floor((bytes * share) / (PAGE * (unit + 0.5)))))
  return {
    torrents: Math.max(1024, Math.min(1 << 26, Math.floor((bytes * 0.3) / 80))),
    extensions: Math.max(256, Math.min(1 << 24, Math.floor((bytes * 0.03) / 64))),
    pages4: pages(0.45, 12 + extra),
    pages6: pages(0.15, 24 + extra),
    pagesTags: pages(0.05, 8),
    directoryWords: Math.max(4096, Math.min(1 << 26, Math.floor((bytes * 0.02) / 4))),
    access: 131_072,
    details,
  }
}

/** Reserves every buffer; memory is taken page by page when first written. */
export function allocate(limits: Limits, ordered: boolean): StoreBuffers {
  const shared = (bytes: number) => new SharedArrayBuffer(Math.ceil(bytes / 65536) * 65536)
  const units4 = limits.pages4 * PAGE
  const units6 = limits.pages6 * PAGE
  return {
    limits,
    ordered,
    control: shared(CONTROL_WORDS * 4),
    index: shared(2 ** (indexLevels(limits.torrents) + 1) * 4),
    torrents: shared(limits.torrents * RECORD * 4),
    extensions: shared(limits.extensions * RECORD * 4),
    directory: shared(limits.directoryWords * 4),
    access: shared(accessSlots(limits.access) * 24),
    peers4: shared(units4 * UNIT_BYTES[0]),
    pages4: shared(limits.pages4 * PAGE_WORDS * 4),
    details4: shared(limits.details ? units4 * DETAIL_BYTES : 0),
    peers6: shared(units6 * UNIT_BYTES[1]),
    pages6: shared(limits.pages6 * PAGE_WORDS * 4),
    details6: shared(limits.details ? units6 * DETAIL_BYTES : 0),
    tags: shared(limits.pagesTags * PAGE * UNIT_BYTES[2]),
    pagesTags: shared(limits.pagesTags * PAGE_WORDS * 4),
  }
}
