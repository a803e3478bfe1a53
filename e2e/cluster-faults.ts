// What happens to a cluster, drawn from a seed: replicas die, stand still, are cut off, run out of disk, lose
// it, are replaced and restarted. Refuses: to hurt a majority at once, except when all die together and come
// back with their disks.

import type { Random } from '@skep/testing/random.ts'
import type { ClusterClient } from './cluster-client.ts'
import type { Replica, Replicas } from './cluster-replicas.ts'
import { until } from './processes.ts'

export type Field = {
  readonly replicas: Replicas
  readonly client: ClusterClient
  readonly random: Random
  /** From a cut on until a lease that was given before has run out. */
  readonly leaseMs: number
  /** All answer again and know the same members. */
  healed(): Promise<void>
}

/** Something that goes wrong: it begins, lasts, and is mended. */
export type Fault = {
  readonly text: string
  readonly holdMs: number
  begin(): Promise<void>
  end(): Promise<void>
}
type Kind = {
  readonly weight: number
  /** Needs hosts of their own. */
  readonly root?: boolean
  /** Never beside another one. */
  readonly alone?: boolean
  make(field: Field, pick: Pick): Fault | undefined
}
type Pick = { take(leader: boolean): Replica | undefined; readonly leader: Replica | undefined }

const ENOUGH_MS = 120_000
const NEW_MS = 180_000
/** Cut off, a replica may send what was already in its hands. */
const GRACE_MS = 500

const role = (pick: Pick, replica: Replica): string =>
  `${replica === pick.leader ? 'leader' : 'follower'} ${replica.name}`

function kill(field: Field, pick: Pick): Fault | undefined {
  const { random, replicas } = field
  const target = pick.take(random.chance(0.6))
  if (target === undefined) return undefined
  return {
    text: `kill -9 ${role(pick, target)}`,
    holdMs: random.between(100, 6000),
    begin: () => replicas.kill(target),
    end: async () => replicas.restart(target),
  }
}

function pause(field: Field, pick: Pick): Fault | undefined {
  const { random } = field
  const target = pick.take(random.chance(0.6))
  if (target === undefined) return undefined
  return {
    text: `SIGSTOP ${role(pick, target)}`,
    holdMs: random.between(300, 8000),
    begin: async () => {
      target.trouble = 'paused'
      target.program.kill('SIGSTOP')
    },
    end: async () => {
      target.program.kill('SIGCONT')
      target.trouble = undefined
    },
  }
}

function cut(field: Field, pick: Pick): Fault | undefined {
  const { random, replicas, client } = field
  const first = pick.take(random.chance(0.6))
  if (first === undefined) return undefined
  const second = replicas.all.length >= 5 && random.chance(0.3) ? pick.take(false) : undefined
  const group = second === undefined ? [first] : [first, second]
  const ways = random.pick(['both', 'both', 'out', 'in'] as const)
  const how = { both: 'from the others', out: 'so that it is not heard', in: 'so that it hears nobody' }[ways]
  return {
    text: `cut ${group.map((each) => role(pick, each)).join(' and ')} off ${how}`,
    holdMs: random.between(2500, 9000),
    begin: async () => {
      for (const each of group) each.trouble = 'cut'
      await replicas.cut(group, ways)
      // Connections that are not made anew are no cut: without hosts of their own replicas close them
      // themselves.
      const fromMs = performance.now() + field.leaseMs
      client.resetLag()
      for (const each of group) client.history.silence(each.name, fromMs, GRACE_MS)
    },
    end: async () => {
      for (const each of group) client.history.silence(each.name, undefined)
      await replicas.cut(group, undefined)
      for (const each of group) each.trouble = undefined
    },
  }
}

function fullDisk(field: Field, pick: Pick): Fault | undefined {
  const { random, replicas } = field
  const target = pick.take(random.chance(0.6))
  if (target === undefined || !target.seat.small) return undefined
  return {
    text: `disk of ${role(pick, target)} full`,
    holdMs: random.between(1500, 6000),
    begin: async () => {
      target.trouble = 'full'
      replicas.fill(target, true)
    },
    end: async () => {
      replicas.fill(target, false)
      target.trouble = undefined
    },
  }
}

function lostDisk(field: Field, pick: Pick): Fault | undefined {
  const { random, replicas } = field
  const target = pick.take(random.chance(0.4))
  if (target === undefined) return undefined
  let before = ''
  return {
    text: `${role(pick, target)} loses its disk`,
    holdMs: random.between(300, 4000),
    begin: async () => {
      before = await until(
        `the ID of ${target.name}`,
        ENOUGH_MS,
        async () => (await replicas.status(target))?.raft?.memberId,
      )
      await replicas.kill(target)
    },
    end: async () => {
      replicas.restartEmpty(target)
      await memberReady(field, target, before)
    },
  }
}

/** Its name is a voter under an ID that is not the old one, and nothing is awaited of it. */
export async function memberReady(
  { replicas }: { readonly replicas: Replicas },
  target: Replica,
  notId: string,
): Promise<void> {
  await until(`${target.name} takes its place`, NEW_MS, async () => {
    const leader = await replicas.leader()
    const status = leader && (await replicas.status(leader))
    const entries = status?.raft?.members?.filter(({ name }) => name === target.name) ?? []
    const fresh = entries.some(
      ({ id, lag, self }) => id !== notId && (self === true || Number(lag ?? 0) < 100),
    )
    const old = entries.some(({ id }) => id === notId)
    return fresh && !old ? true : undefined
  })
}

