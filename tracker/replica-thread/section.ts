// Is this really a batch's section? Checked by a leader before another member's bytes get into the log, where
// everybody will have to apply them. Refuses: to repair anything, and to look at what a change says: apply
// judges that, alike everywhere.

import { loggedWords } from '../swarm/change.ts'
import { CHANGES, PART_WORDS, SECTION_WORDS, TOUCHES } from '../swarm/entry.ts'
import { areTouches } from '../swarm/touches.ts'

/** Why `section` is not batch `number` of that member and incarnation, word for word; null: it is. */
export const sectionFault = (
  section: Uint8Array,
  member: number,
  incarnation: number,
  number: number,
): string | null => {
  const words = section.length >>> 2
  if (section.length % 4 !== 0 || words < SECTION_WORDS) return 'too short'
  const view = new DataView(section.buffer, section.byteOffset, section.byteLength)
  const word = (at: number): number => view.getInt32(at * 4, true)
  if ((word(0) >>> 0) + word(1) * 2 ** 32 !== member) return 'of another member'
  if (word(2) !== incarnation || word(3) !== (number | 0)) return 'another batch'
  if (word(4) !== words) return 'another length'
  let at = SECTION_WORDS
  for (let part = word(5); part > 0; part--) {
    if (at + PART_WORDS > words) return 'a part is missing'
    const end = at + PART_WORDS + word(at + 3)
    if (word(at + 3) < 0 || end > words) return 'a part is too long'
    const fault = partFault(section, word, at, end)
    if (fault !== null) return fault
    at = end
  }
  return at === words && word(5) >= 0 ? null : 'more than its parts'
}

const partFault = (
  section: Uint8Array,
  word: (at: number) => number,
  part: number,
  end: number,
): string | null => {
  const what = word(part) >>> 16
  const count = word(part + 2)
  let at = part + PART_WORDS
  if (what === TOUCHES)
    return areTouches(section.subarray(at * 4, end * 4), count) ? null : 'not as many touches as it says'
  if (what !== CHANGES) return 'a part of an unknown kind'
  for (let i = 0; i < count; i++) {
    if (at >= end) return 'a change is missing'
    at += loggedWords(word(at))
  }
  return at === end && count >= 0 ? null : 'not as many changes as it says'
}
