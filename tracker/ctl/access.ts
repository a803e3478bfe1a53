// skep ctl access: the lists of allowed and denied torrents, as they are in force in the cluster.
// Refuses: a list with any line that is no info_hash; nothing is changed then.

import { readFileSync } from 'node:fs'
import { UsageError } from '@skep/cli/command.ts'
import { fileFault } from '@skep/cli/complain.ts'
import { suggestion } from '@skep/cli/nearest.ts'
import { AccessList, AccessOperation } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { counted } from '@skep/wire/words.ts'
import { infoHashes, readInfoHash, readInfoHashes } from '../access/info-hash-list.ts'
import type { Asked, Call } from './asked.ts'
import { toJson } from './table.ts'

export const ACCESS_CALLS: readonly Call[] = [
  {
    name: 'access',
    summary: 'The lists of allowed and denied torrents.',
    words: [
      ['<list>', 'allow or deny'],
      ['<action>', 'list, add, remove, replace or off'],
      ['[info_hash...]', 'hexadecimal, base32 or magnet links; for replace: a file, - is standard input'],
    ],
    options: [['--revision <number>', 'Only if the list has this revision.']],
    run: access,
  },
]

const LISTS: Readonly<Record<string, AccessList>> = { allow: AccessList.ALLOW, deny: AccessList.DENY }
const OPERATIONS: Readonly<Record<string, AccessOperation>> = {
  add: AccessOperation.ADD,
  remove: AccessOperation.REMOVE,
  replace: AccessOperation.REPLACE,
  off: AccessOperation.OFF,
}

async function access(
  { client, json, options, print }: Asked,
  listName: string,
  action: string,
  ...words: string[]
): Promise<undefined> {
  const list = LISTS[listName]
  if (list === undefined)
    throw new UsageError(`access ${listName}: allow or deny${suggestion(listName, Object.keys(LISTS))}`)
  if (action === 'list') {
    const answer = await client.getAccess({ list })
    const hashes = answer.infoHashes.map((hash) => Buffer.from(hash).toString('hex'))
    if (json)
      return print(
        JSON.stringify(
          { list: listName, active: answer.active, revision: answer.revision, infoHashes: hashes },
          null,
          2,
        ),
      ) as undefined
    print(
      `# ${listName} list ${answer.active ? 'in force' : 'off'}, ${counted(hashes.length, 'entry', 'entries')}, revision ${answer.revision}`,
    )
    for (const hash of hashes) print(hash)
    return
  }
  const operation = OPERATIONS[action]
  if (operation === undefined)
    throw new UsageError(
      `access ${listName} ${action}: list, add, remove, replace or off${suggestion(action, ['list', ...Object.keys(OPERATIONS)])}`,
    )
  const hashes =
    action === 'replace' ? hashesOfFile(words) : action === 'off' ? none(words) : hashesOfWords(action, words)
  const revision =
    options.revision === undefined
      ? {}
      : { expectedRevision: wholeNumber('--revision', String(options.revision)) }
  const answer = await client.changeAccess({ list, operation, infoHashes: split(hashes), ...revision })
  if (json) print(toJson('access', answer))
  else
    print(
      `${listName} list ${answer.active ? 'in force' : 'off'}: ${counted(answer.entries, 'entry', 'entries')}, revision ${answer.revision}`,
    )
}

function hashesOfWords(action: string, words: readonly string[]): Uint8Array {
  if (words.length === 0) throw new UsageError(`access ... ${action} needs at least one info_hash`)
  const hex = words.map((word) => {
    const hash = readInfoHash(word)
    if (hash === null)
      throw new UsageError(
        `${word} is not an info_hash: 40 hexadecimal digits, 32 of base32, or a magnet link`,
      )
    return hash
  })
  return infoHashes(hex).bytes
}

function hashesOfFile(words: readonly string[]): Uint8Array {
  const [path, ...more] = words
  if (path === undefined || more.length > 0)
    throw new UsageError('access ... replace needs one file; - is standard input')
  let text: string
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (cause) {
    throw new UsageError(`${path}: ${fileFault(cause)}`, { cause })
  }
  const read = readInfoHashes(text)
  if (!read.ok) throw new UsageError(`${path}: ${read.faults.join('; ')}. Nothing was changed.`)
  return read.hashes.bytes
}

function none(words: readonly string[]): Uint8Array {
  if (words.length > 0) throw new UsageError('access ... off takes nothing more')
  return new Uint8Array(0)
}

const split = (bytes: Uint8Array): Uint8Array<ArrayBuffer>[] =>
  Array.from({ length: bytes.length / 20 }, (_, i) => new Uint8Array(bytes.subarray(i * 20, i * 20 + 20)))

function wholeNumber(what: string, text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new UsageError(`${what} ${text}: a whole number`)
  return Number(text)
}
