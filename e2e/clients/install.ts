// Brings the real clients that are missing: Debian's packages where we are root, libtorrent from PyPI, kept
// in the cache. Refuses: to change a Python of the system, and to hide what could not be had.

import { spawnSync } from 'node:child_process'
import { cached } from '@skep/testing/tools/cache.ts'
import { has } from '../processes.ts'
import { clientsHere, LIBTORRENT } from './programs.ts'

const LIBTORRENT_VERSION = '2.1.1'
/** An unreachable index is given up after so long. */
const PIP_MS = 120_000

export async function installClients(say: (line: string) => void): Promise<void> {
  if (has('python3'))
    await libtorrent()
      .then((folder) => {
        process.env[LIBTORRENT] = folder
      })
      .catch((error: Error) => say(`libtorrent ${LIBTORRENT_VERSION} could not be had: ${error.message}`))
  const packages = clientsHere().missing.flatMap(({ client }) => client.debian ?? [])
  if (packages.length === 0 || process.getuid?.() !== 0 || !has('apt-get')) return
  say(`installing ${packages.join(', ')}`)
  spawnSync('apt-get', ['update', '-qq'], { stdio: 'ignore' })
  const done = spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    encoding: 'utf8',
  })
  if (done.status !== 0) say(`apt-get could not install them: ${done.stderr.trim().split('\n').at(-1)}`)
}

/** The folder of the package, for the Python that is here. */
function libtorrent(): Promise<string> {
  const run = (...args: string[]): string => {
    const done = spawnSync('python3', args, { encoding: 'utf8', timeout: PIP_MS })
    if (done.error !== undefined) throw done.error
    if (done.status !== 0) throw new Error(done.stderr.trim().split('\n').at(-1))
    return done.stdout.trim()
  }
  const python = run('-c', 'import sys; print("%d.%d" % sys.version_info[:2])')
  return cached(`libtorrent-${LIBTORRENT_VERSION}-python${python}`, async (folder) => {
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:']
    run('-m', 'pip', 'install', ...quiet, '--target', folder, `libtorrent==${LIBTORRENT_VERSION}`)
    run('-c', `import sys; sys.path.insert(0, ${JSON.stringify(folder)}); import libtorrent`)
  })
}
