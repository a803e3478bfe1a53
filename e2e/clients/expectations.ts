// What each real client makes of each failure: the data that `npm run e2e:clients` holds against the clients,
// and of which the tables of docs/http.md are made. Refuses: what nobody measured; times are the clients' own
// plans.

export type ClientName = 'libtorrent' | 'qbittorrent' | 'transmission' | 'rtorrent' | 'aria2'

/** How a failure looks to a client. */
export type Look = 'busy' | 'closed' | 'refused' | 'error' | 'silence' | 'unstored'

/** Seconds from the first failure to the next try; or when the tracker, or the file, tells it to come. */
type First = number | 'interval'
type Reaction = {
  readonly first: First
  /** Of this many seconds after its first datagram it sends the same again, and that one is heard. */
  readonly repeats?: number
  /** The cell of the table: the first try, and later ones as they were measured once. */
  readonly text: string
}

const row = (first: First, text: string, repeats?: number): Reaction => ({
  first,
  text,
  ...(repeats !== undefined && { repeats }),
})

export const REACTIONS: Record<Look, Record<ClientName, Reaction>> = {
  busy: {
    libtorrent: row(17, '17, 55, 117, 205 s'),
    qbittorrent: row(17, '17, 55, 117, 205 s'),
    transmission: row(20, '20 s, 5 min, 30 min'),
    rtorrent: row(5, '5, 10, 20 .. 160 s'),
    aria2: row(120, '120 s'),
  },
  closed: {
    libtorrent: row(17, '17, 55, 117 s'),
    qbittorrent: row(17, '17, 55, 117 s'),
    transmission: row(20, '20 s, 5 min, 30 min'),
    rtorrent: row(5, '5, 10, 20 .. 160 s'),
    aria2: row(120, '120 s'),
  },
  refused: {
    libtorrent: row('interval', 'at the interval'),
    qbittorrent: row('interval', 'at the interval'),
    transmission: row(20, '20 s, 5, 15, 30 min'),
    rtorrent: row(5, '5, 10, 20 .. 160 s'),
    aria2: row(120, '120 s'),
  },
  error: {
    libtorrent: row(29, '29, 55, 117, 205 s'),
    qbittorrent: row(29, '29, 55, 117, 205 s'),
    transmission: row(20, '20 s, 5, 15 min'),
    rtorrent: row(5, '5, 10, 20 .. 80 s'),
    aria2: row(120, '120 s'),
  },
  silence: {
    libtorrent: row(29, 'next address after 10 s, then 29, 55, 117, 205 s'),
    qbittorrent: row(29, 'next address after 10 s, then 29, 55, 117, 205 s'),
    transmission: row(20, 'gives up after 60 s, then 20 s, 5, 15, 30 min'),
    rtorrent: row(5, 'repeats after 30 s, gives up after 60 s, then 5, 10 .. 160 s', 30),
    aria2: row(120, 'repeats after 5 s, gives up after 15 s, then 120 s', 5),
  },
  unstored: {
    libtorrent: row('interval', 'at the interval'),
    qbittorrent: row('interval', 'at the interval'),
    transmission: row('interval', 'at the interval'),
    rtorrent: row('interval', 'at the interval'),
    aria2: row(120, '120 s while it has nobody to load from'),
  },
}

export type Transport = 'udp' | 'http'
export type Failure = {
  readonly name: string
  /** Its row in docs/http.md begins so. */
  readonly cause: string
  readonly looks: Partial<Record<Transport, Look>>
}

/** Those that a test can cause; what the others look like is the same as one of these. */
export const FAILURES: readonly Failure[] = [
  { name: 'no leader', cause: 'no leader', looks: { udp: 'silence', http: 'busy' } },
  { name: 'full disk', cause: 'the disk is full', looks: { udp: 'error', http: 'busy' } },
  { name: 'full table', cause: 'the table is full', looks: { udp: 'unstored', http: 'unstored' } },
  { name: 'too many connections', cause: 'as many HTTP connections', looks: { http: 'closed' } },
  { name: 'denied torrent', cause: 'the lists forbid', looks: { udp: 'error', http: 'refused' } },
  { name: 'refused address', cause: 'the address cannot be', looks: { udp: 'error', http: 'refused' } },
  { name: 'mute proxy', cause: 'a trusted proxy does not say', looks: { http: 'refused' } },
]

/** How the table of causes says it. */
export const SAID: Record<Look, string> = {
  busy: '503',
  closed: 'connects are refused',
  refused: '200, failure',
  error: 'error',
  silence: 'silence',
  unstored: 'an answer',
}

const NAMES: readonly (readonly [ClientName, string])[] = [
  ['libtorrent', 'libtorrent 2.1.1'],
  ['qbittorrent', 'qBittorrent 4.5.2 (libtorrent 2.0.8)'],
  ['transmission', 'transmission 3.00'],
  ['rtorrent', 'rtorrent 0.9.8'],
  ['aria2', 'aria2 1.36'],
]
const COLUMNS: readonly (readonly [Look, string])[] = [
  ['busy', '503'],
  ['closed', 'connect refused'],
  ['refused', 'failure with an interval'],
  ['error', 'UDP error'],
  ['silence', 'UDP silence'],
  ['unstored', 'answered, not stored'],
]

/** Lines of the table of docs/http.md. */
export function reactionsTable(): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    line(['client', ...COLUMNS.map(([, title]) => title)]),
    line(['---', ...COLUMNS.map(() => '---')]),
    ...NAMES.map(([name, shown]) => line([shown, ...COLUMNS.map(([look]) => REACTIONS[look][name].text)])),
  ]
}
