// Real clients that hold many torrents at once and can be asked: what came of the last announce, when is the
// next one, announce now. Refuses: to know trackers; matrix.ts gives the torrents.

import type { Host } from '../network.ts'

export type Many = {
  readonly host: Host
  readonly torrents: readonly string[]
  readonly content: string
  readonly home: string
  readonly port: number
  /** Where it is asked. */
  readonly askPort: number
}

/** What a client says of a torrent's only tracker. */
export type Told = {
  readonly failed: boolean
  /** From now; undefined: it does not say. */
  readonly nextSeconds: number | undefined
  readonly text: string
}

export type Steered = {
  readonly name: string
  command(many: Many): readonly string[]
  /** Once it runs: gives it what its command line could not. */
  begin?(many: Many): Promise<void>
  /** Undefined: it has not tried yet, or does not say. Rejects while it cannot be asked. */
  told?(many: Many, hash: string): Promise<Told | undefined>
  /** A person presses the button. */
  again?(many: Many, hash: string): Promise<void>
}
