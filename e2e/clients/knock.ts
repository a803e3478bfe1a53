// Asks a tracker by HTTP whether it takes a peer that nobody knows. Refuses: to be a client that anybody
// finds.

const HTTP_PORT = 8168
const ANSWER_MS = 10_000

export const announcePath = (hash: string, more: string): string =>
  `/announce?info_hash=${hash}&peer_id=-XX0000-000000000000&port=7777&left=1&compact=1&${more}`

let knocks = 0

export type Heard = 'stored' | 'busy' | 'refused' | 'nothing'

/** Announces a torrent that nobody has asked for before. */
export async function knock(
  address: string,
  hash = `knock${String(knocks++).padStart(15, '0')}`,
): Promise<Heard> {
  const url = `http://${address}:${HTTP_PORT}${announcePath(hash, 'event=started')}`
  const answer = await fetch(url, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(ANSWER_MS),
  }).catch(() => undefined)
  const text = await answer?.text().catch(() => undefined)
  if (answer === undefined || text === undefined) return 'nothing'
  if (answer.status === 503) return 'busy'
  return text.includes('failure reason') ? 'refused' : 'stored'
}
