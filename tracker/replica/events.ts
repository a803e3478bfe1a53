// What happened to a cluster, as one member saw it: the last thousand events, as plain data.
// Refuses: wall time (the reader adds it) and sentences; whoever shows events makes those.

export type EventKind =
  | 'started'
  | 'campaign'
  | 'elected'
  | 'leader'
  | 'leader lost'
  | 'transfer'
  | 'transfer failed'
  | 'members changed'
  | 'removed'
  | 'snapshot sent'
  | 'snapshot installed'
  | 'disk failed'
  | 'disk mended'
  | 'peer disk failed'
  | 'peer disk mended'
  | 'changes refused'
  | 'changes taken'
  | 'fault'

export type ClusterEvent = {
  /** Counts from 1. */
  readonly number: number
  /** Monotonic milliseconds of this member. */
  readonly atMs: number
  readonly kind: EventKind
  readonly term: number
  /** Whom it is about; 0: nobody in particular. */
  readonly member: number
  readonly detail: string
}

/** Events kept. */
const EVENTS_KEPT = 1000

export class Timeline {
  private readonly events: ClusterEvent[] = []
  private count = 0

  add(atMs: number, kind: EventKind, term: number, member = 0, detail = ''): void {
    this.events.push({ number: ++this.count, atMs, kind, term, member, detail })
    if (this.events.length > EVENTS_KEPT) this.events.shift()
  }

  /** Those after number `since`, oldest first. */
  after(since: number): readonly ClusterEvent[] {
    return this.events.filter((e) => e.number > since)
  }
}
