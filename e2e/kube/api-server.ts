// A real Kubernetes API server on loopback, without nodes: for what only it can say, such as whether a schema
// holds. It comes from the test cluster's cache (`npm run test:kube` fills it). Refuses: to build anything,
// and controllers: nothing that is created ever happens.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type KubeTools, kubeCache, needKubeTools } from '@skep/testing/tools/tools.ts'
import { freePorts, until } from '../processes.ts'
import { sourceKey } from './build.ts'

const run = promisify(execFile)
const START_MS = 180_000

export type ApiServer = {
  readonly kubeconfig: string
  readonly tools: KubeTools
  /** A request without kubectl: status code and JSON of the answer. */
  ask(
    method: string,
    path: string,
    body: string,
    contentType: string,
  ): Promise<{ code: number; answer: Record<string, unknown> }>
  /** Standard output, or what it said instead; never rejects. */
  kubectl(args: readonly string[], input?: string): Promise<{ code: number; out: string; err: string }>
  stop(): void
}

/** Started and ready. Rejects if it is not built or does not get ready. */
export async function startApiServer(): Promise<ApiServer> {
  const tools = await needKubeTools()
  const bin = join(kubeCache(), `servers-${sourceKey()}`)
  if (!existsSync(join(bin, 'kube-apiserver')))
    throw new Error('the API server is not built: npm run test:kube builds it, some ten minutes once')
  const folder = mkdtempSync(join(tmpdir(), 'skep-api-'))
  const [client, peer, secure] = (await freePorts(3)) as [number, number, number]
  await certificates(folder)
  const url = (port: number): string => `http://127.0.0.1:${port}`
  const programs = [
    start(folder, join(bin, 'etcd'), [
      ...['--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync', '--log-level', 'warn'],
      ...['--listen-client-urls', url(client), '--advertise-client-urls', url(client)],
      ...['--listen-peer-urls', url(peer), '--initial-advertise-peer-urls', url(peer)],
      ...['--initial-cluster', `default=${url(peer)}`],
    ]),
    start(folder, join(bin, 'kube-apiserver'), [
      ...[
        '--etcd-servers',
        url(client),
        '--secure-port',
        String(secure),
        '--cert-dir',
        join(folder, 'certs'),
      ],
      ...['--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1', '--authorization-mode', 'RBAC'],
      ...['--service-cluster-ip-range', '10.97.0.0/16', '--client-ca-file', join(folder, 'ca.crt')],
      ...['--service-account-issuer', 'https://test.example', '--v', '0'],
      ...['--service-account-key-file', join(folder, 'sa.pub')],
      ...['--service-account-signing-key-file', join(folder, 'sa.key')],
    ]),
  ]
  const stop = (): void => {
    for (const program of programs) program.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  const kubeconfig = writeConfig(folder, secure)
  const kubectl: ApiServer['kubectl'] = async (args, input) => {
    const child = run(tools.kubectl, ['--kubeconfig', kubeconfig, ...args], { maxBuffer: 1 << 24 })
    child.child.stdin!.end(input ?? '')
    try {
      const { stdout, stderr } = await child
      return { code: 0, out: stdout, err: stderr }
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
      return { code, out: stdout, err: stderr }
    }
  }
  const credentials = {
    cert: readFileSync(join(folder, 'admin.crt')),
    key: readFileSync(join(folder, 'admin.key')),
    rejectUnauthorized: false,
  }
  const ask: ApiServer['ask'] = async (method, path, body, contentType) => {
    const outgoing = request({ ...credentials, host: '127.0.0.1', port: secure, method, path })
    outgoing.setHeader('content-type', contentType)
    outgoing.end(body)
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const text = Buffer.concat(await response.toArray()).toString('utf8')
    return { code: response.statusCode ?? 0, answer: JSON.parse(text) }
  }
  try {
    await until('the API server is ready', START_MS, async () => {
      const ended = programs.find((p) => p.exitCode !== null)
      if (ended !== undefined)
        throw new Error(`it ended: ${readFileSync(join(folder, 'log'), 'utf8').slice(-2000)}`)
      return (await kubectl(['get', '--raw', '/readyz'])).code === 0 ? true : undefined
    })
  } catch (error) {
    stop()
    throw error
  }
  return { kubeconfig, tools, ask, kubectl, stop }
}

function start(folder: string, program: string, args: readonly string[]) {
  const log = openSync(join(folder, 'log'), 'a')
  const child = spawn(program, args, { stdio: ['ignore', log, log] })
  child.unref()
  return child
}

async function certificates(folder: string): Promise<void> {
  const openssl = (...args: string[]): Promise<unknown> => run('openssl', args, { cwd: folder })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await openssl(
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    '-subj',
    '/CN=ca',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
  )
  await openssl('genrsa', '-out', 'sa.key', '2048')
  await openssl('rsa', '-in', 'sa.key', '-pubout', '-out', 'sa.pub')
  const subject = ['-subj', '/O=system:masters/CN=admin']
  await openssl('req', '-new', ...key, ...subject, '-keyout', 'admin.key', '-out', 'admin.csr')
  const signer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2']
  await openssl('x509', '-req', '-in', 'admin.csr', ...signer, '-out', 'admin.crt')
}

function writeConfig(folder: string, port: number): string {
  const path = join(folder, 'admin.conf')
  const user = { 'client-certificate': join(folder, 'admin.crt'), 'client-key': join(folder, 'admin.key') }
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'c', cluster: { server: `https://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } },
    ],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'c',
  }
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 })
  return path
}
