// The network key as a Secret: one key a line, the one in use first.
// Refuses: chance; the key is an argument.

import type { KeySeen } from '../model/facts.ts'
import { owned, PHASE_ANNOTATION, ROTATION_ANNOTATION } from '../model/labels.ts'
import { keyName } from '../model/names.ts'
import type { KubeObject } from '../model/ports.ts'
import { KEY_ENTRY } from '../model/settle.ts'
import type { TrackerCluster } from '../model/types.ts'

/** The lines of a key that the operator made, and where its rotation stands. */
export type Keys = {
  readonly lines: readonly string[]
  /** Value of skep.dev/rotate-key that the lines stand for; '' : never rotated. */
  readonly rotation: string
  readonly phase: KeySeen['phase']
}

export const keySecret = (resource: TrackerCluster, { lines, rotation, phase }: Keys): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: owned(
    resource,
    keyName(resource.metadata.name),
    'replica',
    rotation === '' ? {} : { [ROTATION_ANNOTATION]: rotation, [PHASE_ANNOTATION]: phase },
  ),
  type: 'Opaque',
  data: { [KEY_ENTRY]: btoa(lines.map((line) => `${line}\n`).join('')) },
})

const PHASES: readonly string[] = ['Adding', 'Swapping', 'Done'] satisfies KeySeen['phase'][]

/** Of any Secret, also of one that people made. */
export const keysOf = (secret: KubeObject, entry: string): Keys => {
  const { annotations = {} } = secret.metadata
  const phase = annotations[PHASE_ANNOTATION] ?? 'Done'
  return {
    lines: keyLines(secret, entry),
    rotation: annotations[ROTATION_ANNOTATION] ?? '',
    phase: (PHASES.includes(phase) ? phase : 'Done') as KeySeen['phase'],
  }
}

/** The lines of a Secret's entry; none if it is not there. */
const keyLines = (secret: KubeObject, entry: string): readonly string[] => {
  const encoded = secret.data?.[entry]
  if (encoded === undefined) return []
  const lines = new TextDecoder()
    .decode(Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0)))
    .split(/\r?\n/)
  return [...new Set(lines.map((line) => line.trim()).filter((line) => line !== ''))]
}
