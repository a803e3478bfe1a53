// Where the scenarios run: the test cluster of lab.ts, or the cluster that KUBECONFIG names. Refuses: to
// guess what a foreign cluster allows; what needs the test cluster's power is left out there, and listed.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kubeTools } from '@skep/testing/tools/tools.ts'
import { olderTree, THIS_TREE } from '../older-tree.ts'
import { type Api, openApi } from './api.ts'
import { buildServers } from './build.ts'
import { buildImage } from './image.ts'
import { type Done, type Lab, labAt, runProgram, startLab } from './lab.ts'
import { type Outside, startOutside } from './outside-link.ts'

/** An image name without registry and its tags, which are versions. */
export type Images = {
  readonly repository: string
  /** This tree's image. */
  readonly tag: string
  /** The same, which says that it is a newer version. */
  readonly next: string | undefined
  /** A released version, packed from its own tree by its own tool, with the chart that it came with. */
  readonly older: { readonly tag: string; readonly chart: string } | undefined
}

export type Target = {
  readonly lab: Lab | undefined
  readonly api: Api
  readonly images: Images
  readonly env: NodeJS.ProcessEnv
  kubectl(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<Done>
  helm(args: readonly string[], options?: { major?: 3 | 4; timeoutMs?: number }): Promise<Done>
  /** Users of the tracker behind this Service, on a host outside. */
  users(namespace: string, service: string, seed: number): Promise<Outside>
}

export type TargetOptions = {
  readonly nodes: number
  readonly keep: boolean
  /** A test cluster that an earlier run left: its folder. */
  readonly state: string | undefined
  /** For a cluster of one's own: what it can pull, as repository:tag. */
  readonly image: string | undefined
  readonly nextImage: string | undefined
  /** The released version that is upgraded; undefined: none is. */
  readonly from: string | undefined
  readonly say: (line: string) => void
}

const REPOSITORY = 'localhost/skep'
const VERSION = THIS_TREE.version
const NEXT_VERSION = VERSION.replace(/\d+$/, (patch) => String(Number(patch) + 1))
const IMPORT_MS = 300_000

export async function openTarget(options: TargetOptions): Promise<Target | { missing: string }> {
  return (process.env.KUBECONFIG ?? '') === '' ? openLab(options) : openOwn(options)
}

/** Programs of the cluster that is there, with Helm's own folders away from the user's. */
function programs(
  inside: readonly string[],
  env: NodeJS.ProcessEnv,
  helms: { 3: string; 4: string },
  kubectlPath: string,
): Pick<Target, 'kubectl' | 'helm'> {
  return {
    kubectl: (args, more) => runProgram([...inside, kubectlPath, ...args], { env, ...more }),
    helm: (args, { major = 4, ...more } = {}) =>
      runProgram([...inside, helms[major], ...args], { env, ...more }),
  }
}

function scratch(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const folder = mkdtempSync(join(tmpdir(), 'skep-helm-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const own = { HELM_CACHE_HOME: folder, HELM_CONFIG_HOME: folder, HELM_DATA_HOME: folder }
  return { ...env, ...own }
}

async function openLab(options: TargetOptions): Promise<Target | { missing: string }> {
  const { say } = options
  const built = await buildServers(say)
  if (built.kind === 'missing') return { missing: built.reason }
  const found = await kubeTools()
  if (found.kind === 'missing') return { missing: found.reason }
  const { helm3, helm4, kubectl } = found.tools
  const lab =
    options.state === undefined
      ? await startLab(built.folder, { nodes: options.nodes, keep: options.keep, say })
      : labAt(options.state, built.folder, options.nodes)
  const images = await packed(options, lab.state, (archive) => lab.act('load', archive))
  say('images are on all nodes')
  const env = scratch(lab.env)
  return {
    lab,
    images,
    env,
    api: await openApi(lab.inside, env),
    ...programs(lab.inside, env, { 3: helm3, 4: helm4 }, kubectl),
    users: async (namespace, service, seed) =>
      startOutside(lab.outside, env, {
        ...{ kubectl, namespace, service, seed: String(seed) },
        addresses: lab.outsideAddresses.join(','),
      }),
  }
}

async function openOwn(options: TargetOptions): Promise<Target | { missing: string }> {
  const found = await kubeTools()
  const { helm3, helm4, kubectl } =
    found.kind === 'tools' ? found.tools : { helm3: 'helm', helm4: 'helm', kubectl: 'kubectl' }
  const env = scratch(process.env)
  const images = await ownImages(options, env)
  if (images === undefined)
    return {
      missing:
        'a cluster of your own needs --image REPOSITORY:TAG that it can pull (kind gets one by itself)',
    }
  const api = await openApi([], env)
  return {
    lab: undefined,
    images,
    env,
    api,
    ...programs([], env, { 3: helm3, 4: helm4 }, kubectl),
    users: async (namespace, service, seed) =>
      startOutside([], env, {
        ...{ kubectl, namespace, service, seed: String(seed) },
        addresses: await addressTowards(api),
      }),
  }
}

/** What was named; or, for kind, an image of this checkout, loaded into its nodes. */
async function ownImages(options: TargetOptions, env: NodeJS.ProcessEnv): Promise<Images | undefined> {
  if (options.image !== undefined) {
    const cut = options.image.lastIndexOf(':')
    const next = options.nextImage?.slice(options.nextImage.lastIndexOf(':') + 1)
    return {
      repository: options.image.slice(0, cut),
      tag: options.image.slice(cut + 1),
      next,
      older: undefined,
    }
  }
  const context = await runProgram(['kubectl', 'config', 'current-context'], { env })
  const name = /^kind-(.+)$/.exec(context.out.trim())?.[1]
  if (name === undefined) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'skep-kind-'))
  try {
    return await packed(options, folder, async (archive) => {
      const load = ['kind', 'load', 'image-archive', archive, '--name', name]
      const done = await runProgram(load, { env, timeoutMs: IMPORT_MS })
      if (done.code !== 0) throw new Error(`kind load image-archive: ${done.err}`)
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Images of this tree, and of an older one if that is wanted, one after another packed and loaded. */
async function packed(
  { from, say }: TargetOptions,
  folder: string,
  load: (archive: string) => Promise<void>,
): Promise<Images> {
  const each = async (tag: string, pack: (output: string, name: string) => unknown): Promise<void> => {
    const output = join(folder, `${tag}.tar`)
    await pack(output, `${REPOSITORY}:${tag}`)
    await load(output)
    rmSync(output)
  }
  for (const version of [VERSION, NEXT_VERSION])
    await each(version, (output, name) => buildImage({ output, name, version }))
  const images = { repository: REPOSITORY, tag: VERSION, next: NEXT_VERSION }
  if (from === undefined) return { ...images, older: undefined }
  // One scenario fails without it, not all.
  const tree = await olderTree(from, say).catch((error: Error) => say(`FAILED  ${error.message}`))
  if (tree === undefined) return { ...images, older: undefined }
  await each(tree.version, async (output, name) => {
    const pack = ['npm', '--prefix', tree.root, 'run', 'image', '--', '--output', output, '--name', name]
    const done = await runProgram(pack, { env: process.env, timeoutMs: IMPORT_MS })
    if (done.code !== 0) throw new Error(`the image of ${from}: ${done.err.trim() || done.out.trim()}`)
  })
  return { ...images, older: { tag: tree.version, chart: join(tree.root, 'charts/skep') } }
}

/** Our own address on the way to the nodes: what the tracker sees, unless something translates it. */
async function addressTowards(api: Api): Promise<string> {
  const [node] = await api.list('nodes', '')
  const addresses = (node?.status?.addresses ?? []) as { type: string; address: string }[]
  const address = addresses.find((one) => one.type === 'InternalIP')?.address ?? '127.0.0.1'
  const socket = createSocket('udp4')
  socket.connect(9, address)
  await once(socket, 'connect')
  const own = socket.address().address
  socket.close()
  return own
}
