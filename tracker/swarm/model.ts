// The swarm table's slow, obvious twin, in maps and strings: what the real one must agree with. For tests and
// the simulator only. Refuses: to be fast, and capacity.

import { BUCKET_MS } from './layout.ts'

export type ModelPeer = {
  readonly address: string
  readonly v6: boolean
  seeder: boolean
  tag: number
  bucket: number
  /** Where it is kept, else ''. */
  readonly peerId: string
}
export type ModelSwarm = { readonly peers: Map<string, ModelPeer>; completed: number }

export class Model {
  readonly swarms = new Map<string, ModelSwarm>()
  bucket = 0
  /** The replicated level: from 2 on a client that keeps its address and changes its port has moved. */
  level = 1

  /** Must an announce go through the log, or is it "still here"? */
  isChange(
    hash: string,
    address: string,
    seeder: boolean,
    tag: number,
    event: boolean,
    peerId: string,
    intervalSeconds: number,
  ): boolean {
    const peer = this.swarms.get(hash)?.peers.get(address)
    if (event || peer === undefined || peer.seeder !== seeder) return true
    if (peer.tag !== tag && (peer.tag === 0 || peer.peerId !== peerId)) return true
    // The last quarter of two intervals: a touch that is lost there would cost the peer.
    return (this.bucket - peer.bucket) * BUCKET_MS > intervalSeconds * 1500
  }

  put(
    hash: string,
    address: string,
    v6: boolean,
    seeder: boolean,
    tag: number,
    event: boolean,
    peerId = '',
  ): void {
    let swarm = this.swarms.get(hash)
    if (swarm === undefined) this.swarms.set(hash, (swarm = { peers: new Map(), completed: 0 }))
    const old = swarm.peers.get(address)
    let known = old !== undefined
    let wasSeeder = old?.seeder ?? false
    const sameTag = old !== undefined && old.tag === tag
    let own = tag
    if (tag !== 0 && !sameTag)
      for (const [key, peer] of swarm.peers)
        if (peer.tag === tag && peer.v6 === v6 && key !== address) {
          if (!this.moved(key, address)) own = 0
          else {
            swarm.peers.delete(key)
            if (!known) wasSeeder = peer.seeder
            known = true
          }
        }
    const twin = own === 0 ? undefined : [...swarm.peers.values()].find((p) => p.tag === own && p.v6 !== v6)
    if (seeder && !wasSeeder && (known || event) && twin?.seeder !== true) swarm.completed++
    swarm.peers.delete(address)
    swarm.peers.set(address, { address, v6, seeder, tag: own, bucket: this.bucket, peerId })
  }

  leave(hash: string, address: string, v6: boolean, tag: number): void {
    const peers = this.swarms.get(hash)?.peers
    if (peers === undefined || peers.delete(address) || this.level < 2 || tag === 0) return
    for (const [key, peer] of peers)
      if (peer.tag === tag && peer.v6 === v6 && this.moved(key, address)) peers.delete(key)
  }

  private moved(from: string, to: string): boolean {
    return portOf(from) === portOf(to) || (this.level >= 2 && hostOf(from) === hostOf(to))
  }

  touch(hash: string, address: string): void {
    const peer = this.swarms.get(hash)?.peers.get(address)
    if (peer !== undefined) peer.bucket = this.bucket
  }

  expire(lifeBuckets: number): void {
    for (const swarm of this.swarms.values())
      for (const [key, peer] of swarm.peers)
        if (this.bucket - peer.bucket > lifeBuckets) swarm.peers.delete(key)
  }

  /** Seeders and leechers, twins once: a seeder if either is. */
  counts(hash: string): { seeders: number; leechers: number; completed: number } {
    const swarm = this.swarms.get(hash)
    if (swarm === undefined) return { seeders: 0, leechers: 0, completed: 0 }
    const people = new Map<string, boolean>()
    for (const peer of swarm.peers.values()) {
      const who = peer.tag === 0 ? peer.address : `tag ${peer.tag}`
      people.set(who, (people.get(who) ?? false) || peer.seeder)
    }
    const seeders = [...people.values()].filter((s) => s).length
    return { seeders, leechers: people.size - seeders, completed: swarm.completed }
  }
}

const hostOf = (address: string): string => address.slice(0, address.lastIndexOf(':'))
const portOf = (address: string): string => address.slice(address.lastIndexOf(':') + 1)
