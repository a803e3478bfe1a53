// Opens and takes connections: TLS with the network key, or plain where somebody measures what TLS costs.
// Refuses: to cache names. A member that moved is found at its new address with the next dial.

import { connect, createServer, type LookupFunction, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from 'node:tls'
import { cameByKey, clientTls, isWrongKey, type Psk, provedKey, serverTls } from './psk.ts'
import { Strangers } from './strangers.ts'
import type { Address } from './transport.ts'

/** How long a stranger may take to prove the key and to say who it is, milliseconds. */
export const GREETING_MS = 5000
/**
 * Connections at once that others opened with the key: three a member, questions, and room for old ones not
 * yet closed.
 */
const MAX_ACCEPTED = 512
/** Before they have proved the key, and as many again from addresses of members. */
const STRANGERS = { most: 128, mostOfNetwork: 64, forMs: GREETING_MS }

export type Security = (() => readonly Psk[]) | 'plain'

export type DialFailure = { readonly wrongKey: boolean; readonly sentence: string }

export type DialOptions = {
  readonly address: Address
  readonly security: Security
  /** Which of the keys to prove. */
  readonly key: number
  readonly lookup?: LookupFunction | undefined
}

/**
 * One attempt. `opened` gets a connection that has proved the key; `failed` is called instead, once. The
 * caller limits the time, and destroys the socket to give up.
 */
export const dial = (
  o: DialOptions,
  opened: (socket: Socket) => void,
  failed: (failure: DialFailure) => void,
): Socket => {
  const { address, security, lookup } = o
  const to = { host: address.host, port: address.port, ...(lookup === undefined ? {} : { lookup }) }
  let settled = false
  const once = (act: () => void): void => {
    if (settled) return
    settled = true
    act()
  }
  const fail = (failure: DialFailure): void => once(() => failed(failure))
  const socket = security === 'plain' ? connect(to) : tlsConnect({ ...to, ...clientTls(security()[o.key]!) })
  socket.once(security === 'plain' ? 'connect' : 'secureConnect', () => {
    if (security === 'plain' || provedKey(socket as TLSSocket)) return once(() => opened(socket))
    socket.destroy()
    fail({ wrongKey: true, sentence: 'the other side did not prove the network key' })
  })
  socket.on('error', (error) => fail({ wrongKey: isWrongKey(error), sentence: sentenceOf(error, address) }))
  socket.on('close', () => fail({ wrongKey: false, sentence: 'closed before it was greeted' }))
  return socket
}

/**
 * A server whose connections have proved the key when they are told. `isKnown`: is this network one of
 * members? Strangers elsewhere cannot take its places.
 */
export const accept = (
  security: Security,
  isKnown: (network: string) => boolean,
  opened: (socket: Socket) => void,
  refused: (from: string, failure: DialFailure) => void,
): Server => {
  const server =
    security === 'plain'
      ? createServer({ noDelay: true }, opened)
      : tlsServer(security, isKnown, opened, refused)
  server.maxConnections = MAX_ACCEPTED + 2 * STRANGERS.most
  server.on('drop', (d) =>
    refused(d?.remoteAddress ?? 'somebody', { wrongKey: false, sentence: 'too many connections' }),
  )
  return server
}

const tlsServer = (
  security: () => readonly Psk[],
  isKnown: (network: string) => boolean,
  opened: (socket: Socket) => void,
  refused: (from: string, failure: DialFailure) => void,
): Server => {
  const fault = (socket: Socket, sentence: string, wrongKey = false): void =>
    refused(socket.remoteAddress ?? 'somebody', { wrongKey, sentence })
  // TLS wraps the connection that came: both ends of it are found under where it comes from.
  const waiting = new Map<string, Socket>()
  const nameOf = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`
  const strangers = new Strangers<string>(
    STRANGERS,
    (name, why) => {
      const socket = waiting.get(name)
      if (socket === undefined) return
      fault(socket, why === 'late' ? 'no TLS handshake in time' : 'gave way to newer connections')
      socket.destroy()
    },
    isKnown,
  )
  const settled = (name: string): void => {
    strangers.left(name)
    waiting.delete(name)
  }
  const server = createTlsServer(
    { ...serverTls(security), handshakeTimeout: GREETING_MS, noDelay: true },
    (socket) => {
      settled(nameOf(socket))
      if (cameByKey(socket, security())) return opened(socket)
      fault(socket, 'its network key was taken away')
      socket.destroy()
    },
  )
  server.prependListener('connection', (socket: Socket) => {
    const name = nameOf(socket)
    socket.once('close', () => {
      if (waiting.get(name) === socket) settled(name)
    })
    waiting.set(name, socket)
    strangers.came(name, socket.remoteAddress ?? '')
  })
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    const wrongKey = isWrongKey(error)
    if (WENT_AWAY.includes(codeOf(error))) return
    fault(
      socket,
      wrongKey ? 'wrong network key' : `no TLS handshake with a network key (${codeOf(error)})`,
      wrongKey,
    )
  })
  return server
}

/** The caller ended it: nobody turned it away. */
const WENT_AWAY: readonly string[] = ['ECONNRESET', 'EPIPE', 'ECONNABORTED']

const codeOf = (error: Error): string => (error as NodeJS.ErrnoException).code ?? error.message

const sentenceOf = (error: Error, { host, port }: Address): string => {
  const code = codeOf(error)
  if (isWrongKey(error)) return 'wrong network key'
  if (code === 'ENOTFOUND') return `no address for the name ${host}`
  if (code === 'ECONNREFUSED') return `nobody listens at ${addressText({ host, port })}`
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
    return `${addressText({ host, port })} does not speak TLS: is it a replica's port?`
  return `${addressText({ host, port })}: ${code}`
}

export const addressText = ({ host, port }: Address): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
