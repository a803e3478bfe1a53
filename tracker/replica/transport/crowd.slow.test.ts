// The replica port among strangers: no crowd keeps a member out, and no key opens it after it was taken away.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { clientTls, pskOf, pskRing } from './psk.ts'
import { KEY, OTHER_KEY, type TestMember, withMembers } from './transport.case.ts'

/** Keeps so many connections open from this address: one that is closed is opened again at once. */
function crowd(port: number, localAddress: string, most: number) {
  const sockets = new Set<Socket>()
  let ended = false
  let refused = 0
  const open = (): void => {
    if (ended) return
    const socket = connect({ port, host: '127.0.0.1', localAddress })
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      refused++
      sockets.delete(socket)
      setImmediate(open)
    })
  }
  for (let i = 0; i < most; i++) open()
  return {
    closed: () => refused,
    end(): void {
      ended = true
      for (const socket of sockets) socket.destroy()
    },
  }
}

const restarted = {
  self: { clusterId: '0123456789abcdef0123456789abcdef', id: 2, name: 'r2', level: 1, incarnation: 2 },
}

test('600 idle connections do not keep a restarted member out', { timeout: 60_000 }, () =>
  withMembers(
    [{}, restarted],
    async (a, b) => {
      // It was known under its address before.
      a!.transport.setPeers([b!.peer])
      const others = crowd(a!.address.port, '127.0.0.2', 600)
      try {
        await a!.until(() => a!.events.some((e) => e.startsWith('turned away')))
        b!.transport.setPeers([a!.peer])
        await b!.connected(1)
      } finally {
        others.end()
      }
    },
    true,
  ),
)

/** With `session`: what was kept of an earlier connection; else with the key. */
const dialled = (port: number, options: object): TLSSocket => {
  const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  socket.on('error', () => {})
  socket.resume()
  return socket
}

test('a session kept from before opens the port neither after the key was taken away nor before', async () => {
  let keys = pskRing(`${OTHER_KEY}\n${KEY}`)
  await withMembers(
    [{ security: () => keys }],
    async (a) => {
      const { port } = a!.address
      const first = dialled(port, clientTls(pskOf(KEY)))
      const [session] = (await once(first, 'session')) as [Buffer]
      assert.ok(first.isSessionReused(), 'by the key')
      const kept = [session, first.getSession()!]
      first.destroy()
      const without = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' }
      const tried = async (): Promise<void> => {
        for (const session of kept) {
          const again = dialled(port, { ...without, session })
          let opened = false
          again.once('secureConnect', () => {
            opened = again.isSessionReused()
            again.destroy()
          })
          await new Promise((resolve) => again.on('close', resolve))
          assert.equal(opened, false, 'a session was resumed')
        }
      }
      await tried()
      keys = pskRing(OTHER_KEY)
      await tried()
    },
    true,
  )
})

const connects = (a: TestMember): number => a.stateOf(2)!.connects

test('a key that is taken away here ends what was dialled with it, though the other side still takes it', async () => {
  let mine = pskRing(`${OTHER_KEY}\n${KEY}`)
  const its = pskRing(`${KEY}\n${OTHER_KEY}`)
  await withMembers([{ security: () => mine }, { security: () => its }], async (a) => {
    const before = connects(a!)
    mine = pskRing(KEY)
    await a!.until(() => connects(a!) >= before + 3)
  })
})
