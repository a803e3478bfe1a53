// skep ctl settings: the replicated settings; `name=value` words are spelled and limited like the options
// that seed the same settings. Refuses: options that are not settings of the cluster.

import type { MessageInitShape } from '@bufbuild/protobuf'
import { UsageError } from '@skep/cli/command.ts'
import { optionValue } from '@skep/cli/layers.ts'
import { suggestion } from '@skep/cli/nearest.ts'
import type { ChangeSettingsRequestSchema } from '@skep/wire/proto/gen/skep/cluster/v1/cluster_pb.js'
import { OPTIONS } from '../config/options.ts'
import { TABLE } from '../config/table.ts'
import { ALLOW_PRIVATE } from '../control/cluster.ts'
import type { Asked, Call } from './asked.ts'
import { settingsTable, toJson } from './table.ts'

export const SETTINGS_CALLS: readonly Call[] = [
  {
    name: 'settings',
    summary: 'The replicated settings: get, or set name=value ...',
    words: [
      ['[action]', 'get or set', 'get'],
      ['[name=value...]', 'such as interval=20m numwant-max=100 allow-private=off'],
    ],
    run: settings,
  },
]

/** Settings by the flag that seeds them. */
const SETTINGS = {
  interval: 'intervalSeconds',
  'interval-max': 'intervalMaxSeconds',
  'numwant-default': 'numwantDefault',
  'numwant-max': 'numwantMax',
  'allow-private': 'allowPrivate',
} as const

const SETTING_NAMES = Object.keys(SETTINGS) as readonly (keyof typeof SETTINGS)[]

async function settings(
  { client, json, print }: Asked,
  action = 'get',
  ...words: string[]
): Promise<undefined> {
  if (action !== 'get' && action !== 'set')
    throw new UsageError(`settings ${action}: get or set${suggestion(action, ['get', 'set'])}`)
  if (action === 'set' && words.length === 0)
    throw new UsageError('settings set needs name=value, such as interval=20m')
  if (action === 'get' && words.length > 0) throw new UsageError('settings get takes nothing more')
  const { settings: inForce } =
    action === 'get' ? await client.getSettings({}) : await client.changeSettings(readSettingWords(words))
  print(json ? toJson('settings', inForce!) : settingsTable(inForce!))
}

/** Throws `UsageError` for an unknown name or a value out of its limits. */
function readSettingWords(words: readonly string[]): MessageInitShape<typeof ChangeSettingsRequestSchema> {
  const change: Record<string, unknown> = {}
  for (const word of words) {
    const equals = word.indexOf('=')
    const name = equals < 0 ? word : word.slice(0, equals)
    const key = SETTINGS[name as keyof typeof SETTINGS]
    if (key === undefined)
      throw new UsageError(
        `${name} is no setting of the cluster${suggestion(name, SETTING_NAMES)}: ${SETTING_NAMES.join(', ')}`,
      )
    if (equals < 0) throw new UsageError(`${name} needs a value: ${name}=..., ${OPTIONS[key].type.limits}`)
    const value = optionValue(TABLE, key, word.slice(equals + 1))
    if (value === undefined) throw new UsageError(`${word}: ${name} must be ${OPTIONS[key].type.limits}`)
    change[key] = key === 'allowPrivate' ? ALLOW_PRIVATE[value as keyof typeof ALLOW_PRIVATE] : value
  }
  return change
}
