// The known name that somebody probably meant.
// Refuses: far guesses; a slip has few letters.

/** ` (did you mean x?)` where a known name is near, or nothing. */
export function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === null ? '' : ` (did you mean ${near}?)`
}

/** The known name with the fewest edits to `name`, if they are few enough to be a slip. */
export function nearest(name: string, known: readonly string[]): string | null {
  let best: string | null = null
  let bestEdits = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of known) {
    const edits = editDistance(fold(name), fold(candidate))
    if (edits < bestEdits) [best, bestEdits] = [candidate, edits]
  }
  return best
}

const fold = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, '')

/** Letters inserted, dropped, changed, or swapped with their neighbour. */
function editDistance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) =>
    Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)),
  )
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min(rows[i - 1]![j]! + 1, rows[i]![j - 1]! + 1, rows[i - 1]![j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, rows[i - 2]![j - 2]! + 1)
      rows[i]![j] = least
    }
  return rows[a.length]![b.length]!
}
