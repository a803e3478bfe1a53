#!/usr/bin/env bash
# parse-torrent 11.0.24 (npm): `infoHash` is the SHA-1 of the info dictionary decoded and encoded again, not of the file's bytes.
#
# Expected: BEP 3 defines the info-hash over the bytes of the value of "info" as they stand in the file. A dictionary's keys are
# sorted as raw strings, byte by byte.
# Seen (2026-11-30): keys are sorted as JavaScript sorts text, by UTF-16 units. A key beyond the basic plane (an emoji) then comes
# before one at U+E000..U+FFFF (full-width letters), although its UTF-8 bytes come after it; and an integer above 2^53 is rounded.
# Either way the hash is that of another dictionary, so such a torrent is asked for under a hash that nobody else knows.
set -euo pipefail
command -v npm >/dev/null || { echo "cannot run: no npm"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
echo '{"private":true,"type":"module"}' >package.json
npm install --no-fund --no-audit --ignore-scripts --loglevel=error parse-torrent@11.0.24 >/dev/null || { echo "cannot run: npm install failed"; exit 77; }
cat >look.js <<'JS'
import { createHash } from 'node:crypto'
import parseTorrent from 'parse-torrent'

const text = (s) => `${Buffer.byteLength(s)}:${s}`
const pieces = Buffer.alloc(20, 'x').toString('latin1')
// Valid bencoding: keys sorted by their bytes, and extra keys in info are allowed.
const info = (extra) => `d${text('length')}i5e${text('name')}${text('a')}${text('piece length')}i16384e${text('pieces')}${text(pieces)}${extra}e`
const cases = {
  'plain keys': ['', true],
  'keys U+FF21 and U+1F600, sorted by bytes': [`${text('\uff21')}i1e${text('\u{1f600}')}i2e`, false],
  'an integer of 2^53 + 1': [`${text('z')}i9007199254740993e`, false],
}
let changed = 0
for (const [name, [extra, wantedSame]] of Object.entries(cases)) {
  const bytes = Buffer.from(info(extra))
  const torrent = Buffer.concat([Buffer.from('d4:info'), bytes, Buffer.from('e')])
  const ofTheBytes = createHash('sha1').update(bytes).digest('hex')
  const { infoHash } = await parseTorrent(torrent)
  const same = infoHash === ofTheBytes
  console.log(`${name}: SHA-1 of the bytes ${ofTheBytes}, infoHash ${infoHash}: ${same ? 'the same' : 'ANOTHER ONE'}`)
  if (same !== wantedSame) changed++
}
if (changed > 0) console.log(`changed: ${changed} of ${Object.keys(cases).length} cases are not as described`)
process.exit(changed > 0 ? 1 : 0)
JS
node look.js
