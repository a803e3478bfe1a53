// qBittorrent with many torrents, asked through its web API.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Many, Steered } from './steered.ts'

/** What its API calls a tracker that works, and one that does not. */
const WORKING = 2
const NOT_WORKING = 4
/** The time of the next announce is told from a copy that is this old at most, with room. */
const STALE_MS = 2500
/**
 * The copy is made when something of the torrent changes: a plan that is made later than this is not in it.
 */
const LATE_MS = 3000
/** When each torrent was first asked for, and first seen to have been tried. */
const asked = new Map<string, number>()
const tried = new Map<string, number>()

const ask = async ({ host, askPort }: Many, call: string, body?: string): Promise<Response> => {
  const answer = await fetch(`http://${host.address4}:${askPort}/api/v2/torrents/${call}`, {
    ...(body !== undefined && { method: 'POST', body }),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  })
  if (!answer.ok) throw new Error(`qbittorrent ${call}: ${answer.status}`)
  return answer
}

export const qbittorrent: Steered = {
  name: 'qbittorrent',
  command({ host, torrents, content, home, port, askPort }) {
    const folder = join(home, 'qBittorrent', 'config')
    mkdirSync(folder, { recursive: true })
    const lines = [
      '[LegalNotice]',
      'Accepted=true',
      '[BitTorrent]',
      'Session\\DHTEnabled=false',
      'Session\\PeXEnabled=false',
      'Session\\LSDEnabled=false',
      'Session\\QueueingSystemEnabled=false',
      'Session\\Interface=eth0',
      'Session\\InterfaceName=eth0',
      // Its other address would be a second peer with plans of its own.
      `Session\\InterfaceAddress=${host.address4}`,
      `Session\\Port=${port}`,
      `Session\\DefaultSavePath=${content}`,
      '[Preferences]',
      'WebUI\\Address=*',
      'WebUI\\UseUPnP=false',
      'WebUI\\HostHeaderValidation=false',
      'WebUI\\CSRFProtection=false',
      'WebUI\\AuthSubnetWhitelistEnabled=true',
      'WebUI\\AuthSubnetWhitelist=10.0.0.0/8',
    ]
    writeFileSync(join(folder, 'qBittorrent.conf'), `${lines.join('\n')}\n`)
    const where = [`--profile=${home}`, `--save-path=${content}`, `--webui-port=${askPort}`]
    return ['qbittorrent-nox', ...where, ...torrents]
  },
  async told(many, hash) {
    const trackers = (await (await ask(many, `trackers?hash=${hash}`)).json()) as {
      url: string
      status: number
      msg: string
    }[]
    if (!asked.has(hash)) asked.set(hash, performance.now())
    const own = trackers.find(({ url }) => url.includes('://'))
    if (own === undefined || (own.status !== WORKING && own.status !== NOT_WORKING)) return undefined
    const since = tried.get(hash) ?? performance.now()
    tried.set(hash, since)
    const passedMs = performance.now() - since
    if (passedMs < STALE_MS) return undefined
    const { reannounce } = (await (await ask(many, `properties?hash=${hash}`)).json()) as {
      reannounce: number
    }
    const nextSeconds = since - asked.get(hash)! > LATE_MS ? undefined : reannounce + passedMs / 1000
    return { failed: own.status === NOT_WORKING, nextSeconds, text: own.msg }
  },
  async again(many, hash) {
    await ask(many, 'reannounce', `hashes=${hash}`)
  },
}
