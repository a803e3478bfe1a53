// Real BitTorrent clients, each told to use the tracker only: no DHT, no peer exchange, no local discovery.
// Refuses: to hide a client's gaps; what a client cannot do is written down with the reason.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from '../network.ts'
import { has } from '../processes.ts'

export type Task = {
  readonly host: Host
  readonly torrent: string
  /** Where the content lies, or shall lie. */
  readonly content: string
  /** The client's own files. */
  readonly home: string
  readonly port: number
  readonly seeding: boolean
}

export type Transport = 'udp4' | 'udp6' | 'http4' | 'http6'

export type Client = {
  readonly name: string
  /** Debian package, program; libtorrent's binding is a package of PyPI's instead. */
  readonly debian?: string
  readonly program: string
  /** Transports it cannot use, with the reason. */
  readonly lacks: Partial<Record<Transport, string>>
  /** Transports by which it announces, but learns of nobody. */
  readonly deaf?: Partial<Record<Transport, string>>
  /** Ignores trackers on 127.0.0.0/8, so it needs a host. */
  readonly needsHost: boolean
  command(task: Task): readonly string[]
}

const aria2: Client = {
  name: 'aria2',
  debian: 'aria2',
  program: 'aria2c',
  lacks: { udp6: 'its UDP tracker client was never seen to use IPv6' },
  needsHost: false,
  // Its UDP tracker client only exists beside its DHT; with no entry point and a private torrent that stays
  // mute.
  command: ({ torrent, content, home, port, seeding }) => [
    'aria2c',
    ...['--no-conf', '--enable-dht=true', '--enable-dht6=false', '--bt-enable-lpd=false'],
    ...[`--dht-listen-port=${port}`, `--dht-file-path=${home}-dht`],
    ...['--enable-peer-exchange=false', '--disable-ipv6=false', '--console-log-level=notice'],
    ...['--show-console-readout=false', '--summary-interval=0', '--file-allocation=none'],
    ...[`--listen-port=${port}`, `--dir=${content}`, '--bt-tracker-connect-timeout=5'],
    ...(seeding ? ['--seed-ratio=0.0', '--check-integrity=true'] : ['--seed-time=0']),
    torrent,
  ],
}

/**
 * It ends by itself, with 0, when it happens to look between verifying and starting (seen on a busy machine);
 * then it is started again, unless it was told to end.
 */
export const transmissionCommand = (...args: readonly string[]): string[] => {
  const again = 'trap "ended=1" TERM; while [ -z "$ended" ]; do transmission-cli "$@" || exit; done'
  return ['sh', '-c', again, 'sh', ...args]
}

const transmission: Client = {
  name: 'transmission',
  debian: 'transmission-cli',
  program: 'transmission-cli',
  // By IPv6 and UDP only to a name that has no IPv4 address, from an address of 2000::/3.
  lacks: {},
  deaf: { udp6: 'version 3.00 takes no IPv6 peers from a UDP answer (findings/)' },
  needsHost: true,
  command: ({ torrent, content, home, port }) => {
    mkdirSync(home, { recursive: true })
    const settings = {
      'dht-enabled': false,
      'pex-enabled': false,
      'lpd-enabled': false,
      'utp-enabled': false,
      'peer-port': port,
      'port-forwarding-enabled': false,
      'rpc-enabled': false,
    }
    writeFileSync(join(home, 'settings.json'), JSON.stringify(settings))
    // What lies there is verified without being told to.
    return transmissionCommand('-g', home, '-w', content, '-p', String(port), '-M', torrent)
  },
}

const qbittorrent: Client = {
  name: 'qbittorrent',
  debian: 'qbittorrent-nox',
  program: 'qbittorrent-nox',
  lacks: {},
  needsHost: false,
  command: ({ torrent, content, home, port }) => {
    const folder = join(home, 'qBittorrent', 'config')
    mkdirSync(folder, { recursive: true })
    const lines = [
      '[LegalNotice]',
      'Accepted=true',
      '[BitTorrent]',
      'Session\\DHTEnabled=false',
      'Session\\PeXEnabled=false',
      'Session\\LSDEnabled=false',
      `Session\\Port=${port}`,
      `Session\\DefaultSavePath=${content}`,
      'Session\\TempPathEnabled=false',
      '[Preferences]',
      'WebUI\\Address=127.0.0.1',
      'WebUI\\UseUPnP=false',
    ]
    writeFileSync(join(folder, 'qBittorrent.conf'), `${lines.join('\n')}\n`)
    const where = [`--profile=${home}`, `--save-path=${content}`, `--webui-port=${port + 1000}`]
    return ['qbittorrent-nox', ...where, torrent]
  },
}

const rtorrent: Client = {
  name: 'rtorrent',
  debian: 'rtorrent',
  program: 'rtorrent',
  lacks: {},
  deaf: { udp6: 'version 0.9.8 was never seen to take IPv6 peers from a UDP answer' },
  needsHost: false,
  command: ({ torrent, content, home, port, seeding }) => {
    mkdirSync(home, { recursive: true })
    const lines = [
      `session.path.set = ${home}`,
      `directory.default.set = ${content}`,
      `network.port_range.set = ${port}-${port}`,
      'dht.mode.set = disable',
      'protocol.pex.set = no',
      'protocol.encryption.set = allow_incoming,try_outgoing,enable_retry',
      'trackers.use_udp.set = yes',
      'system.daemon.set = true',
      `schedule2 = add, 1, 0, "load.start=${torrent}"`,
      ...(seeding ? ['pieces.hash.on_completion.set = no'] : []),
    ]
    writeFileSync(join(home, 'rtorrent.rc'), `${lines.join('\n')}\n`)
    return ['rtorrent', '-n', '-o', `import=${join(home, 'rtorrent.rc')}`]
  },
}

/** In this folder lies its Python package (clients-install.ts). */
export const LIBTORRENT = 'SKEP_E2E_LIBTORRENT'

const libtorrent: Client = {
  name: 'libtorrent',
  program: 'python3',
  lacks: {},
  needsHost: false,
  command: ({ host, torrent, content, port }) => [
    ...['env', `PYTHONPATH=${process.env[LIBTORRENT] ?? ''}`, 'python3', '-u'],
    ...[join(import.meta.dirname, 'libtorrent-client.py'), content],
    ...[`${host.address4}:${port},[${host.address6}]:${port}`, '-', torrent],
  ],
}

const ALL: readonly Client[] = [aria2, transmission, rtorrent, qbittorrent, libtorrent]

/** The clients that are here, and the others with the reason. */
export function clientsHere(): { here: Client[]; missing: { client: Client; why: string }[] } {
  const why = (client: Client): string | undefined => {
    if (!has(client.program)) return `no ${client.program} here`
    if (client === libtorrent && !process.env[LIBTORRENT]) return 'PyPI did not give it'
    return undefined
  }
  const missing = ALL.flatMap((client) => {
    const reason = why(client)
    return reason === undefined ? [] : [{ client, why: reason }]
  })
  return { here: ALL.filter((client) => why(client) === undefined), missing }
}
