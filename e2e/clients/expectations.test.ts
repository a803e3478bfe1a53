// The tables of docs/http.md say what the clients were seen to do. Refuses: to run a client; `npm run
// e2e:clients` does.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { FAILURES, REACTIONS, reactionsTable, SAID } from './expectations.ts'

const lines = readFileSync(new URL('../../docs/http.md', import.meta.url), 'utf8').split('\n')
const cells = (line: string): string[] =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim())

test('what operators read of how clients react is what the client run holds against real clients', () => {
  const from = lines.findIndex((line) => line.startsWith('| client |'))
  const table = reactionsTable()
  assert.deepEqual(lines.slice(from, from + table.length), table)
})

test('each failure that is caused with real clients has its row, and looks as it says', () => {
  for (const { cause, looks } of FAILURES) {
    const rows = lines.filter((line) => line.startsWith(`| ${cause}`))
    assert.equal(rows.length, 1, `one row begins with "${cause}"`)
    const [, http, udp] = cells(rows[0]!)
    if (looks.http !== undefined) assert.ok(http!.startsWith(SAID[looks.http]), `${cause} by HTTP: ${http}`)
    const byUdp = udp === 'the same' ? http! : udp!
    if (looks.udp === undefined) assert.equal(udp, '', `${cause} is no failure by UDP`)
    else assert.ok(byUdp.startsWith(SAID[looks.udp]), `${cause} by UDP: ${udp}`)
  }
})

test('the first try that a table names is the one that is held against the client', () => {
  for (const [look, clients] of Object.entries(REACTIONS))
    for (const [client, { first, text, repeats }] of Object.entries(clients)) {
      assert.match(
        text,
        first === 'interval' ? /interval/ : new RegExp(`\\b${first}\\b`),
        `${client} ${look}`,
      )
      if (repeats !== undefined)
        assert.match(text, new RegExp(`repeats after ${repeats} s`), `${client} ${look}`)
    }
})
