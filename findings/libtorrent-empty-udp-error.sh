#!/usr/bin/env bash
# libtorrent 2.1.1 (PyPI): the text of a UDP tracker's error (BEP 15, action 3) reaches nobody.
#
# Expected: as with "failure reason" by HTTP, whose words are in tracker_error_alert.error_message() and in the client's list of trackers.
# Seen (2026-11-30): the alert comes, its text is empty. People see that the tracker failed, never why.
set -euo pipefail
command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || { echo "cannot run: no python3 with pip"; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target packages libtorrent==2.1.1 2>pip.log ||
  { echo "cannot run: $(tail -1 pip.log)"; exit 77; }
PYTHONPATH=packages python3 - <<'PY'
import http.server, os, socket, struct, sys, threading, time
import libtorrent as lt

WORDS = 'torrent not registered here'
print('libtorrent', lt.__version__)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('127.0.0.1', 0))

def serve_udp():
    while True:
        m, at = udp.recvfrom(2048)
        action, transaction = struct.unpack('>II', m[8:16])
        reply = struct.pack('>IIQ', 0, transaction, 7) if action == 0 else struct.pack('>II', 3, transaction) + WORDS.encode()
        udp.sendto(reply, at)

class Http(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ('d14:failure reason%d:%se' % (len(WORDS), WORDS)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

web = http.server.HTTPServer(('127.0.0.1', 0), Http)
for target in (serve_udp, web.serve_forever):
    threading.Thread(target=target, daemon=True).start()
urls = ['udp://127.0.0.1:%d/announce' % udp.getsockname()[1], 'http://127.0.0.1:%d/announce' % web.server_port]

session = lt.session({'listen_interfaces': '127.0.0.1:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False,
    'enable_natpmp': False, 'announce_to_all_tiers': True, 'alert_mask': lt.alert.category_t.tracker_notification})
p = lt.add_torrent_params()
p.info_hashes = lt.info_hash_t(lt.sha1_hash(b'a' * 20))
p.save_path = '.'
p.trackers = urls
p.tracker_tiers = [0, 1]
session.add_torrent(p)
said, end = {}, time.time() + 30
while len(said) < 2 and time.time() < end:
    session.wait_for_alert(500)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.tracker_error_alert):
            said.setdefault(alert.url.split(':')[0], alert.failure_reason() or alert.error_message())
for protocol in ('http', 'udp'):
    print('%s: %s' % (protocol, 'no alert' if protocol not in said else repr(said[protocol])))
sys.stdout.flush()
if len(said) < 2:
    print('cannot run: no alert within 30 s')
    os._exit(77)
as_described = said == {'http': WORDS, 'udp': ''}
if not as_described:
    print('changed: the words came by HTTP, and were empty by UDP')
sys.stdout.flush()
os._exit(0 if as_described else 1)
PY
