#!/usr/bin/env bash
# bittorrent-tracker 11.2.3 (npm), the client of WebTorrent: asks a UDP tracker with one datagram, and never again.
#
# Expected: BEP 15 has a request repeated after 15 * 2^n seconds, n from 0 to 8, since datagrams get lost.
# Seen (2026-11-30): one connect, nothing more; after 15 seconds a warning that the request timed out, and the next try comes with
# the next interval (half an hour, before a first answer). One lost datagram, either way, costs a client the tracker until then.
set -euo pipefail
command -v npm >/dev/null || { echo "cannot run: no npm"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
# It imports WebRTC's native part also where only UDP is used; an empty package stands in for that.
mkdir stub && echo '{"name":"stub","version":"1.0.0","type":"module","exports":"./index.js"}' >stub/package.json && echo 'export class RTCPeerConnection {}; export class RTCSessionDescription {}; export class RTCIceCandidate {}; export default {}' >stub/index.js
echo '{"private":true,"type":"module","overrides":{"webrtc-polyfill":"file:./stub","node-datachannel":"file:./stub"}}' >package.json
npm install --no-fund --no-audit --ignore-scripts --loglevel=error bittorrent-tracker@11.2.3 >/dev/null || { echo "cannot run: npm install failed"; exit 77; }
cat >look.js <<'JS'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import Client from 'bittorrent-tracker/client'

const WATCHED_MS = 40_000 // BEP 15 would ask again after 15 s.
const silent = createSocket('udp4')
silent.bind(0, '127.0.0.1')
await once(silent, 'listening')
const begin = Date.now()
const seconds = () => `${((Date.now() - begin) / 1000).toFixed(1)} s`
let datagrams = 0
silent.on('message', (m) => {
  datagrams++
  console.log(`${seconds()}: datagram of ${m.length} bytes, action ${m.readUInt32BE(8)}`)
})
const client = new Client({
  infoHash: Buffer.alloc(20, 'a'),
  peerId: Buffer.alloc(20, 'b'),
  port: 6881,
  announce: [`udp://127.0.0.1:${silent.address().port}/announce`],
})
client.on('warning', (error) => console.log(`${seconds()}: warning: ${error.message}`))
client.on('error', (error) => console.log(`${seconds()}: error: ${error.message}`))
client.start()
setTimeout(() => {
  console.log(`${datagrams} datagram in ${WATCHED_MS / 1000} s to a tracker that says nothing`)
  if (datagrams !== 1) console.log('changed: it was one')
  process.exit(datagrams === 1 ? 0 : 1)
}, WATCHED_MS)
JS
node look.js
