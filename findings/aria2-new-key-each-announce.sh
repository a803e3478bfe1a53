#!/usr/bin/env bash
# aria2 1.36.0-1 (Debian 12): draws a new `key` for each UDP announce, of the same torrent, at the same tracker, from one process.
#
# Expected: BEP 15 and BEP 7 have the key so that a tracker knows a client again when its address changes; it stays the same for as
# long as the client runs a torrent.
# Seen (2026-11-30): the peer_id stays, every announce has another key. Who tells peers apart by the key takes each refresh for a
# new client.
set -euo pipefail
for program in apt-get dpkg-deb python3; do command -v $program >/dev/null || { echo "cannot run: no $program"; exit 77; }; done
dir=$(mktemp -d); trap 'rm -rf "$dir"; [ -z "${pid:-}" ] || kill "$pid" 2>/dev/null || true' EXIT; cd "$dir"
apt-get download aria2=1.36.0-1 libaria2-0=1.36.0-1 >/dev/null 2>&1 || { echo "cannot run: Debian 12's aria2 cannot be fetched"; exit 77; }
for package in ./*.deb; do dpkg-deb -x "$package" root; done
LD_LIBRARY_PATH=$(echo root/usr/lib/*-linux-gnu); export LD_LIBRARY_PATH
root/usr/bin/aria2c --version >version 2>&1 || { echo "cannot run: $(head -1 version): apt-get install aria2 brings what it needs"; exit 77; }
head -1 version
python3 - root/usr/bin/aria2c <<'PY'
import hashlib, os, socket, struct, subprocess, sys, time

# A file and its torrent; aria2 seeds it, and announces once an interval, which is 5 s here.
data = b'x' * 16384
open('file', 'wb').write(data)
tracker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
tracker.bind(('127.0.0.1', 0))
url = 'udp://127.0.0.1:%d/announce' % tracker.getsockname()[1]
pieces = hashlib.sha1(data).digest()
info = b'd6:lengthi%de4:name4:file12:piece lengthi16384e6:pieces20:%se' % (len(data), pieces)
open('t.torrent', 'wb').write(b'd8:announce%d:%s4:info%se' % (len(url), url.encode(), info))

def free(kind):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])

client = subprocess.Popen([sys.argv[1], '--no-conf', '--quiet', '--interface=127.0.0.1', '--check-integrity=true', '--seed-ratio=0.0',
    '--enable-peer-exchange=false', '--bt-enable-lpd=false', '--dht-file-path=dht.dat', '--dht-listen-port=' + free(socket.SOCK_DGRAM),
    '--listen-port=' + free(socket.SOCK_STREAM), 't.torrent'], env={**os.environ, 'HOME': os.getcwd()})
announces, end = [], time.time() + 60
try:
    while len(announces) < 4 and time.time() < end and client.poll() is None:
        tracker.settimeout(max(0.1, end - time.time()))
        try:
            m, at = tracker.recvfrom(2048)
        except TimeoutError:
            break
        action, transaction = struct.unpack('>II', m[8:16])
        if action == 0:
            tracker.sendto(struct.pack('>IIQ', 0, transaction, 7), at)
        elif action == 1:
            key, peer = m[88:92].hex(), m[36:56].hex()
            announces.append((peer, key))
            print('announce: event %d, peer_id %s, key %s' % (struct.unpack('>I', m[80:84])[0], peer, key))
            tracker.sendto(struct.pack('>IIIII', 1, transaction, 5, 0, 1), at)
finally:
    client.kill()
    client.wait()
if len(announces) < 4:
    print('cannot run: only %d announces in a minute' % len(announces))
    sys.exit(77)
peers, keys = ({a[i] for a in announces} for i in (0, 1))
print('%d announces: %d peer_id, %d keys' % (len(announces), len(peers), len(keys)))
if (len(peers), len(keys)) != (1, len(announces)):
    print('changed: each announce had another key')
    sys.exit(1)
PY
