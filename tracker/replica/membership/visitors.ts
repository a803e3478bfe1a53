// Members that this replica has not heard of yet. Whoever was away while the cluster grew knows only those of
// then, and one of the new ones may lead now: it is let in on the word of the network key and the cluster's
// ID, and answered at the address that it gives. Raft knows what to do with messages of members it has not
// heard of. Refuses: whom the log says were removed, and to remember more than a few: the log, or a snapshot,
// soon tells.

import type { Hello } from '../transport/frame-body.ts'
import type { Peer } from '../transport/transport.ts'
import { addressOf, type Directory, peersOf } from './directory.ts'

/** Strangers remembered at once; the oldest goes first. */
export const MOST_VISITORS = 8

export class Visitors {
  private readonly known = new Map<number, Peer>()

  /** Somebody was let in. True: `peers` are others now. */
  came(directory: Directory, hello: Pick<Hello, 'from' | 'name' | 'address'>): boolean {
    const { from: id, name } = hello
    if (directory.members.some((m) => m.id === id)) return false
    const address = addressOf(hello.address ?? '')
    if (address === null) return false
    const old = this.known.get(id)?.address
    if (old !== undefined && old.host === address.host && old.port === address.port) return false
    this.known.delete(id)
    this.known.set(id, { id, name, address })
    for (const first of this.known.keys()) if (this.known.size > MOST_VISITORS) this.known.delete(first)
    return true
  }

  /** Whom to dial: the members, and those who came before this replica has heard of them. */
  peers(directory: Directory, self: number): Peer[] {
    for (const { id } of [...directory.members, ...directory.removed]) this.known.delete(id)
    return [...peersOf(directory, self), ...this.known.values()]
  }
}