function everybody(field: Field): Fault {
  const { random, replicas } = field
  return {
    text: 'kill -9 of all at once',
    holdMs: random.between(100, 2000),
    begin: async () => {
      await Promise.all(replicas.all.map((each) => replicas.kill(each)))
    },
    end: async () => {
      for (const each of replicas.all) replicas.restart(each)
    },
  }
}

function rolling(field: Field): Fault {
  const { replicas, random } = field
  const order = random.shuffle([...replicas.all])
  return {
    text: 'rolling restart',
    holdMs: 0,
    begin: async () => {
      for (const each of order) {
        await replicas.stopCleanly(each)
        if (each.program.ended() !== 'exit code 0')
          field.client.history.fail(`${each.name}, told to stop, ended: ${each.program.ended()}`)
        // It is away for as long as the others take for that.
        await field.client.acknowledged(random.below(200), ENOUGH_MS)
        replicas.restart(each)
        await field.healed()
      }
    },
    end: async () => {},
  }
}

function transfer(field: Field, pick: Pick): Fault | undefined {
  const { replicas } = field
  const to = pick.take(false)
  if (to === undefined || to === pick.leader || pick.leader === undefined) return undefined
  const { leader } = pick
  return {
    text: `leadership moved from ${leader.name} to ${to.name} and back by itself`,
    holdMs: 2000,
    begin: async () => {
      let said = ''
      // Under load a target may need more than one attempt to catch up.
      await until(`leadership moves to ${to.name}`, ENOUGH_MS, async () => {
        const now = await replicas.leader()
        if (now === undefined || now === to) return now && true
        await replicas.control(now, 'TransferLeadership', { member: to.name }).catch((error: Error) => {
          said = error.message
        })
        return undefined
      }).catch((error: Error) => {
        throw new Error(`${error.message}; ${said}`)
      })
    },
    end: async () => {},
  }
}

function joinAndRemove(field: Field, pick: Pick): Fault | undefined {
  const { replicas, random } = field
  const leaves = pick.take(random.chance(0.3))
  if (leaves === undefined) return undefined
  const name = `n${++replicas.newcomers}`
  return {
    text: `${name} joins, ${role(pick, leaves)} is removed`,
    holdMs: 0,
    begin: async () => {
      const joined = replicas.join(name)
      if (joined === undefined) throw new Error('no seat is free for a newcomer')
      joined.trouble = 'leaving'
      await memberReady(field, joined, '')
      joined.trouble = undefined
      await remove(field, leaves)
      await replicas.forget(leaves)
    },
    end: async () => {},
  }
}

/**
 * Asks whoever leads, until it is done: leadership may move meanwhile, and two voters are not made one by
 * force.
 */
export async function remove({ replicas }: { readonly replicas: Replicas }, leaves: Replica): Promise<void> {
  leaves.trouble = 'leaving'
  let said = ''
  await until(`${leaves.name} is removed`, ENOUGH_MS, async () => {
    const leader = (await replicas.leader()) ?? leaves
    const status = await replicas.status(leader)
    const entry = status?.raft?.members?.find((member) => member.name === leaves.name)
    if (status?.raft?.role === 'ROLE_LEADER' && leader !== leaves && entry === undefined) return true
    await replicas.control(leader, 'RemoveMember', { member: leaves.name }).catch((error: Error) => {
      said = error.message
    })
    return undefined
  }).catch((error: Error) => {
    throw new Error(`${error.message}; ${said}`)
  })
}

export const KINDS: Readonly<Record<string, Kind>> = {
  kill: { weight: 6, make: kill },
  pause: { weight: 3, make: pause },
  cut: { weight: 5, make: cut },
  full: { weight: 2, root: true, make: fullDisk },
  lost: { weight: 2, alone: true, make: lostDisk },
  all: { weight: 1, alone: true, make: everybody },
  rolling: { weight: 1, alone: true, make: rolling },
  transfer: { weight: 2, alone: true, make: transfer },
  members: { weight: 2, alone: true, make: joinAndRemove },
}

/** One fault, or two at once where five replicas stand that; at least one. */
export function drawFaults(field: Field, leader: Replica | undefined, only: readonly string[]): Fault[] {
  const { random, replicas } = field
  const bears = Math.floor((replicas.all.length - 1) / 2)
  const taken: Replica[] = []
  const pick: Pick = {
    leader,
    take: (wantLeader) => {
      if (taken.length >= bears) return undefined
      const left = replicas.all.filter((each) => !taken.includes(each))
      const followers = left.filter((each) => each !== leader)
      const chosen =
        wantLeader && leader !== undefined && left.includes(leader) ? leader : random.pick(followers)
      taken.push(chosen)
      return chosen
    },
  }
  const names = Object.keys(KINDS).filter(
    (name) => only.includes(name) && (replicas.hosts || KINDS[name]!.root !== true),
  )
  const faults: Fault[] = []
  for (let tries = 0; faults.length === 0 && tries < 50; tries++) {
    taken.length = 0
    const first = weighted(random, names)
    const fault = KINDS[first]!.make(field, pick)
    if (fault === undefined) continue
    faults.push(fault)
    if (KINDS[first]!.alone === true || bears < 2 || !random.chance(0.6)) continue
    // Two cuts would mend each other.
    const beside = names.filter((name) => KINDS[name]!.alone !== true && (name !== 'cut' || first !== 'cut'))
    const second = beside.length > 0 ? KINDS[weighted(random, beside)]!.make(field, pick) : undefined
    if (second !== undefined) faults.push(second)
  }
  return faults
}

function weighted(random: Random, names: readonly string[]): string {
  let at = random.below(names.reduce((sum, name) => sum + KINDS[name]!.weight, 0))
  for (const name of names) {
    at -= KINDS[name]!.weight
    if (at < 0) return name
  }
  return names[0]!
}
