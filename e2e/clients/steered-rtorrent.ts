// rtorrent with many torrents, asked by XML-RPC over SCGI.

import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Many, Steered } from './steered.ts'

const ASK_MS = 5000

/** All numbers and texts of the answer, in order. */
async function call(many: Many, method: string, ...parameters: string[]): Promise<string[]> {
  const values = parameters.map((text) => `<param><value><string>${text}</string></value></param>`)
  const body = `<?xml version="1.0"?><methodCall><methodName>${method}</methodName><params>${values.join('')}</params></methodCall>`
  const headers = `CONTENT_LENGTH\0${Buffer.byteLength(body)}\0SCGI\x001\0`
  const socket = connect(many.askPort, many.host.address4)
  socket.setTimeout(ASK_MS, () => socket.destroy(new Error(`rtorrent ${method}: no answer`)))
  socket.write(`${headers.length}:${headers},${body}`)
  const pieces: Buffer[] = []
  socket.on('data', (piece: Buffer) => pieces.push(piece))
  await once(socket, 'close')
  const answer = Buffer.concat(pieces).toString('utf8')
  if (!answer.includes('<params>')) throw new Error(`rtorrent ${method}: ${answer.slice(0, 300)}`)
  return [...answer.matchAll(/<(?:i4|i8|string)>([^<]*)<\/|<(?:string)\/>/g)].map((match) => match[1] ?? '')
}

export const rtorrent: Steered = {
  name: 'rtorrent',
  command({ host, torrents, content, home, port, askPort }) {
    mkdirSync(home, { recursive: true })
    const lines = [
      `session.path.set = ${home}`,
      `directory.default.set = ${content}`,
      `network.port_range.set = ${port}-${port}`,
      `network.scgi.open_port = ${host.address4}:${askPort}`,
      'dht.mode.set = disable',
      'protocol.pex.set = no',
      'trackers.use_udp.set = yes',
      'system.daemon.set = true',
      ...torrents.map((torrent, i) => `schedule2 = add${i}, 1, 0, "load.start=${torrent}"`),
    ]
    writeFileSync(join(home, 'rtorrent.rc'), `${lines.join('\n')}\n`)
    return ['rtorrent', '-n', '-o', `import=${join(home, 'rtorrent.rc')}`]
  },
  async told(many, hash) {
    const fields = ['t.failed_counter=', 't.failed_time_next=', 't.success_counter=', 't.success_time_next=']
    const [failed, failedNext, succeeded, succeededNext] = (
      await call(many, 't.multicall', hash.toUpperCase(), '', ...fields)
    ).map(Number)
    if (failed === undefined || (failed === 0 && succeeded === 0)) return undefined
    const next = failed > 0 ? failedNext! : succeededNext!
    const [text] = await call(many, 'd.message', hash.toUpperCase())
    return { failed: failed > 0, nextSeconds: next - Date.now() / 1000, text: text ?? '' }
  },
  async again(many, hash) {
    await call(many, 'd.tracker_announce', hash.toUpperCase())
  },
}
