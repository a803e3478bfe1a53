// The users of a tracker on Kubernetes (cluster-users.ts), on a host outside: they announce through the nodes
// that a balancer would choose. A process of its own, driven by lines of JSON (outside-link.ts). Refuses: to
// ask pods directly.

import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { Random } from '@skep/testing/random.ts'
import { ClusterClient } from '../cluster-client.ts'
import { History } from '../cluster-history.ts'
import { BOUND_MS, Users, type UsersReport } from '../cluster-users.ts'
import { startBalancer } from './balancer.ts'

export type Command = { readonly do: 'mark' | 'report' | 'check' | 'forget' | 'stop' }
export type Report = UsersReport & { readonly ready: readonly { pod: string; node: string }[] }

const TORRENTS = 600

/** The lab's pods: no user asks them directly. */
const isPod = (address: string): boolean => address.startsWith('10.244.')

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kubectl: { type: 'string', default: 'kubectl' },
      namespace: { type: 'string', default: 'default' },
      service: { type: 'string', default: 'skep-udp' },
      addresses: { type: 'string', default: '127.0.0.1' },
      rate: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
    },
  })
  const seed = Number(values.seed)
  const client = new ClusterClient(new History(TORRENTS, BOUND_MS), seed, isPod)
  await client.open(values.addresses.split(','))
  const balancer = await startBalancer(values.kubectl, values.namespace, values.service)
  const users = new Users(client, () => balancer.targets(), new Random(seed), Number(values.rate))
  users.start()
  users.mark()
  const say = (report: UsersReport): void => {
    const whole: Report = { ...report, ready: balancer.ready() }
    process.stdout.write(`${JSON.stringify(whole)}\n`)
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line) as Command
    if (command.do === 'stop') break
    const before = users.report()
    if (command.do === 'mark') users.mark()
    if (command.do === 'forget') client.forgetIds()
    if (command.do === 'check') await users.check()
    say(command.do === 'mark' ? before : users.report())
  }
  process.exit(0)
}

if (import.meta.main) await main()
