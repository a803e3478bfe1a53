// Options of the operator: flag before variable before default, and a sentence for what is wrong.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UsageError } from '@skep/cli/command.ts'
import { readConfig } from './config.ts'

test('a flag wins over its variable, a variable over the default', () => {
  const { config } = readConfig(['--namespaces=a, b', '--leader-elect'], {
    SKEP_OPERATOR_NAMESPACES: 'c',
    SKEP_OPERATOR_WORKERS: '9',
    SKEP_OPERATOR_LEADER_ELECT: 'off',
  })
  assert.deepEqual(config.namespaces, ['a', 'b'])
  assert.equal(config.workers, 9)
  assert.equal(config.leaderElect, true)
  assert.equal(config.metricsPort, 8080)
  assert.equal(readConfig(['--leader-elect=off'], {}).config.leaderElect, false)
})

test('what is printed says where each value comes from, and can be read again by eye', () => {
  const { print } = readConfig(['--print-config', '--metrics-port', '0'], { SKEP_OPERATOR_LEASE: 'x' })
  assert.match(print ?? '', /^metrics-port: 0 {2}# flag$/m)
  assert.match(print ?? '', /^lease: x {2}# variable$/m)
  assert.match(print ?? '', /^workers: 4 {2}# default$/m)
})

test('what is wrong is named', () => {
  for (const [args, wrong] of [
    [['--workers', '65'], /--workers: must be a whole number from 1 to 64/],
    [['--metrics-port', 'x'], /--metrics-port/],
    [['--leader-elect=yes'], /--leader-elect: must be on or off/],
    [['--namespaces', 'Not_A_Name'], /Not_A_Name/],
    [['--log-level', 'loud'], /must be one of debug/],
  ] as const)
    assert.throws(
      () => readConfig(args, {}),
      (error) => error instanceof UsageError && wrong.test(error.message),
    )
  assert.throws(() => readConfig(['--worker', '1'], {}), /--workers/)
})
