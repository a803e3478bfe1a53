// skep ctl status: how the replica stands, once or each second.
// Refuses: to judge; doctor does.

import type { Asked, Call } from './asked.ts'
import { statusTable, toJson } from './table.ts'

export const STATUS_CALLS: readonly Call[] = [
  {
    name: 'status',
    summary: 'How the replica stands.',
    options: [['--watch', 'Again each second, until Ctrl-C.']],
    run: status,
  },
]

async function status({ client, json, options, print }: Asked): Promise<number | undefined> {
  if (options.watch !== true) {
    const answer = await client.status({})
    print(json ? toJson('status', answer) : statusTable(answer))
    return
  }
  for await (const { status: answer } of client.watch({})) {
    if (answer === undefined) continue
    if (json) print(toJson('status', answer, false))
    else print(`${process.stdout.isTTY ? '\u001b[H\u001b[2J' : ''}${statusTable(answer)}`)
  }
}
