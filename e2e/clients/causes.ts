// Trackers of ours that fail in one way each, and what ends that: a leader that stands still, a disk or a
// table that is full, connections that are all taken, a list, a setting, a proxy that says nothing. Refuses:
// to know clients.

import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { EVENT_STARTED, EVENT_STOPPED } from '@skep/wire/udp-tracker.ts'
import { serving } from '../cluster-life.ts'
import { type Replica, Replicas } from '../cluster-replicas.ts'
import { type Host, HUB_4 } from '../network.ts'
import { until } from '../processes.ts'
import { openUdpClient, type UdpClient } from '../udp-client.ts'
import { type Heard, knock } from './knock.ts'

const READY_MS = 120_000
const UDP_PORT = 6969
const HTTP_PORT = 8168
/** Connections that are open at most, and all held; one address may have so many. */
const CONNECTIONS = 16
/** A held connection asks so often, and so is never one that is silent. */
const HOLD_MS = 1000
/** Peers of the hub that fill a table of 16 MiB: asked at once, and in all at most. */
const ABREAST = 500
const PEERS_MOST = 400_000
/** As many leave at the end. */
const LEAVE = 2000
const ANSWER_MS = 5000

type Tools = {
  readonly replicas: Replicas
  /** Whom the clients know. */
  at(): Replica
  readonly folder: string
  /** Info_hashes of the clients' torrents, in hex. */
  readonly hashes: readonly string[]
}
type Trouble = {
  readonly hosts: number
  /** Options that make it fail, or let it. */
  options?(tools: { folder: string; hashes: readonly string[] }): readonly string[]
  begin(tools: Tools): Promise<void>
  end(tools: Tools): Promise<void>
}

const denyList = (folder: string): string => join(folder, 'denied')
const held: Socket[] = []
const filled = new Map<Replicas, { client: UdpClient; numbers: number }>()

const TROUBLES: Record<string, Trouble> = {
  'no leader': {
    hosts: 3,
    async begin({ replicas, at }) {
      for (const replica of replicas.all)
        if (replica !== at()) {
          replica.trouble = 'paused'
          replica.program.kill('SIGSTOP')
        }
      await hears(at(), 'busy')
    },
    async end({ replicas, at }) {
      for (const replica of replicas.all) {
        replica.program.kill('SIGCONT')
        replica.trouble = undefined
      }
      await hears(at(), 'stored')
    },
  },
  'full disk': {
    hosts: 1,
    async begin({ replicas, at }) {
      replicas.fill(at(), true)
      await hears(at(), 'busy')
    },
    async end({ replicas, at }) {
      replicas.fill(at(), false)
      await hears(at(), 'stored')
    },
  },
  'full table': {
    hosts: 1,
    options: () => ['--memory', '16MiB'],
    begin: async ({ replicas, at }) => void filled.set(replicas, await fillTable(at().seat.address)),
    async end({ replicas }) {
      const { client, numbers } = filled.get(replicas)!
      for (let i = numbers - LEAVE; i < numbers; i++) await announce(client, i, EVENT_STOPPED)
      client.close()
    },
  },
  'too many connections': {
    hosts: 1,
    options: () => ['--max-http-connections', String(CONNECTIONS)],
    async begin({ at }) {
      for (let i = 0; i < CONNECTIONS; i++) held.push(hold(at().seat.address))
      await hears(at(), 'nothing')
    },
    async end({ at }) {
      for (const socket of held.splice(0)) socket.destroy()
      await hears(at(), 'stored')
    },
  },
  'denied torrent': {
    hosts: 1,
    options({ folder, hashes }) {
      writeFileSync(denyList(folder), `${hashes.join('\n')}\n`)
      return ['--deny-list', denyList(folder)]
    },
    begin: async ({ at, hashes }) => hears(at(), 'refused', hashes[0]),
    async end({ at, folder, hashes }) {
      writeFileSync(denyList(folder), '# nobody\n')
      await until('the torrents are allowed', READY_MS, async () =>
        (await looks(at(), hashes[0]!)) ? true : undefined,
      )
    },
  },
  'refused address': {
    hosts: 1,
    options: () => ['--allow-private', 'off'],
    begin: ({ at }) => hears(at(), 'refused'),
    async end({ replicas, at }) {
      await replicas.control(at(), 'ChangeSettings', { allowPrivate: 'ALLOW_PRIVATE_ON' })
      await hears(at(), 'stored')
    },
  },
  'mute proxy': {
    hosts: 1,
    options: () => ['--trusted-proxies', '10.87.0.0/24'],
    begin: ({ at }) => hears(at(), 'refused'),
    async end({ replicas, at }) {
      await replicas.kill(at())
      replicas.more = []
      replicas.restart(at())
      await until('it serves again', READY_MS, async () => (await serving(replicas)) || undefined)
      await hears(at(), 'stored')
    },
  },
}

