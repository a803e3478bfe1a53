# A BitTorrent client made of libtorrent's own binding: seeds or downloads one torrent by its trackers only, and
# says what trackers answered. Refuses: every other way to find peers.
import signal
import sys
import time

import libtorrent as lt

torrent, folder, port, address4, address6 = sys.argv[1:6]
settings = {
    "user_agent": "libtorrent/" + lt.__version__,
    "listen_interfaces": f"{address4}:{port},[{address6}]:{port}",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "alert_mask": lt.alert.category_t.tracker_notification | lt.alert.category_t.error_notification,
}
session = lt.session(settings)
params = lt.add_torrent_params()
params.ti = lt.torrent_info(torrent)
params.save_path = folder
params.flags |= lt.torrent_flags.disable_pex
params.flags &= ~lt.torrent_flags.auto_managed
params.flags &= ~lt.torrent_flags.paused
session.add_torrent(params)

ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
begun = time.monotonic()
while not ended:
    session.wait_for_alert(200)
    for alert in session.pop_alerts():
        print(f"{time.monotonic() - begun:8.2f} {alert.what()}: {alert.message()}", flush=True)
