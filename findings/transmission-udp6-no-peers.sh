#!/usr/bin/env bash
# transmission 3.00-2.1+deb12u1 (Debian 12): announces to a UDP tracker over IPv6, and never takes the IPv6 peers of its answer.
#
# Expected: BEP 15: where the announce came over IPv6, the answer holds peers of 18 bytes, address and port; the client connects to them,
# as it does to the `peers6` of an HTTP answer.
# Seen (2026-12-01): it announces, counts the answer as a success, and connects to nobody; to the same peer named by HTTP it connects.
set -euo pipefail
if [ -z "${INSIDE:-}" ]; then
  for program in apt-get dpkg-deb python3 unshare ip mount; do command -v $program >/dev/null || { echo "cannot run: no $program"; exit 77; }; done
  dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
  version=3.00-2.1+deb12u1
  apt-get download transmission-cli=$version libminiupnpc17 libnatpmp1 libevent-2.1-7 >/dev/null 2>&1 ||
    { echo "cannot run: Debian 12's transmission cannot be fetched"; exit 77; }
  for package in ./*.deb; do dpkg-deb -x "$package" root; done
  LD_LIBRARY_PATH=$(echo "$dir"/root/usr/lib/*-linux-gnu); export LD_LIBRARY_PATH
  root/usr/bin/transmission-cli --version >version 2>&1 || true
  grep -q '3\.00' version || { echo "cannot run: $(head -1 version): apt-get install transmission-cli brings what it needs"; exit 77; }
  head -1 version
  # A network of its own, in which the loopback interface has addresses that transmission takes for the Internet's.
  unshare --user --map-root-user --net --mount true 2>/dev/null || { echo "cannot run: no namespaces here"; exit 77; }
  script=$(realpath "$OLDPWD/$0" 2>/dev/null || realpath "$0")
  INSIDE=1 unshare --user --map-root-user --net --mount --pid --fork --kill-child bash "$script"
  exit
fi
ip link set lo up
ip addr add 3ffe:87::1/128 dev lo nodad
ip addr add 198.51.100.1/32 dev lo
ip -6 route add default dev lo src 3ffe:87::1
ip route add default dev lo src 198.51.100.1
printf '127.0.0.1 localhost\n3ffe:87::1 tracker6.test\n' >hosts
mount --bind hosts /etc/hosts
python3 - root/usr/bin/transmission-cli <<'PY'
import hashlib, http.server, os, socket, struct, subprocess, sys, threading, time

ADDRESS = '3ffe:87::1'
def free(kind):
    with socket.socket(socket.AF_INET6, kind) as s:
        s.bind((ADDRESS, 0))
        return s.getsockname()[1]

def compact(port):
    return socket.inet_pton(socket.AF_INET6, ADDRESS) + struct.pack('>H', port)

# The peer of each torrent: whoever connects to it has taken it from the tracker.
connected = {}
def peer(name):
    s = socket.create_server((ADDRESS, 0), family=socket.AF_INET6)
    def serve():
        s.accept()
        connected.setdefault(name, time.time())
    threading.Thread(target=serve, daemon=True).start()
    return s.getsockname()[1]
peers = {'udp': peer('udp'), 'http': peer('http')}

announced = {}
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind((ADDRESS, 0))
def serve_udp():
    while True:
        m, at = udp.recvfrom(2048)
        action, transaction = struct.unpack('>II', m[8:16])
        if action == 0:
            udp.sendto(struct.pack('>IIQ', 0, transaction, 7), at)
        elif action == 1:
            announced.setdefault('udp', time.time())
            udp.sendto(struct.pack('>IIIII', 1, transaction, 60, 0, 1) + compact(peers['udp']), at)

class Http(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if not self.path.startswith('/announce'):
            return self.send_error(404)
        announced.setdefault('http', time.time())
        body = b'd8:completei1e10:incompletei0e8:intervali60e5:peers0:6:peers618:' + compact(peers['http']) + b'e'
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
class Web(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
web = Web((ADDRESS, 0), Http)
for target in (serve_udp, web.serve_forever):
    threading.Thread(target=target, daemon=True).start()
urls = {'udp': 'udp://tracker6.test:%d/announce' % udp.getsockname()[1], 'http': 'http://tracker6.test:%d/announce' % web.server_port}

clients = []
for name, url in urls.items():
    os.makedirs(name)
    info = b'd6:lengthi16384e4:name%d:%s12:piece lengthi16384e6:pieces20:%se' % (len(name), name.encode(), hashlib.sha1(name.encode()).digest())
    open(name + '.torrent', 'wb').write(b'd8:announce%d:%s4:info%se' % (len(url), url.encode(), info))
    open(name + '/settings.json', 'w').write('{"dht-enabled":false,"pex-enabled":false,"lpd-enabled":false,"utp-enabled":false,'
        '"port-forwarding-enabled":false,"rpc-enabled":false,"encryption":0}')
    clients.append(subprocess.Popen([sys.argv[1], '-g', name, '-w', name, '-p', str(free(socket.SOCK_STREAM)), '-M', name + '.torrent'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, 'HOME': os.getcwd()}))
# Both have announced and the one has connected; the other one is given as long again, and at least 20 seconds.
end = time.time() + 90
while time.time() < end and not (len(announced) == 2 and 'http' in connected):
    time.sleep(0.2)
if len(announced) == 2 and 'http' in connected:
    patience = max(20, 2 * (connected['http'] - announced['http']))
    while time.time() < max(announced['udp'], connected['http']) + patience and 'udp' not in connected:
        time.sleep(0.2)
for client in clients:
    client.kill()
for name in ('http', 'udp'):
    print('%s: %s, %s' % (name, 'announced' if name in announced else 'did not announce',
        'connected to the IPv6 peer' if name in connected else 'connected to nobody'))
sys.stdout.flush()
if 'udp' not in announced or 'http' not in announced:
    print('cannot run: an announce did not come')
    os._exit(77)
as_described = 'http' in connected and 'udp' not in connected
if not as_described:
    print('changed: by HTTP it took the IPv6 peer, and by UDP it did not')
sys.stdout.flush()
os._exit(0 if as_described else 1)
PY
