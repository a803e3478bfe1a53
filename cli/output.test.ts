// Output whose reader is slow: bounded, counted, and said.

import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { Output } from './output.ts'

test('the reader of the log stands still: memory is bounded, and it is told how many lines are missing', async () => {
  const lines: string[] = []
  let take = (): void => {}
  const stream = new Writable({
    decodeStrings: false,
    highWaterMark: 1,
    write(chunk, _encoding, done) {
      lines.push(chunk)
      take = done
    },
  })
  const output = new Output(stream as unknown as NodeJS.WriteStream)
  const told: number[] = []
  output.again = (count) => told.push(count)
  const line = 'x'.repeat(64 * 1024)
  for (let i = 0; i < 100; i++) output.write(line)
  assert.ok(stream.writableLength <= 1024 * 1024 + 2 * line.length, `${stream.writableLength} wait`)
  const kept = 100 - output.lost
  while (lines.length < kept || stream.writableLength > 0) {
    take()
    await new Promise(setImmediate)
  }
  assert.deepEqual(told, [output.lost])
})