export const hostsFor = (failure: string): number => TROUBLES[failure]!.hosts

/** A tracker that is well so far. */
export class Cause {
  private readonly trouble: Trouble
  private readonly tools: Tools
  private readonly replicas: Replicas

  constructor(failure: string, hosts: readonly Host[], folder: string, hashes: readonly string[]) {
    mkdirSync(folder, { recursive: true })
    this.trouble = TROUBLES[failure]!
    this.replicas = new Replicas(folder, hosts, false, this.trouble.options?.({ folder, hashes }) ?? [])
    this.tools = { replicas: this.replicas, at: () => this.replicas.all[0]!, folder, hashes }
    this.replicas.begin(hosts.length)
  }

  /** Its address, once it fails. */
  async begin(): Promise<string> {
    const { replicas } = this
    await until('it serves', READY_MS, async () => (await serving(replicas)) || undefined)
    await this.trouble.begin(this.tools)
    return this.tools.at().seat.address
  }

  end(): Promise<void> {
    return this.trouble.end(this.tools)
  }

  stop(): Promise<void> {
    return this.replicas.end()
  }
}

/** Waits until a stranger gets what is expected. */
async function hears({ seat }: Replica, expected: Heard, hash?: string): Promise<void> {
  const bytes = hash?.replace(/../g, '%$&')
  let last: Heard | undefined
  await until(`the tracker at ${seat.address} answers "${expected}"`, READY_MS, async () => {
    last = await knock(seat.address, bytes)
    return last === expected ? true : undefined
  }).catch((error: Error) => {
    throw new Error(`${error.message}, but "${last}"`)
  })
}

/** Whether somebody who cannot be a peer (port 0) is answered; nothing is stored. */
async function looks({ seat }: Replica, hash: string): Promise<boolean> {
  const query = `info_hash=${hash.replace(/../g, '%$&')}&peer_id=-XX0000-000000000000&port=0&left=1`
  const answer = await fetch(`http://${seat.address}:${HTTP_PORT}/announce?${query}`)
  return answer.ok && !(await answer.text()).includes('failure reason')
}

/** A connection that goes on asking, so that nobody ends it. */
function hold(address: string): Socket {
  const socket = connect(HTTP_PORT, address)
  const ask = (): void => void socket.write(`GET /livez HTTP/1.1\r\nHost: ${address}\r\n\r\n`)
  const timer = setInterval(ask, HOLD_MS)
  socket.on('connect', ask).on('error', () => {})
  socket.on('close', () => clearInterval(timer)).resume()
  return socket
}

const announce = (client: UdpClient, number: number, event: number) =>
  client.ask((connectionId, transactionId) => {
    const infoHash = new Uint8Array(20)
    new DataView(infoHash.buffer).setUint32(16, number)
    return {
      kind: 'announce',
      connectionId,
      transactionId,
      infoHash,
      peerId: new Uint8Array(20).fill(88),
      downloaded: 0n,
      left: 1n,
      uploaded: 0n,
      event,
      ip: 0,
      key: 1,
      numWant: 1,
      port: 7777,
      urlData: new Uint8Array(),
    }
  }, ANSWER_MS)

/** New torrents until one is answered and not counted. */
async function fillTable(address: string): Promise<{ client: UdpClient; numbers: number }> {
  const client = await openUdpClient(HUB_4, address, UDP_PORT)
  for (let numbers = 0; numbers < PEERS_MOST; ) {
    const answers = await Promise.all(
      Array.from({ length: ABREAST }, (_, i) => announce(client, numbers + i, EVENT_STARTED)),
    )
    const full = answers.some((answer) => answer?.kind === 'announce' && answer.leechers === 0)
    if (full) return { client, numbers }
    numbers += ABREAST
  }
  throw new Error(`${PEERS_MOST} torrents did not fill a table of 16 MiB`)
}
