// One call of skep ctl: what it is called and takes, as data; what it is done with; and what goes wrong with
// it, as a sentence with cause and fix. Refuses: to know any call; each file of this folder exports its own.

import { Code, ConnectError } from '@connectrpc/connect'
import type { Command } from '@skep/cli/command.ts'
import { complain } from '@skep/cli/complain.ts'
import { FAILURE, TEMPORARY, UNAVAILABLE } from '@skep/cli/exit-codes.ts'
import type { ConfigKey } from '../config/options.ts'
import { type Configured, configOf } from '../config/table.ts'
import { controlToken, NetworkKeyError, networkKeyPath, readNetworkKeys } from '../keys/network-key.ts'
import { type ClusterClient, clusterClient } from './client.ts'

/** Options that every call of a running replica has. */
export const KEYS = ['controlHost', 'controlPort', 'dataDir', 'networkKeyFile'] as const

/** What a call is done with. */
export type Asked = {
  readonly client: ClusterClient
  readonly configured: Configured
  readonly json: boolean
  readonly options: Readonly<Record<string, unknown>>
  readonly print: (text: string) => void
  /** For people, beside what is printed for pasting. */
  readonly note: (text: string) => void
}

/** `skep ctl NAME`: words as commander spells them. */
export type Call = {
  readonly name: string
  readonly summary: string
  readonly words?: readonly (readonly [syntax: string, text: string, unsaid?: string])[]
  readonly options?: readonly (readonly [flags: string, text: string])[]
  /** Options of the tracker that it reads; unsaid: `KEYS`. */
  readonly keys?: readonly ConfigKey[]
  /** It works, or looks, where there is no network key either. */
  readonly offline?: (words: readonly string[]) => boolean
  /** The exit code; undefined: OK. */
  run(asked: Asked, ...words: string[]): Promise<number | undefined>
}

/** Where a call reads its variables and writes; a test has its own. */
export type CtlEnds = {
  readonly environment: NodeJS.ProcessEnv
  readonly out: (text: string) => void
  readonly err: (text: string) => void
}

/** Runs one call and turns what goes wrong into a sentence with cause and fix. */
export async function ask(
  call: Call,
  command: Command,
  words: string[],
  ends: CtlEnds,
): Promise<number | undefined> {
  const configured = configOf(command, ends.environment)
  const { config } = configured
  const options = command.opts()
  const url = `http://${config.controlHost.includes(':') ? `[${config.controlHost}]` : config.controlHost}:${config.controlPort}`
  const keyPath = networkKeyPath(config.dataDir, config.networkKeyFile)
  const print = (text: string): void => ends.out(text.endsWith('\n') ? text : `${text}\n`)
  const note = (text: string): void => complain(text, ends.err)
  try {
    const tokens = await tokensOf(keyPath, call.offline?.(words) === true)
    const client = clusterClient(url, tokens)
    return await call.run({ client, configured, json: options.json === true, options, print, note }, ...words)
  } catch (error) {
    return explain(error, url, keyPath, ends)
  }
}

async function tokensOf(path: string, orNone: boolean): Promise<readonly string[]> {
  try {
    return (await readNetworkKeys(path)).keys.map(controlToken)
  } catch (error) {
    if (orNone) return []
    throw error
  }
}

function explain(error: unknown, url: string, keyPath: string, ends: CtlEnds): number {
  const say = (text: string): void => complain(text, ends.err)
  if (error instanceof NetworkKeyError) {
    say(`${error.message}. Name the replica's folder by --data-dir, or its key by --network-key-file.`)
    return FAILURE
  }
  if (!(error instanceof ConnectError)) throw error
  const refused = /ECONNREFUSED|ENOTFOUND|ECONNRESET|EHOSTUNREACH|ETIMEDOUT|socket hang up/.exec(
    String(error.cause ?? error.message),
  )
  if (refused !== null) {
    say(
      `nothing answers at ${url} (${refused[0]}). Is the replica running? --control-host and --control-port say where.`,
    )
    return UNAVAILABLE
  }
  if (error.code === Code.Unauthenticated) {
    say(
      `${url} does not take the token made from ${keyPath}: it belongs to another cluster. Name the right key by --data-dir or --network-key-file.`,
    )
    return FAILURE
  }
  const where = error.rawMessage.endsWith('its own control API') ? ' (--control-host, --control-port)' : ''
  say(`${error.rawMessage}${where}`)
  return error.code === Code.DeadlineExceeded || error.code === Code.Unavailable ? TEMPORARY : FAILURE
}
