// skep ctl snapshot: takes one, saves the table as a file, checks such a file, begins a new cluster from one.
// Refuses: to restore over anything, beside a running replica, or from a file that is not whole.

import { randomBytes } from 'node:crypto'
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '@skep/cli/command.ts'
import { fileFault } from '@skep/cli/complain.ts'
import { FAILURE, IO } from '@skep/cli/exit-codes.ts'
import { suggestion } from '@skep/cli/nearest.ts'
import type { SaveSnapshotResponse } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { counted } from '@skep/wire/words.ts'
import { replicaAddressOf } from '../config/faults.ts'
import type { TrackerConfig } from '../config/options.ts'
import { openLog } from '../replica/log/store.ts'
import { memberIdOf } from '../replica/membership/birth.ts'
import {
  checkExport,
  ExportDamaged,
  type ExportHeader,
  readFilePieces,
  restoreExport,
  rewritten,
  saveExport,
} from '../replica/transfer/export.ts'
import type { Birth } from '../swarm/entry.ts'
import { PAGE } from '../swarm/layout.ts'
import { LEVEL } from '../swarm/level.ts'
import { anonymous, relaid, renewed } from '../swarm/snapshot-keys.ts'
import { type Asked, type Call, KEYS } from './asked.ts'
import { diskOf } from './recover.ts'
import { size, toJson } from './table.ts'

export const SNAPSHOT_CALLS: readonly Call[] = [
  {
    name: 'snapshot',
    summary: 'Take a snapshot, save it as a file, begin a cluster from one.',
    words: [
      ['[action]', 'take: now, and cut the log; save, check or restore a file', 'take'],
      ['[file]', 'restore: into an empty --data-dir, of a replica that does not run'],
    ],
    keys: [...KEYS, 'logStore', 'name', 'replicaAddress'],
    offline: ([action]) => action === 'check' || action === 'restore',
    run: snapshot,
  },
]

const ACTIONS = ['take', 'save', 'check', 'restore']

/** `take` is asked of the replica; the others need a file. */
async function snapshot(asked: Asked, action = 'take', file?: string): Promise<number | undefined> {
  if (!ACTIONS.includes(action))
    throw new UsageError(`snapshot ${action}: take, save, check or restore${suggestion(action, ACTIONS)}`)
  if (action === 'take' && file !== undefined)
    throw new UsageError('snapshot take writes to the data folder and takes no file: snapshot save FILE')
  if (action === 'take') return await take(asked)
  if (file === undefined) throw new UsageError(`snapshot ${action} needs a file`)
  if (action === 'save') return await save(asked, file)
  return action === 'check' ? await check(asked, file) : await restore(asked, file)
}

async function take({ client, json, print }: Asked): Promise<undefined> {
  const answer = await client.snapshot({})
  print(
    json
      ? toJson('snapshot', answer)
      : `snapshot at index ${answer.snapshotIndex} is on disk, and the log is cut`,
  )
}

async function save({ client, json, print, note }: Asked, file: string): Promise<number | undefined> {
  const bytes = await saveExport(file, anonymousFile(piecesOf(client.saveSnapshot({})))).catch(
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error
      note(`${file}: ${saveFault(error as NodeJS.ErrnoException)}`)
      return null
    },
  )
  if (bytes === null) return IO
  const header = await checkExport(readFilePieces(file))
  print(json ? JSON.stringify({ file, ...header, bytes }, null, 2) : `${file}: ${describe(header, bytes)}`)
  return
}

function saveFault({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'its folder is not there: make it first, or name another one'
  return code === 'EACCES' ? 'this user may not write there: name another folder' : message
}

/** Laid anew: in which order a table lies would say something of the secret by which it is laid. */
function anonymousFile(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const hashSeed = randomBytes(4).readInt32LE()
  return rewritten(
    pieces,
    (birth) => ({ ...(birth as Birth), hashSeed, level: 1 }),
    (chunks) => anonymous(chunks, hashSeed),
  )
}

async function* piecesOf(messages: AsyncIterable<SaveSnapshotResponse>): AsyncGenerator<Uint8Array> {
  for await (const { piece } of messages) yield piece
}

/**
 * `412.0 MiB, the table of cluster 01ab... as of entry 1234, made for 1,000,000 torrents and 5,000,000 IPv4
 * peers`.
 */
function describe({ clusterId, index, birth }: ExportHeader, fileBytes: number): string {
  const { limits } = birth as Birth
  const room = `${counted(limits.torrents, 'torrent')} and ${counted(limits.pages4 * PAGE, 'IPv4 peer')}`
  return `${size(BigInt(fileBytes))}, whole: the table of cluster ${clusterId} as of entry ${index}, with room for ${room}`
}

async function check({ json, print, note }: Asked, file: string): Promise<number | undefined> {
  const header = await readable(file, note)
  if (typeof header === 'number') return header
  print(
    json ? JSON.stringify({ file, ...header }, null, 2) : `${file}: ${describe(header, statSync(file).size)}`,
  )
  return
}

/** The header of a file that is whole; else it is said why not, with an exit code. */
async function readable(file: string, note: (text: string) => void): Promise<ExportHeader | number> {
  try {
    return await checkExport(readFilePieces(file))
  } catch (error) {
    note(`${file}: ${fileFault(error)}`)
    return error instanceof ExportDamaged ? FAILURE : IO
  }
}

/** Begins a new cluster of one in `--data-dir`, under new IDs and with new keys. */
async function restore({ configured, json, print, note }: Asked, file: string): Promise<number | undefined> {
  const header = await readable(file, note)
  if (typeof header === 'number') return header
  const { config } = configured
  try {
    const done = await restoreHere(config, file)
    if (json) print(JSON.stringify(done, null, 2))
    else {
      print(`${config.dataDir} holds a new cluster ${done.clusterId} with the table of ${file}.`)
      print(
        `Start its first replica with --name ${done.name} and the same --data-dir; others join it, empty.`,
      )
    }
    return
  } catch (error) {
    note(`${config.dataDir}: ${error instanceof Error ? error.message : String(error)}`)
    return (error as NodeJS.ErrnoException).code === undefined ? FAILURE : IO
  }
}

/** Rejects with a sentence where the folder is not free. */
async function restoreHere(
  config: TrackerConfig,
  file: string,
): Promise<{ clusterId: string; memberId: number; name: string }> {
  const { dataDir, logStore, name } = config
  mkdirSync(dataDir, { recursive: true })
  const log = await openLog(await diskOf(join(dataDir, 'replica'), logStore), { group: 0, loose: false })
  try {
    const clusterId = randomBytes(16).toString('hex')
    const words = new Int32Array(new Uint8Array(randomBytes(36)).buffer)
    const idKey = [words[0]!, words[1]!] as const
    const memberId = memberIdOf(words[2]!, words[3]!)
    const hashSeed = words[4]!
    const hashKey = [words[5]!, words[6]!, words[7]!, words[8]!] as const
    await restoreExport({
      log,
      name,
      address: replicaAddressOf(config) ?? '',
      clusterId,
      memberId,
      pieces: () => readFilePieces(file),
      level: LEVEL,
      birth: (birth) => ({ ...(birth as Birth), clusterId, idKey, hashSeed, hashKey, level: LEVEL }),
      renew: (chunks) =>
        renewed(relaid(chunks, { level: LEVEL, seed: hashSeed, key: hashKey }), clusterId, idKey),
    })
    return { clusterId, memberId, name }
  } finally {
    await log.close()
  }
}
