// How long to wait before the next dial. Pure.
// Refuses: to give up; a member that is gone for good is taken out of the list by whoever knows that.

const FIRST_MS = 50
/** Half of the shortest usual election timeout: a member that is back is met again before it could matter. */
const MOST_MS = 1000
/** After the other side said no: only a person changes that. */
const REFUSED_MS = 2000

/**
 * `failures`: dials in a row that came to nothing, at least 1. `random`: 0 up to 1; the wait varies by half.
 */
export const backoffMs = (failures: number, refused: boolean, random: number): number => {
  const whole = refused ? REFUSED_MS : Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20))
  return whole * (1 - random / 2)
}
