// Whether and where probes get their own port: one that was asked for must be had, the usual one gives way.
// Refuses: to take the number of another port of this replica.

import type { Source } from '@skep/cli/layers.ts'
import type { ConfigKey, TrackerConfig } from '../config/options.ts'
import { type Health, type Probes, startHealth } from '../http/health.ts'
import { HttpOpenError } from '../http/open-error.ts'

export type OpenHealth = Health & { readonly warnings: readonly string[] }

/** Without a port: nobody asked for one, and the usual one is taken. */
const none = (warning: string): OpenHealth => ({
  port: 0,
  failed: new Promise(() => {}),
  close: async () => {},
  warnings: [`${warning}; until then probes are answered on --http-port alone`],
})

/** Rejects with HttpOpenError where `--health-port` was given and cannot be had. */
export async function openHealth(
  config: TrackerConfig,
  sources: ReadonlyMap<ConfigKey, Source>,
  hosts: readonly string[],
  probes: () => Probes,
): Promise<OpenHealth> {
  const { healthPort: port } = config
  const given = sources.get('healthPort') !== 'default'
  const own = [config.httpPort, config.controlPort, config.replicaPort]
  if (!given && own.includes(port))
    return none(`port ${port}, that of probes, has another use here; --health-port gives them one`)
  try {
    return { ...(await startHealth({ hosts, port }, probes)), warnings: [] }
  } catch (error) {
    if (given || !(error instanceof HttpOpenError)) throw error
    return none(error.message.replace('moves the tracker', 'moves the probes'))
  }
}
