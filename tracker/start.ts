// skep tracker and skep start: reads the configuration, runs one replica, stops it on a signal; what people see of it.
// Refuses: half a replica, and ending without a sentence and an exit code.

import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { type ConfigKey, OPTIONS, type TrackerConfig } from './config.ts'
import { addConfigFlags, configOf, newCommand } from './config-flags.ts'
import type { Source } from './config-layers.ts'
import { NetworkKeyError } from './control-token.ts'
import { INTERNAL, IO, OK, UNAVAILABLE, USAGE } from './exit-codes.ts'
import { HttpOpenError } from './http/server.ts'
import { type Logger, openLogger } from './log.ts'
import { type Running, run } from './main.ts'
import { EngineMissing } from './main-limits.ts'
import { ReplicaFailed } from './replica-handle.ts'
import { UdpOpenError } from './udp/start.ts'

/** `skep tracker`: for machines; one log line says where it answers. */
export const trackerCommand = (args: string[]): Promise<number> =>
  command(
    'skep tracker',
    'Run one tracker replica, as a server does.',
    args,
    'auto',
    (running, config, log) => {
      const { ports, hosts } = running
      log.info({ ...ports, hosts, dataDir: config.dataDir }, 'answering')
    },
  )

/** `skep start`: for people; a short page says what runs where, then the log follows. */
export const startCommand = (args: string[]): Promise<number> =>
  command(
    'skep start',
    'Run a tracker in this terminal. Ctrl-C stops it.',
    args,
    'pretty',
    (running, config) => {
      process.stdout.write(welcome(running, config))
    },
  )

type Greet = (running: Running, config: TrackerConfig, log: Logger) => void

async function command(
  name: string,
  what: string,
  args: string[],
  format: 'auto' | 'pretty',
  greet: Greet,
): Promise<number> {
  const parsed = addConfigFlags(newCommand(name, what))
  await parsed.parseAsync(args, { from: 'user' })
  const { config, sources, print } = configOf(parsed, process.env)
  if (print !== null) {
    process.stdout.write(print)
    return OK
  }
  process.title = `skep ${config.name}`
  const logFormat = config.logFormat === 'auto' ? format : config.logFormat
  const log = openLogger({ level: config.logLevel, format: logFormat, name: config.name })
  const signals = catchSignals()
  const hosts = hostsOf(config, sources)
  try {
    const running = await Promise.race([
      run({ config, sources, hosts, version: version(), log }),
      signals.second,
    ])
    await Promise.race([running.serving, running.failed, signals.first])
    for (const warning of running.warnings) log.warn(warning)
    greet(running, config, log)
    return await untilEnd(running, config, signals, log)
  } catch (error) {
    return explain(error, config, log)
  }
}

/** Waits for a signal, a request or a failure; returns the exit code. */
async function untilEnd(
  running: Running,
  config: TrackerConfig,
  signals: Signals,
  log: Logger,
): Promise<number> {
  const end = await Promise.race([
    signals.first.then((signal) => ({ why: signal, purge: config.purgeOnStop })),
    running.asked.then(({ purge }) => ({ why: 'control API', purge: purge || config.purgeOnStop })),
    running.failed,
  ])
  if (end instanceof Error) {
    // Whatever still lives must not answer any more: the caller ends the process.
    return explain(end, config, log)
  }
  log.info({ why: end.why, purge: end.purge }, 'stopping')
  await Promise.race([running.stop({ purge: end.purge }), signals.second])
  log.info('stopped')
  return OK
}

type Signals = {
  readonly first: Promise<string>
  /** Rejects at the second signal: stop at once. */
  readonly second: Promise<never>
}

class Forced extends Error {}

function catchSignals(): Signals {
  const first = Promise.withResolvers<string>()
  const second = Promise.withResolvers<never>()
  second.promise.catch(() => {})
  let seen = 0
  const take = (signal: string): void => {
    if (seen++ === 0) first.resolve(signal)
    else second.reject(new Forced(`${signal} for the second time: ended at once`))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => take(signal))
  return { first: first.promise, second: second.promise }
}

