// Where members say they are, as far as that is not where the directory has them: a replica that was started
// with another port or address tells so when it dials, whom it met tells the others, and the leader has the
// directory follow (plan.ts). Until then it is dialled at both places. Refuses: the word of an earlier start
// of a member, and to remember more than there are members.

import { addressOf, type Directory, MAX_MEMBERS } from './directory.ts'

export type Whereabout = {
  readonly id: number
  /** `host:port`. */
  readonly address: string
  /** The start of that member which said so. */
  readonly incarnation: number
}

export class Whereabouts {
  private readonly said = new Map<number, Whereabout>()

  /** True: this is news. */
  hear(directory: Directory, said: Whereabout): boolean {
    const member = directory.members.find((m) => m.id === said.id)
    if (member === undefined || addressOf(said.address) === null) return false
    const before = this.said.get(said.id)
    if (before !== undefined && before.incarnation >= said.incarnation) return false
    this.said.set(said.id, said)
    for (const id of this.said.keys()) if (this.said.size > MAX_MEMBERS) this.said.delete(id)
    return said.address !== (before?.address ?? member.address)
  }

  /** Who is elsewhere than the directory says. */
  moved(directory: Directory): Whereabout[] {
    return directory.members.flatMap(({ id, address }) => {
      const said = this.said.get(id)
      return said === undefined || said.address === address ? [] : [said]
    })
  }
}
