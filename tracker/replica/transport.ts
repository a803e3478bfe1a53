// What the loop needs of a network. A replica alone has none; the real one (TCP) and the simulator's come with the
// second member.
// Refuses: guarantees. Raft messages may be lost, repeated and reordered; Raft repairs that.

export interface Transport {
  /** A Raft message for one member. The bytes are a view: copied before this returns. Dropped when the way is clogged. */
  send(group: number, to: number, message: Uint8Array): void
}
