// libtorrent's binding with many torrents, asked through the small web server of libtorrent-client.py.

import { join } from 'node:path'
import { LIBTORRENT } from './programs.ts'
import type { Many, Steered } from './steered.ts'

const ask = async ({ host, askPort }: Many, path: string): Promise<unknown> =>
  (await fetch(`http://${host.address4}:${askPort}${path}`)).json()

export const libtorrent: Steered = {
  name: 'libtorrent',
  command: ({ host, torrents, content, port, askPort }) => [
    ...['env', `PYTHONPATH=${process.env[LIBTORRENT] ?? ''}`, 'python3', '-u'],
    ...[join(import.meta.dirname, 'libtorrent-client.py'), content, `${host.address4}:${port}`],
    ...[`${host.address4}:${askPort}`, ...torrents],
  ],
  async told(many, hash) {
    const { fails, next, text } = (await ask(many, `/told/${hash}`)) as {
      fails: number
      next: number | null
      text: string
    }
    if (next === null) return undefined
    return { failed: fails > 0, nextSeconds: next, text }
  },
  async again(many, hash) {
    await ask(many, `/again/${hash}`)
  },
}
