# A BitTorrent client made of libtorrent's own binding: seeds or downloads torrents by their trackers only, and says what
# trackers answered. Asked by HTTP it says when it will announce again, and does so at once. Refuses: every other way to find
# peers.
import http.server
import json
import signal
import socketserver
import sys
import threading
import time

import libtorrent as lt

folder, listen, ask = sys.argv[1:4]
settings = {
    "user_agent": "libtorrent/" + lt.__version__,
    "listen_interfaces": listen,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "alert_mask": lt.alert.category_t.tracker_notification | lt.alert.category_t.error_notification,
}
session = lt.session(settings)
handles = {}
for torrent in sys.argv[4:]:
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    params.flags |= lt.torrent_flags.disable_pex
    params.flags &= ~lt.torrent_flags.auto_managed
    params.flags &= ~lt.torrent_flags.paused
    handles[str(params.ti.info_hash())] = session.add_torrent(params)


def told(handle):
    """The first tracker, as the first local address and the v1 hash see it; `next` is null before the first try ended."""
    endpoints = handle.trackers()[0]["endpoints"]
    if not endpoints:
        return {"fails": 0, "next": None, "text": ""}
    seen = endpoints[0]["info_hashes"][0]
    tried = not seen["updating"] and (seen["fails"] > 0 or seen["start_sent"])
    left = max(0, seen["next_announce"] - time.time()) if tried else None
    return {"fails": seen["fails"], "next": left, "text": seen["message"]}


class Ask(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, verb, info_hash = self.path.split("/")
        if verb == "again":
            handles[info_hash].force_reannounce(0, -1, lt.reannounce_flags_t.ignore_min_interval)
        body = json.dumps(told(handles[info_hash])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if ask != "-":
    address, port = ask.rsplit(":", 1)
    # HTTPServer would look up the name of its address first, for ten seconds where nobody answers.
    web = socketserver.TCPServer((address, int(port)), Ask)
    threading.Thread(target=web.serve_forever, daemon=True).start()

ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
begun = time.monotonic()
while not ended:
    session.wait_for_alert(200)
    for alert in session.pop_alerts():
        print(f"{time.monotonic() - begun:8.2f} {alert.what()}: {alert.message()}", flush=True)
