// The listening sockets of the HTTP port: opened, closed while no more connections may come, opened again.
// Refuses: to look at a connection. A connect that is refused sends a client to its next tracker at once; one
// that is accepted and then reset keeps some of them here for many minutes.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { HttpOpenError } from './open-error.ts'

/** Connections that may wait to be accepted: so many more than the most may be open for a moment. */
const BACKLOG = 1024
/** Bytes of answers that Node keeps for a client before it is made to wait. */
const UNSENT_BYTES = 4096

export class Listeners {
  /** The hosts really listened on: an address family that the machine lacks is left out. */
  readonly hosts: string[] = []
  port: number
  private readonly wanted: readonly string[]
  private readonly connected: (socket: Socket) => void
  private readonly servers: Server[] = []
  /** Connects are refused. */
  suspended = false
  private reopening = false

  constructor(hosts: readonly string[], port: number, connected: (socket: Socket) => void) {
    this.wanted = hosts
    this.port = port
    this.connected = connected
  }

  /** Rejects: HttpOpenError. `failed` hears of a socket that fails later. */
  async open(failed: (error: Error) => void): Promise<void> {
    for (const host of this.wanted) {
      const server = createServer(
        { allowHalfOpen: true, noDelay: true, highWaterMark: UNSENT_BYTES },
        this.connected,
      )
      try {
        await this.listen(server, host)
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
        const familyMissing = host === '::' && this.wanted.length > 1
        if (familyMissing && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(code)) continue
        for (const other of this.servers) other.close()
        throw new HttpOpenError(code, host, this.port)
      }
      server.on('error', (error) => this.reopening || failed(error))
      this.servers.push(server)
      this.hosts.push(host)
      this.port = (server.address() as AddressInfo).port
    }
  }

  private listen(server: Server, host: string): Promise<void> {
    const ipv6Only = host === '::' && this.wanted.includes('0.0.0.0')
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port: this.port, ipv6Only, backlog: BACKLOG }, () => {
        server.off('error', reject)
        resolve()
      })
    })
  }

  /** Connects are refused from now on. False: they were already. */
  suspend(): boolean {
    if (this.suspended) return false
    this.suspended = true
    for (const server of this.servers) server.close()
    return true
  }

  /**
   * Connections are taken again. False: they are already, or another program has taken the port meanwhile: to
   * be tried again.
   */
  async resume(): Promise<boolean> {
    if (!this.suspended || this.reopening) return false
    this.reopening = true
    try {
      for (const [i, server] of this.servers.entries())
        if (!server.listening) await this.listen(server, this.hosts[i]!)
      this.suspended = false
    } catch {
      // It stays suspended.
    }
    this.reopening = false
    return !this.suspended
  }
}
