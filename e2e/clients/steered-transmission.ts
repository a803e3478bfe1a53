// transmission with many torrents, asked through its RPC.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../processes.ts'
import { writeTorrent } from '../torrent.ts'
import { transmissionCommand } from './programs.ts'
import type { Many, Steered } from './steered.ts'

const SESSION = 'x-transmission-session-id'
/** What it calls a torrent that has started and is not whole. */
const DOWNLOADING = 4
const BEGIN_MS = 60_000
const sessions = new Map<string, string>()

async function rpc(many: Many, method: string, given: object): Promise<Record<string, unknown>> {
  const url = `http://${many.host.address4}:${many.askPort}/transmission/rpc`
  const body = JSON.stringify({ method, arguments: given })
  for (;;) {
    const session = sessions.get(url) ?? ''
    const answer = await fetch(url, { method: 'POST', body, headers: { [SESSION]: session } })
    const fresh = answer.headers.get(SESSION)
    if (answer.status === 409 && fresh !== null && fresh !== session) {
      sessions.set(url, fresh)
      continue
    }
    if (!answer.ok) throw new Error(`transmission ${method}: ${answer.status}`)
    const said = (await answer.json()) as { result: string; arguments: Record<string, unknown> }
    if (said.result !== 'success') throw new Error(`transmission ${method}: ${said.result}`)
    return said.arguments
  }
}

type Tracker = {
  readonly hasAnnounced: boolean
  readonly lastAnnounceSucceeded: boolean
  readonly lastAnnounceResult: string
  readonly nextAnnounceTime: number
  readonly announceState: number
}

/**
 * The program wants a torrent on its command line, and handles it otherwise than those that are added later:
 * after a lost first announce its next one was answered, and the tracker counted nobody. This one is
 * nobody's.
 */
function decoy(home: string): string {
  const path = join(home, 'decoy.torrent')
  const info = { length: 1, name: 'decoy', 'piece length': 16384, pieces: new Uint8Array(20) }
  writeTorrent(path, { info }, ['http://127.0.0.1:9/announce'])
  return path
}

export const transmission: Steered = {
  name: 'transmission',
  command({ content, home, port, askPort }) {
    mkdirSync(home, { recursive: true })
    const settings = {
      'dht-enabled': false,
      'pex-enabled': false,
      'lpd-enabled': false,
      'utp-enabled': false,
      'peer-port': port,
      'port-forwarding-enabled': false,
      'download-queue-enabled': false,
      'rpc-enabled': true,
      'rpc-bind-address': '0.0.0.0',
      'rpc-port': askPort,
      'rpc-whitelist-enabled': false,
      'rpc-host-whitelist-enabled': false,
    }
    writeFileSync(join(home, 'settings.json'), JSON.stringify(settings))
    return transmissionCommand('-g', home, '-w', content, '-p', String(port), '-M', decoy(home))
  },
  async begin(many) {
    await until('transmission can be asked', BEGIN_MS, () =>
      rpc(many, 'torrent-get', { fields: ['status'] }).then(
        // Before the decoy has started, the program may still end and be started again.
        ({ torrents }) => (torrents as { status: number }[])[0]?.status === DOWNLOADING || undefined,
        () => undefined,
      ),
    )
    const { content, torrents } = many
    await Promise.all(
      torrents.map((filename) => rpc(many, 'torrent-add', { filename, 'download-dir': content })),
    )
  },
  async told(many, hash) {
    const { torrents } = await rpc(many, 'torrent-get', { ids: [hash], fields: ['trackerStats'] })
    const stats = (torrents as { trackerStats: Tracker[] }[])[0]?.trackerStats[0]
    if (stats === undefined || !stats.hasAnnounced || stats.nextAnnounceTime === 0) return undefined
    return {
      failed: !stats.lastAnnounceSucceeded,
      nextSeconds: stats.nextAnnounceTime - Date.now() / 1000,
      text: stats.lastAnnounceResult,
    }
  },
  async again(many, hash) {
    await rpc(many, 'torrent-reannounce', { ids: [hash] })
  },
}
