// What the log writes, for machines and for people.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type LogOptions, openLogger } from './log.ts'

function lines(options: Partial<LogOptions>, say: (log: ReturnType<typeof openLogger>) => void): string[] {
  const out: string[] = []
  say(
    openLogger(
      { level: 'info', format: 'json', name: 'r0', ...options },
      { write: (text) => out.push(text) },
    ),
  )
  return out
}

test('JSON lines carry level, name, an ISO time and the fields', () => {
  const [line] = lines({}, (log) => log.warn({ freeBytes: 12 }, 'the disk is full'))
  const record = JSON.parse(line!)
  assert.deepEqual(
    [record.level, record.name, record.msg, record.freeBytes],
    ['warn', 'r0', 'the disk is full', 12],
  )
  assert.ok(!Number.isNaN(Date.parse(record.time)))
})

test('secrets are left out, at the top and one level down, in both formats', () => {
  for (const format of ['json', 'pretty'] as const) {
    const text = lines({ format }, (log) =>
      log.info({ token: 'hunter2', control: { authorization: 'hunter2' } }, 'hello'),
    ).join('')
    assert.match(text, /hello/)
    assert.doesNotMatch(text, /hunter2/)
  }
})

test('pretty lines are for people, with fields and the stack of an error', () => {
  const text = lines({ format: 'pretty' }, (log) =>
    log.error({ err: new Error('no such disk'), at: 3 }, 'cannot write'),
  ).join('')
  assert.match(text, /^\d\d:\d\d:\d\d error r0 cannot write at=3\n {2}Error: no such disk/)
})

test('lines below the level are not written', () => {
  assert.deepEqual(
    lines({ level: 'warn' }, (log) => log.info('hello')),
    [],
  )
})
