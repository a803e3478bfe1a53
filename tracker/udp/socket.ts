// What the worker sees of a UDP socket, whoever makes the system calls: mmsg.ts (batches, Linux) or dgram.ts
// (anywhere). Refuses: to know either of them.

import type { Inbox, Outbox } from './slots.ts'

export type UdpSocketOptions = {
  /**
   * A literal address; `0.0.0.0` and `::` mean all. Its family is the socket's; IPv6 sockets take no IPv4.
   */
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** Several sockets (one a worker) share the port; the kernel spreads clients over them (SO_REUSEPORT). */
  readonly reusePort: boolean
  /** Asked for, bytes; the kernel may grant less (net.core.rmem_max). */
  readonly receiveBufferBytes: number
  readonly sendBufferBytes: number
  /** Datagrams a system call, each way. */
  readonly batch: number
  /** Bytes of the largest answer. */
  readonly answerBytes: number
}

export type UdpSocket = {
  readonly family: 4 | 6
  readonly port: number
  /** Granted by the kernel, bytes. */
  readonly receiveBufferBytes: number
  readonly inbox: Inbox
  readonly outbox: Outbox
  /** Datagrams now in the inbox, up to a batch; 0: none waiting. Those of the call before are gone. */
  receive(): number
  /**
   * Sends everything in the outbox and empties it; returns how many the kernel took. Waits for room a few
   * milliseconds.
   */
  send(): number
  /** Datagrams that arrived and found no room, since the socket was opened. */
  drops(): number
  /**
   * Datagrams not sent because of an error of their own (no route, address in the way), since it was opened.
   */
  readonly sendErrors: number
  close(): void
}

/**
 * A socket could not be opened. `code` is errno's name: EADDRINUSE, EACCES, EADDRNOTAVAIL, EAFNOSUPPORT...
 */
export class UdpOpenError extends Error {
  override name = 'UdpOpenError'
  readonly code: string
  readonly host: string
  readonly port: number

  constructor(code: string, host: string, port: number, step: string) {
    super(openMessage(code, host, port, step))
    this.code = code
    this.host = host
    this.port = port
  }
}

function openMessage(code: string, host: string, port: number, step: string): string {
  const where = `UDP port ${port} of ${host}`
  switch (code) {
    case 'EADDRINUSE':
      return `${where} is taken by another program; --udp-port moves the tracker to another one`
    case 'EACCES':
      return `${where} is not ours to open (ports under 1024 need a privilege); --udp-port moves the tracker`
    case 'EADDRNOTAVAIL':
      return `${host} is not an address of this machine, so UDP port ${port} cannot be opened on it`
    case 'EAFNOSUPPORT':
      return `this machine does not speak the address family of ${host}`
    default:
      return `${where} cannot be opened: ${step} says ${code}`
  }
}
