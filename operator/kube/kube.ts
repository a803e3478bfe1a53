// The API server over HTTPS: where it is, who we are, requests and streams. The only importer of
// @kubernetes/client-node, of which only the configuration is used (kubeconfig, service account,
// certificates): its generated calls know no server-side apply of plain objects, and its watches have stalled
// in the field. Refuses: retries, and knowing kinds (kinds.ts).

import { readFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { type Agent, request as httpsRequest, type RequestOptions } from 'node:https'
import type { Readable } from 'node:stream'
import { KubeConfig } from '@kubernetes/client-node'
import { ApiError } from '../model/ports.ts'

/** A request without an answer fails after this, milliseconds. */
const REQUEST_MS = 15_000
/** Largest answer taken, bytes: a page of a list. */
const ANSWER_BYTES = 64 * 1024 * 1024
/** Where a service account's namespace is mounted. */
const NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace'

export type Ask = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With its query. */
  readonly path: string
  readonly body?: unknown
  readonly contentType?: string
  readonly timeoutMs?: number
}

export type Kube = {
  readonly server: string
  /** Of the service account, or of the kubeconfig's context. */
  readonly namespace: string
  /** JSON of the answer. Rejects with ApiError. */
  ask(ask: Ask): Promise<unknown>
  /**
   * Lines of an answer that goes on, until it ends or `signal` does. Rejects with ApiError if it does not
   * begin.
   */
  lines(path: string, signal: AbortSignal, onOpen: () => void, onLine: (line: string) => void): Promise<void>
}

/** In a pod its service account, elsewhere $KUBECONFIG or ~/.kube/config. Throws if there is neither. */
export const openKube = (): Kube => {
  const config = new KubeConfig()
  config.loadFromDefault()
  const cluster = config.getCurrentCluster()
  if (cluster === null) throw new Error('no API server: neither a service account nor a kubeconfig is there')
  return {
    server: cluster.server,
    namespace: ownNamespace(config),
    ask: async (ask) => parsed(ask, await answerOf(await send(config, cluster.server, ask, undefined))),
    async lines(path, signal, onOpen, onLine) {
      const ask: Ask = { method: 'GET', path }
      const response = await send(config, cluster.server, ask, signal)
      if (response.statusCode !== 200) parsed(ask, await answerOf(response))
      onOpen()
      await linesOf(response, onLine)
    },
  }
}

/**
 * Resolves when the stream ends, rejects with ApiError (code 0) when it breaks off, however: a watch that
 * waits for a stream which is gone is stuck for ever. Lines have a limit.
 */
export const linesOf = (stream: Readable, onLine: (line: string) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    let rest = ''
    let ended = false
    stream.setEncoding('utf8')
    stream.on('data', (piece: string) => {
      const lines = (rest + piece).split('\n')
      rest = lines.pop()!
      if (rest.length > ANSWER_BYTES)
        stream.destroy(new Error(`a line of more than ${ANSWER_BYTES} characters`))
      for (const line of lines) if (line !== '') onLine(line)
    })
    stream.on('end', () => {
      ended = true
    })
    const broken = (why: string, cause?: Error): void =>
      reject(new ApiError(0, `the stream broke off: ${why}`, cause === undefined ? {} : { cause }))
    stream.on('error', (error) => broken(error.message, error))
    // Always the last event, whatever came before.
    stream.on('close', () => (ended ? resolve() : broken('closed')))
  })

const ownNamespace = (config: KubeConfig): string => {
  try {
    return readFileSync(NAMESPACE_FILE, 'utf8').trim()
  } catch {
    return config.getContextObject(config.getCurrentContext())?.namespace ?? 'default'
  }
}

const send = async (
  config: KubeConfig,
  server: string,
  { method, path, body, contentType = 'application/json', timeoutMs = REQUEST_MS }: Ask,
  signal: AbortSignal | undefined,
): Promise<IncomingMessage> => {
  const url = new URL(path, server)
  const text = body === undefined ? undefined : JSON.stringify(body)
  const options: RequestOptions = {
    method,
    headers: {
      accept: 'application/json',
      ...(text === undefined
        ? {}
        : { 'content-type': contentType, 'content-length': String(Buffer.byteLength(text)) }),
    },
  }
  await config.applyToHTTPSOptions(options)
  keptAlive(options.agent)
  return await new Promise((resolve, reject) => {
    const fail = (cause: Error): void =>
      reject(new ApiError(0, `${method} ${url.pathname}: ${cause.message}`, { cause }))
    const make = url.protocol === 'http:' ? httpRequest : httpsRequest
    const outgoing = make(url, { ...options, ...(signal === undefined ? {} : { signal }) })
    // Also for streams: it is the answer's head that must come in time.
    const timer = setTimeout(() => outgoing.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs)
    outgoing.on('error', (error) => {
      clearTimeout(timer)
      fail(error)
    })
    outgoing.on('socket', (socket) => socket.setKeepAlive(true, 15_000))
    outgoing.on('response', (response) => {
      clearTimeout(timer)
      resolve(response)
    })
    outgoing.end(text)
  })
}

/**
 * The agent is made by the library, once for each cluster; without this each request would shake hands anew.
 */
const keptAlive = (agent: RequestOptions['agent']): void => {
  if (typeof agent !== 'object') return
  const own = agent as Agent & { keepAlive?: boolean }
  own.keepAlive = true
}

type Answer = { readonly code: number; readonly text: string }

const answerOf = async (response: IncomingMessage): Promise<Answer> => {
  const timer = setTimeout(() => response.destroy(new Error('the answer does not end')), REQUEST_MS)
  try {
    const pieces: Buffer[] = []
    let bytes = 0
    for await (const piece of response) {
      bytes += (piece as Buffer).length
      if (bytes > ANSWER_BYTES) throw new Error(`an answer of more than ${ANSWER_BYTES} bytes`)
      pieces.push(piece as Buffer)
    }
    return { code: response.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') }
  } catch (cause) {
    throw new ApiError(0, cause instanceof Error ? cause.message : String(cause), { cause })
  } finally {
    clearTimeout(timer)
  }
}

const parsed = ({ method, path }: Ask, { code, text }: Answer): unknown => {
  if (code >= 200 && code < 300) return text === '' ? {} : JSON.parse(text)
  throw new ApiError(code, `${method} ${path.split('?')[0]}: ${code} ${messageOf(text)}`)
}

/** Of a Status object, or the beginning of whatever a proxy said. */
const messageOf = (text: string): string => {
  try {
    const { message } = JSON.parse(text) as { message?: unknown }
    if (typeof message === 'string') return message
  } catch {
    // No JSON: a gateway's own page.
  }
  return text.slice(0, 200)
}
