// Builds what the test cluster runs: Kubernetes' own servers, etcd and CoreDNS from their modules, as one Go
// module of ours; the two images that every node needs; Debian's containerd. The result is kept in the cache,
// keyed by its sources. Refuses: other platforms than Linux as root; the reason is said, and the caller
// skips.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { cached, keyOf } from '@skep/testing/tools/cache.ts'
import { kubeCache, kubeTools } from '@skep/testing/tools/tools.ts'
import { type Entry, fileEntry, type ImageConfig, writeImage } from './archive.ts'

const SERVERS = join(import.meta.dirname, 'servers')
const KUBERNETES = '1.35.4'
/** To be changed when what is made of the same sources changes. */
const FORMAT = '1'
/** One program is all of these, by the name it is called. */
const NAMES = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kube-proxy']
/** Packages of Debian and its kin, and a program of each. */
const DEBIAN = {
  containerd: 'containerd',
  runc: 'runc',
  'containernetworking-plugins': '/usr/lib/cni/bridge',
  iptables: 'iptables',
  nftables: 'nft',
  iproute2: 'ip',
  openssl: 'openssl',
  curl: 'curl',
} as const
const INSTALL_MS = 300_000
/** A cold build takes 5 to 10 minutes of two cores; a busy machine may need several times that. */
const BUILD_MS = 2_400_000

export type Built = {
  readonly kind: 'built'
  readonly folder: string
  readonly kubectl: string
  readonly helm: string
}
export type Missing = { readonly kind: 'missing'; readonly reason: string }

const missing = (reason: string): Missing => ({ kind: 'missing', reason })

/** Everything the cluster needs, or the one reason why it cannot run here. */
export async function buildServers(say: (line: string) => void): Promise<Built | Missing> {
  if (process.platform !== 'linux')
    return missing(`the nodes are Linux namespaces; this is ${process.platform}`)
  if (process.getuid?.() !== 0) return missing('the nodes are namespaces, which only root may make')
  if (!canNamespace()) return missing('namespaces cannot be made here (unshare is refused)')
  const name = `servers-${sourceKey()}`
  if (!existsSync(join(kubeCache(), name)) && !runs('go', ['version']))
    return missing('go is not installed, which the servers are built with')
  const tools = await kubeTools()
  if (tools.kind === 'missing') return missing(tools.reason)
  const packages = installPackages(say)
  if (packages !== undefined) return missing(packages)
  const folder = await cached(name, async (into) => {
    say('building Kubernetes, etcd and CoreDNS: 5 to 10 minutes, once')
    await compile(into)
    images(into)
    for (const [program, path] of Object.entries({ kubectl: tools.tools.kubectl, helm: tools.tools.helm4 }))
      symlinkSync(path, join(into, program))
  })
  return { kind: 'built', folder, kubectl: tools.tools.kubectl, helm: tools.tools.helm4 }
}

const runs = (program: string, args: readonly string[]): boolean =>
  spawnSync(program, args, { stdio: 'ignore' }).status === 0

const canNamespace = (): boolean =>
  runs('unshare', ['--mount', '--net', '--pid', '--uts', '--fork', 'ip', 'link', 'set', 'lo', 'up']) ||
  runs('unshare', ['--mount', '--net', '--pid', '--uts', '--fork', 'true'])

function installPackages(say: (line: string) => void): string | undefined {
  const absent = Object.entries(DEBIAN)
    .filter(([, program]) =>
      program.startsWith('/') ? !existsSync(program) : !runs('sh', ['-c', `command -v ${program}`]),
    )
    .map(([name]) => name)
  if (absent.length === 0) return undefined
  if (!runs('sh', ['-c', 'command -v apt-get'])) return `not installed: ${absent.join(', ')}`
  say(`installing ${absent.join(', ')}`)
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: INSTALL_MS } as const
  spawnSync('apt-get', ['update', '-qq'], { ...options, stdio: 'ignore' })
  const done = spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...absent], {
    ...options,
    encoding: 'utf8',
  })
  return done.status === 0
    ? undefined
    : `apt-get install ${absent.join(' ')}: ${done.stderr.trim().slice(-300)}`
}

const sources = (): string[] =>
  readdirSync(SERVERS, { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.go$|^go\.(mod|sum)$/.test(path))
    .sort()

export function sourceKey(): string {
  const parts = sources().flatMap((path) => [path, readFileSync(join(SERVERS, path))])
  return keyOf([FORMAT, process.arch, flags(), ...parts])
}

/**
 * A module build leaves v0.0.0-master in these packages, which Helm and kubectl take for a version from
 * before all APIs.
 */
function flags(): string {
  const [major, minor] = KUBERNETES.split('.')
  const stamp = ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version'].map((path) =>
    Object.entries({
      gitVersion: `v${KUBERNETES}`,
      gitMajor: major,
      gitMinor: minor,
      gitTreeState: 'clean',
      gitCommit: 'module',
      buildDate: '2026-01-01T00:00:00Z',
    })
      .map(([name, value]) => `-X ${path}.${name}=${value}`)
      .join(' '),
  )
  return `-s -w ${stamp.join(' ')}`
}

async function compile(into: string): Promise<void> {
  const child = spawn('go', ['build', '-trimpath', '-ldflags', flags(), '-o', `${into}/`, './...'], {
    cwd: SERVERS,
    env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly' },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: BUILD_MS,
  })
  let said = ''
  child.stderr.on('data', (bytes) => {
    said = `${said}${bytes}`.slice(-2000)
  })
  const code = await new Promise((done, failed) => {
    child.once('error', failed)
    child.once('close', done)
  })
  if (code !== 0) throw new Error(`go build: ${said.trim() || `exit code ${code}`}`)
  for (const name of NAMES) symlinkSync('kubeone', join(into, name))
}

/** The pause and CoreDNS images; their names sort in the order in which a node needs them. */
function images(into: string): void {
  mkdirSync(join(into, 'images'))
  for (const [order, program] of ['pause', 'coredns'].entries()) {
    const config: ImageConfig = {
      Entrypoint: [`/${program}`],
      Env: ['PATH=/'],
      WorkingDir: '/',
      User: '',
      Labels: {},
      ExposedPorts: {},
      Volumes: {},
    }
    const entries: Entry[] = [fileEntry(program, join(into, program))]
    const to = join(into, 'images', `${order}-${program}.tar`)
    writeImage(to, `localhost/${program}:1`, config, [entries], process.arch === 'arm64' ? 'arm64' : 'amd64')
  }
}
