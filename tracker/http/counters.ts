// What the HTTP front end counts, by name. Each limit has its counter here.
// Refuses: anything by client or torrent.

export const HTTP_COUNTERS = {
  connections: 'Connections taken',
  connectionsRefused: 'Times that no more connections were taken: the most were open',
  connectionsCrowded: 'Connections answered 503 at once: too many were open from one address',
  connectionsTimedOut: 'Connections closed after silence or a request that did not arrive whole',
  clogged: 'Times a client did not read its answers and was made to wait',
  overheld: 'Connections closed: all together held too many bytes that clients did not take or wait for',
  general: 'Requests for the general HTTP parser: other paths and methods, HTTP/1.0, rarer headers',
  sessions: 'Connections that speak HTTP/2',
  sessionsTimedOut: 'HTTP/2 connections ended after silence, or because their answers were not taken',
  streamsTimedOut: 'HTTP/2 requests that did not arrive whole in time',
  calls: 'Calls of the typed service, by any protocol',
  badRequests: 'Requests that were no HTTP, or too long',
  pages: 'Requests for anything but announce and scrape',
  announces: 'Announces received',
  scrapes: 'Scrapes received',
  answered: 'Announces and scrapes answered with peers or counts',
  refusedQuery: 'Requests answered with a failure: the query was not understood',
  refusedAddress: 'Announces answered with a failure: the address may not be a peer',
  refusedForwarded: 'Announces answered with a failure: a trusted proxy did not say who asks',
  portless: 'Announces with port 0: answered with peers, not stored',
  privateAnnounces:
    'Announces from addresses that no peer on the Internet has: private, loopback, not to be routed',
  refusedAccess: 'Announces answered with a failure: the access lists forbid the torrent',
  refusedFullDisk: 'Changes answered with a failure: they cannot be stored now',
  parked: 'Changes that waited for a majority',
  parkedFull: 'Changes answered 503: as many as may wait were waiting',
  parkedLate: 'Changes answered 503: no outcome in time (they may still take effect)',
  parkedUnknown: 'Changes answered 503: appended, not committed',
  waited: 'Requests that waited for a leader',
  waitingFull: 'Requests answered 503: as many as may wait for a leader were waiting',
  waitingLate: 'Requests answered 503: no leader in time',
  gone: 'Clients that left before their answer',
  touchesDropped: 'Refreshes answered but not passed on: the ring was full (the next refresh mends it)',
} as const

export type HttpCounter = keyof typeof HTTP_COUNTERS
export type HttpCounts = { [K in HttpCounter]: number }

export const httpCounts = (): HttpCounts =>
  Object.fromEntries(Object.keys(HTTP_COUNTERS).map((name) => [name, 0])) as HttpCounts
