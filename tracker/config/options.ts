// The one table of options: --help, completion, SKEP_* variables, the file, --print-config and
// docs/configuration.md are all made from it. Refuses: options that nothing reads, and settings whose every
// user would choose the same.

import { availableParallelism } from 'node:os'
import type { Option } from '@skep/cli/options.ts'
import {
  ADDRESSES,
  bytes,
  choice,
  count,
  FOLDER,
  HOST,
  MEMBERS,
  type MemberPlace,
  milliseconds,
  millisecondsOrNever,
  NAME,
  NETWORKS,
  OPTIONAL_FILE,
  OPTIONAL_PLACE,
  PLACES,
  PORT,
  SWITCH,
  seconds,
} from '@skep/cli/values.ts'

/** What one replica was told, after all sources were laid over each other. */
export type TrackerConfig = {
  readonly name: string
  readonly hosts: readonly string[]
  readonly udpPort: number
  readonly httpPort: number
  readonly healthPort: number
  readonly controlHost: string
  readonly controlPort: number
  readonly replicaPort: number
  readonly replicaHost: string
  readonly replicaAddress: string | null
  readonly initialMembers: readonly MemberPlace[]
  readonly join: readonly string[]
  readonly learner: boolean
  readonly maxVoters: number
  readonly preferHighest: boolean
  readonly keepaliveMs: number
  readonly missed: number
  readonly consistency: 'committed' | 'relaxed'
  readonly allowFaults: boolean
  readonly dataDir: string
  readonly networkKeyFile: string | null
  readonly logStore: 'classic-level' | 'lmdb'
  readonly fsync: 'always' | 'interval'
  readonly lingerMs: number
  readonly snapshotLogBytes: number
  readonly purgeOnStop: boolean
  readonly memoryBytes: number
  readonly peerDetails: boolean
  readonly intervalSeconds: number
  readonly intervalMaxSeconds: number
  readonly targetAnswers: number
  readonly numwantDefault: number
  readonly numwantMax: number
  readonly allowPrivate: 'auto' | 'on' | 'off'
  readonly allowList: string | null
  readonly denyList: string | null
  readonly udpWorkers: number
  readonly udpEngine: 'auto' | 'mmsg' | 'dgram'
  readonly udpAnswerBytes: number
  readonly udpReceiveBufferBytes: number
  readonly udpGatherMicroseconds: number
  readonly idGraceSeconds: number
  readonly parkForMs: number
  readonly raiseLevelAfterMs: number
  readonly intervalMinSeconds: number
  readonly trustedProxies: readonly string[]
  readonly fullScrape: boolean
  readonly maxHttpConnections: number
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'
  readonly logFormat: 'auto' | 'json' | 'pretty'
}

export type ConfigKey = keyof TrackerConfig

/** Headings of the help and the manual, in this order. */
export const GROUPS = {
  addresses: 'Names and addresses',
  replicas: 'Several replicas (one replica that is alone needs none of these)',
  storage: 'Storage',
  cluster: 'The swarm table (fixed or first set at the birth of the cluster)',
  access: 'Allowed and denied torrents',
  udp: 'UDP',
  http: 'HTTP',
  log: 'Log',
} as const

const DAY_MS = 86_400_000
const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

/** Workers when nobody says: one core is left for the replica and the main thread. */
const defaultWorkers = (): number => Math.max(1, Math.min(8, availableParallelism() - 1))

