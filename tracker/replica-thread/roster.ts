// The members by name: what each is called, and who should rather lead.
// Refuses: to say who is a member; the directory does.

import { nameOf } from '../replica/membership/directory.ts'
import type { MembersMachine } from '../replica/membership/members-machine.ts'

export class Roster {
  private readonly members: MembersMachine
  private readonly draining: (id: number) => boolean
  private order = new Map<string, number>()

  constructor(members: MembersMachine, draining: (id: number) => boolean) {
    this.members = members
    this.draining = draining
    this.rank()
  }

  /** After the directory has changed. Names in natural order: r10 is preferred to r9. */
  rank(): void {
    const names = this.members.directory.members.map((m) => m.name)
    names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    this.order = new Map(names.map((name, i) => [name, i]))
  }

  /** Who should rather lead: the higher. Nobody who is being drained, if it can be helped. */
  preference(id: number): number {
    return this.draining(id) ? -1 : (this.order.get(this.nameOf(id)) ?? -1)
  }

  nameOf(id: number): string {
    const { directory } = this.members
    return directory.members.find((m) => m.id === id)?.name ?? nameOf(directory, id)
  }
}
