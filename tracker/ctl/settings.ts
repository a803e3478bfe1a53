// `name=value` words of skep ctl settings set, spelled and limited like the options that seed the same
// settings. Refuses: options that are not settings of the cluster.

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { ChangeSettingsRequestSchema } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { UsageError } from '../config/flags.ts'
import { optionValue, suggestion } from '../config/layers.ts'
import { OPTIONS } from '../config/options.ts'
import { ALLOW_PRIVATE } from '../control/cluster.ts'

/** Settings by the flag that seeds them. */
const SETTINGS = {
  interval: 'intervalSeconds',
  'interval-max': 'intervalMaxSeconds',
  'numwant-default': 'numwantDefault',
  'numwant-max': 'numwantMax',
  'allow-private': 'allowPrivate',
} as const

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof typeof SETTINGS)[]

/** Throws `UsageError` for an unknown name or a value out of its limits. */
export function readSettingWords(
  words: readonly string[],
): MessageInitShape<typeof ChangeSettingsRequestSchema> {
  const change: Record<string, unknown> = {}
  for (const word of words) {
    const equals = word.indexOf('=')
    const name = equals < 0 ? word : word.slice(0, equals)
    const key = SETTINGS[name as keyof typeof SETTINGS]
    if (key === undefined)
      throw new UsageError(
        `${name} is no setting of the cluster${suggestion(name, SETTING_NAMES)}: ${SETTING_NAMES.join(', ')}`,
      )
    const value = equals < 0 ? undefined : optionValue(key, word.slice(equals + 1))
    if (value === undefined) throw new UsageError(`${word}: ${name} must be ${OPTIONS[key].type.limits}`)
    change[key] = key === 'allowPrivate' ? ALLOW_PRIVATE[value as keyof typeof ALLOW_PRIVATE] : value
  }
  return change
}
