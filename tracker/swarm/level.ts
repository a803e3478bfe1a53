// The behaviour level of a cluster: by which rules `apply` reads the log. It is replicated, and raised once
// all members support the next one (docs/decisions/0009-levels.md), so that members of two versions never
// come to different tables from the same log. Refuses: to go down again.
//
//   1  version 0.1.0
//   2  tables keyed by all bytes and a secret of the cluster (keyed-hash.ts); a client that keeps its address
//      and changes its port has moved (table.ts)

/** The highest level that this program knows. */
export const LEVEL = 2

/** The log, or a snapshot, asks for rules that this program does not know. */
export class LevelUnknown extends Error {
  override readonly name = 'LevelUnknown'
  constructor(level: number) {
    super(
      `this cluster works at level ${level}, this version knows levels up to ${LEVEL}: ` +
        'install a version at least as new as that of the other replicas',
    )
  }
}