export const OPTIONS: { readonly [K in ConfigKey]: Option<TrackerConfig[K]> } = {
  name: {
    flag: 'name',
    group: 'addresses',
    type: NAME,
    default: 'r0',
    sentence: 'Name of this replica, unique in its cluster.',
  },
  hosts: {
    flag: 'host',
    group: 'addresses',
    type: ADDRESSES,
    default: ['0.0.0.0', '::'],
    sentence: 'Addresses on which peers are answered, by UDP and HTTP.',
  },
  udpPort: {
    flag: 'udp-port',
    group: 'addresses',
    type: PORT,
    default: 6969,
    sentence: 'UDP port of the tracker (BEP 15).',
  },
  httpPort: {
    flag: 'http-port',
    group: 'addresses',
    type: PORT,
    default: 8168,
    sentence: 'TCP port of announces and scrapes by HTTP, of /stats and /metrics.',
  },
  healthPort: {
    flag: 'health-port',
    group: 'addresses',
    type: PORT,
    default: 8167,
    sentence:
      'TCP port of probes alone (/livez, /readyz), answered whatever HTTP has to do; not opened if it is taken and nobody gave it.',
  },
  controlHost: {
    flag: 'control-host',
    group: 'addresses',
    type: HOST,
    default: '127.0.0.1',
    sentence: 'Address of the control API; anything but loopback sends its token in the clear.',
  },
  controlPort: {
    flag: 'control-port',
    group: 'addresses',
    type: PORT,
    default: 8169,
    sentence: 'TCP port of the control API, which skep ctl talks to.',
  },
  initialMembers: {
    flag: 'initial-members',
    group: 'replicas',
    type: MEMBERS,
    default: [],
    sentence:
      'The replicas that form a new cluster, this one included: the same on each. The cluster is born once all are there.',
  },
  join: {
    flag: 'join',
    group: 'replicas',
    type: PLACES,
    default: [],
    sentence: 'Replicas of a running cluster, which this one joins: it learns first, and votes when it can.',
  },
  replicaPort: {
    flag: 'replica-port',
    group: 'replicas',
    type: PORT,
    default: 5560,
    sentence: 'TCP port for the other replicas; not opened without --initial-members or --join.',
  },
  replicaHost: {
    flag: 'replica-host',
    group: 'replicas',
    type: HOST,
    default: '0.0.0.0',
    sentence:
      'Address on which the other replicas are listened for; all they say is encrypted by the network key.',
  },
  replicaAddress: {
    flag: 'replica-address',
    group: 'replicas',
    type: OPTIONAL_PLACE,
    default: null,
    defaultText: 'as --initial-members names it, or else --replica-host and --replica-port',
    sentence: 'Where the other replicas reach this one; names are looked up at each connection.',
  },
  learner: {
    flag: 'learner',
    group: 'replicas',
    type: SWITCH,
    default: false,
    sentence: 'Join as a learner for good: it answers like the others, and never votes.',
  },
  maxVoters: {
    flag: 'max-voters',
    group: 'replicas',
    type: count('voters', 1, 9),
    default: 5,
    sentence: 'Replicas that have joined become voters up to this many, by odd numbers; the others learn.',
  },
  raiseLevelAfterMs: {
    flag: 'raise-level-after',
    group: 'replicas',
    type: millisecondsOrNever(0, 30 * DAY_MS),
    default: 600_000,
    sentence:
      'How long a replica runs before it agrees that the cluster works by the rules of a new version; once all have, ' +
      'an older version cannot come back. never: an upgrade can be taken back as long as one replica says so.',
  },
  preferHighest: {
    flag: 'prefer-highest',
    group: 'replicas',
    type: SWITCH,
    default: true,
    sentence: 'Leadership goes to the highest name that has caught up; off leaves it where it is.',
  },
  keepaliveMs: {
    flag: 'keepalive',
    group: 'replicas',
    type: milliseconds(50, 60_000),
    default: 1000,
    sentence: 'Time between signs of life of the leader; the same on each replica.',
  },
  missed: {
    flag: 'missed',
    group: 'replicas',
    type: count('keepalives', 2, 100),
    default: 2,
    sentence: 'Keepalives without which a leader is taken for dead and another one is elected.',
  },
  consistency: {
    flag: 'consistency',
    group: 'replicas',
    type: choice('committed', 'relaxed'),
    default: 'committed',
    sentence:
      'When a change is answered: once a majority has it on disk, or before (what was answered may then be lost).',
  },
  allowFaults: {
    flag: 'allow-faults',
    group: 'replicas',
    type: SWITCH,
    default: false,
    sentence: 'Let skep ctl fault cut, delay or thin out what this replica says to others: for trials only.',
  },
  dataDir: {
    flag: 'data-dir',
    group: 'storage',
    type: FOLDER,
    default: './skep-data',
    sentence: 'Folder of the log and the snapshots; made if it is not there. One process at a time.',
  },
  networkKeyFile: {
    flag: 'network-key-file',
    group: 'storage',
    type: OPTIONAL_FILE,
    default: null,
    defaultText: 'network.key in the data folder, made with mode 0600',
    sentence:
      'File of the secret that all replicas share, from which the token of the control API is derived; ' +
      'to be given with --initial-members and --join.',
  },
  logStore: {
    flag: 'log-store',
    group: 'storage',
    type: choice('classic-level', 'lmdb'),
    default: 'classic-level',
    sentence: 'Embedded store of the log.',
  },
  fsync: {
    flag: 'fsync',
    group: 'storage',
    type: choice('always', 'interval'),
    default: 'always',
    sentence:
      'When the log reaches the disk: before each answer, or a few times a second (a crash may lose some).',
  },
  lingerMs: {
    flag: 'linger',
    group: 'storage',
    type: milliseconds(0, 1000),
    default: 2,
    sentence:
      'How long changes gather at least before they are written together; up to four times as long where writing takes long.',
  },
  snapshotLogBytes: {
    flag: 'snapshot-log-size',
    group: 'storage',
    type: bytes(MIB, 64 * GIB),
    default: 64 * MIB,
    sentence: 'Size of the log at which a snapshot is taken and the log cut.',
  },
  purgeOnStop: {
    flag: 'purge-on-stop',
    group: 'storage',
    type: SWITCH,
    default: false,
    sentence: 'At a clean stop leave the cluster, then delete the log and the snapshots.',
  },
  memoryBytes: {
    flag: 'memory',
    group: 'cluster',
    type: bytes(16 * MIB, 1024 * GIB),
    default: 512 * MIB,
    sentence: 'Room of the swarm table, fixed at birth; pages that are not needed are not used.',
  },
  peerDetails: {
    flag: 'peer-details',
    group: 'cluster',
    type: SWITCH,
    default: true,
    sentence: 'Keep peer_id and bytes of each peer, fixed at birth; off takes about a third of the memory.',
  },
  intervalSeconds: {
    flag: 'interval',
    group: 'cluster',
    type: seconds(10, 86_400),
    default: 1800,
    sentence: 'Time between the announces of a peer while the load allows.',
  },
  intervalMaxSeconds: {
    flag: 'interval-max',
    group: 'cluster',
    type: seconds(10, 86_400),
    default: 3600,
    sentence: 'Largest interval handed out under load; a silent peer is forgotten after twice this.',
  },
  targetAnswers: {
    flag: 'target-answers',
    group: 'cluster',
    type: count('answers/s', 1, 100_000_000),
    default: 100_000,
    sentence: 'Answers a second above which this replica begins to lengthen the interval.',
  },
  numwantDefault: {
    flag: 'numwant-default',
    group: 'cluster',
    type: count('peers', 0, 1000),
    default: 50,
    sentence: 'Peers given to a client that does not say how many it wants.',
  },
  numwantMax: {
    flag: 'numwant-max',
    group: 'cluster',
    type: count('peers', 1, 1000),
    default: 200,
    sentence: 'Most peers in one answer.',
  },
  allowPrivate: {
    flag: 'allow-private',
    group: 'cluster',
    type: { ...choice('auto', 'on', 'off'), bare: true },
    default: 'auto',
    sentence:
      'Peers with private addresses: shown to private askers only, treated like any other, or refused.',
  },
  allowList: {
    flag: 'allow-list',
    group: 'access',
    type: OPTIONAL_FILE,
    default: null,
    sentence: 'Watched file of info_hashes: only these torrents are tracked.',
  },
  denyList: {
    flag: 'deny-list',
    group: 'access',
    type: OPTIONAL_FILE,
    default: null,
    sentence: 'Watched file of info_hashes: these torrents are refused, and their peers forgotten.',
  },
  udpWorkers: {
    flag: 'udp-workers',
    group: 'udp',
    type: count('threads', 1, 64),
    default: defaultWorkers(),
    defaultText: 'one less than there are cores, at least 1, at most 8',
    sentence: 'Threads that answer UDP.',
  },
  udpEngine: {
    flag: 'udp-engine',
    group: 'udp',
    type: choice('auto', 'mmsg', 'dgram'),
    default: 'auto',
    sentence: "How sockets are driven: batches through Linux's recvmmsg, or Node's own datagrams.",
  },
  udpAnswerBytes: {
    flag: 'udp-answer-bytes',
    group: 'udp',
    type: bytes(512, 1472),
    default: 1200,
    sentence: 'Largest UDP answer; more peers fit in larger ones, where no path cuts them.',
  },
  udpReceiveBufferBytes: {
    flag: 'udp-receive-buffer',
    group: 'udp',
    type: bytes(64 * KIB, GIB),
    default: 16 * MIB,
    sentence: 'Receive buffer asked for each UDP socket; Linux grants at most net.core.rmem_max.',
  },
  udpGatherMicroseconds: {
    flag: 'udp-gather',
    group: 'udp',
    type: count('microseconds', 0, 5000),
    default: 200,
    sentence:
      'How long a steady stream of requests is gathered for one wake-up while a core has time; 0: never.',
  },
  idGraceSeconds: {
    flag: 'id-grace',
    group: 'udp',
    type: seconds(0, 3600),
    default: 120,
    sentence: 'How much longer than BEP 15 asks a connection ID is taken, in steps of 2m.',
  },
  parkForMs: {
    flag: 'park-for',
    group: 'udp',
    type: milliseconds(100, 60_000),
    default: 3500,
    sentence:
      'How long a request waits for its change, or for a leader; by default keepalive times missed, and 1.5s.',
  },
  intervalMinSeconds: {
    flag: 'interval-min',
    group: 'http',
    type: seconds(0, 86_400),
    default: 0,
    defaultText: '0s: it is left out, as it is by UDP',
    sentence:
      'The "min interval" of HTTP answers, at most the interval; 0 leaves it out. aria2 takes it for its period, as a seeder too: 1m would have it announce thirty times too often.',
  },
  trustedProxies: {
    flag: 'trusted-proxies',
    group: 'http',
    type: NETWORKS,
    default: [],
    sentence:
      'Networks whose X-Forwarded-For header is believed; its rightmost untrusted address is the peer.',
  },
  fullScrape: {
    flag: 'full-scrape',
    group: 'http',
    type: SWITCH,
    default: false,
    sentence: 'Answer a scrape without info_hash with all torrents.',
  },
  maxHttpConnections: {
    flag: 'max-http-connections',
    group: 'http',
    type: count('connections', 1, 1_000_000),
    default: 10_000,
    sentence:
      'Most open HTTP connections: then connects are refused until some have ended. One address may have a quarter of them.',
  },
  logLevel: {
    flag: 'log-level',
    group: 'log',
    type: choice('trace', 'debug', 'info', 'warn', 'error', 'fatal'),
    default: 'info',
    sentence: 'Least serious line that is logged; requests never are.',
  },
  logFormat: {
    flag: 'log-format',
    group: 'log',
    type: choice('auto', 'json', 'pretty'),
    default: 'auto',
    sentence: 'JSON lines or lines for people; auto is pretty on a terminal.',
  },
}
