// aria2 with many torrents. It says nothing of its announces, so it can only be waited for.

import type { Steered } from './steered.ts'

export const aria2: Steered = {
  name: 'aria2',
  command: ({ torrents, content, home, port }) => [
    'aria2c',
    ...['--no-conf', '--enable-dht=true', '--enable-dht6=false', '--bt-enable-lpd=false', '--disable-ipv6'],
    ...[`--dht-listen-port=${port}`, `--dht-file-path=${home}-dht`, `--max-concurrent-downloads=99`],
    ...['--enable-peer-exchange=false', '--console-log-level=notice', '--file-allocation=none'],
    ...['--show-console-readout=false', '--summary-interval=0', `--listen-port=${port}`, `--dir=${content}`],
    ...torrents,
  ],
}
