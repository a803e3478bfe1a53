// The announce interval under load: longer when more is asked than this replica shall answer. Pure. Refuses:
// reacting to a second's noise; an interval only takes effect when peers come back, an interval later.

export type IntervalLimits = {
  readonly intervalSeconds: number
  readonly intervalMaxSeconds: number
  /** Answers a second above which the interval grows. */
  readonly targetAnswers: number
}

export type IntervalState = {
  /**
   * Answers a second, smoothed over an interval: shorter, and the bunches that every change of it makes would
   * echo.
   */
  readonly rate: number
  /** The interval that the peers asking now were given, smoothed over its own length. */
  readonly heldSeconds: number
  /** The interval to hand out now. */
  readonly seconds: number
}

/** Largest step of the interval, as a share of it, a second. */
const STEP = 0.002

export const startInterval = (limits: IntervalLimits): IntervalState => ({
  rate: 0,
  heldSeconds: limits.intervalSeconds,
  seconds: limits.intervalSeconds,
})

/**
 * One step of `elapsedSeconds` in which `answers` were given. Peers that come back every `heldSeconds` cause
 * `rate`, so there are about rate x heldSeconds of them; spread over the target that is the interval to ask
 * of them.
 */
export function nextInterval(
  state: IntervalState,
  answers: number,
  elapsedSeconds: number,
  limits: IntervalLimits,
): IntervalState {
  if (elapsedSeconds <= 0) return state
  const follow = (from: number, to: number, over: number): number =>
    to + (from - to) * Math.exp(-elapsedSeconds / over)
  const rate = follow(state.rate, answers / elapsedSeconds, state.heldSeconds)
  const heldSeconds = follow(state.heldSeconds, state.seconds, state.heldSeconds)
  const wished = clamp(
    (rate * heldSeconds) / limits.targetAnswers,
    limits.intervalSeconds,
    limits.intervalMaxSeconds,
  )
  const step = state.seconds * STEP * elapsedSeconds
  const seconds = clamp(
    clamp(wished, state.seconds - step, state.seconds + step),
    limits.intervalSeconds,
    limits.intervalMaxSeconds,
  )
  return { rate, heldSeconds, seconds }
}

const clamp = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value))
