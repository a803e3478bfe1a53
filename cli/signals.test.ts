// When a second signal is meant: an order to end at once, or the first request by another way.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isOrder } from './signals.ts'

test('a second signal is an order only when somebody can have meant it', () => {
  for (const [signal, sinceMs, terminal, order] of [
    // A process group and a process that are signalled together.
    ['SIGTERM', 3, false, false],
    ['SIGTERM', 999, true, false],
    ['SIGTERM', 1000, false, true],
    ['SIGINT', 500, false, false],
    // Ctrl-C reaches the group, and npm passes it on; then a person presses it again.
    ['SIGINT', 5, true, false],
    ['SIGINT', 300, true, true],
    ['SIGHUP', 5000, false, true],
  ] as const)
    assert.equal(isOrder(signal, sinceMs, terminal), order, `${signal} after ${sinceMs} ms`)
})