/** The addresses to listen on: `::` is left out where nobody asked for it and the machine has no IPv6. */
function hostsOf(config: TrackerConfig, sources: ReadonlyMap<ConfigKey, Source>): readonly string[] {
  if (sources.get('hosts') !== 'default') return config.hosts
  const speaksIpv6 = Object.values(networkInterfaces()).some((list) =>
    list?.some(({ family }) => family === 'IPv6'),
  )
  return config.hosts.filter((host) => speaksIpv6 || !host.includes(':'))
}

/** Logs why it ends, and returns the exit code that tells causes apart. */
function explain(error: unknown, config: TrackerConfig, log: Logger): number {
  const { code, syscall } = error as NodeJS.ErrnoException
  if (error instanceof ReplicaFailed) {
    const mend = error.kind === 'refused' || error.exitCode === IO ? '' : ' Please report this.'
    log.fatal(error.exitCode === INTERNAL ? { err: error } : {}, `${error.message}${mend}`)
    return error.exitCode
  }
  if (error instanceof UdpOpenError || error instanceof HttpOpenError || error instanceof EngineMissing) {
    log.fatal(error.message)
    return UNAVAILABLE
  }
  if (error instanceof NetworkKeyError) {
    log.fatal(error.message)
    return USAGE
  }
  if (error instanceof Forced) {
    log.fatal(error.message)
    return OK + 130
  }
  if (syscall === 'listen' || syscall === 'getaddrinfo') {
    const why = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be opened: ${code}`
    log.fatal(
      `control API port ${config.controlPort} of ${config.controlHost} ${why}; --control-port and --control-host move it`,
    )
    return UNAVAILABLE
  }
  if (syscall === 'mkdir' || syscall === 'open' || syscall === 'write') {
    log.fatal(`data folder ${config.dataDir}: ${(error as Error).message}; --data-dir names another one`)
    return IO
  }
  log.fatal({ err: error }, 'a part of the replica ended by a bug')
  return INTERNAL
}

/** What runs where, with announce URLs to paste. */
function welcome({ ports, hosts, networkKey }: Running, config: TrackerConfig): string {
  const names = hosts.flatMap(addressesOf)
  const ctlFlags =
    (ports.control === OPTIONS.controlPort.default ? '' : ` --control-port ${ports.control}`) +
    (config.dataDir === OPTIONS.dataDir.default ? '' : ` --data-dir ${config.dataDir}`)
  const urls = [
    ...names.map((host) => `udp://${host}:${ports.udp}/announce`),
    ...names.map((host) => `http://${host}:${ports.http}/announce`),
  ]
  return `
  Skep ${version()} is running: one tracker replica, ${config.name}.

  Announce URLs (paste into a client or a .torrent):
${urls.map((url) => `    ${url}`).join('\n')}

  Statistics   http://${names[0]}:${ports.http}/stats   (also /, /metrics, /readyz)
  Control API  ${config.controlHost} port ${ports.control}: skep ctl status${ctlFlags}
  Data         ${config.dataDir}${networkKey.made ? `  (new network key: ${networkKey.path})` : ''}

  Ctrl-C stops it, and nothing is forgotten.

`
}

/** The addresses behind one to listen on, as they stand in a URL: loopback first, link-local ones left out. */
function addressesOf(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host.includes(':') ? `[${host}]` : host]
  const family = host === '::' ? 'IPv6' : 'IPv4'
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const found = all.filter((address) => address.family === family && !address.address.startsWith('fe80:'))
  found.sort((a, b) => Number(b.internal) - Number(a.internal))
  return found.map(({ address }) => (family === 'IPv6' ? `[${address}]` : address))
}

export function version(): string {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version
}
