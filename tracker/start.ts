// skep tracker and skep start: reads the configuration, runs one replica, stops it on a signal; what people
// see of it. Refuses: half a replica, and ending without a sentence and an exit code.

import { newCommand } from '@skep/cli/command.ts'
import { INTERNAL, OK, REMOVED, UNAVAILABLE } from '@skep/cli/exit-codes.ts'
import { STANDARD_OUTPUT } from '@skep/cli/output.ts'
import { catchSignals, Forced, type Signals } from '@skep/cli/signals.ts'
import { ListRefused } from './access/lists.ts'
import type { TrackerConfig } from './config/options.ts'
import { addConfigFlags, configOf } from './config/table.ts'
import { HttpOpenError } from './http/open-error.ts'
import { FolderError } from './keys/folder.ts'
import { NetworkKeyError } from './keys/network-key.ts'
import { type Logger, openLogger } from './log.ts'
import { type Running, run } from './main.ts'
import { leave } from './opening/leave.ts'
import { EngineMissing } from './opening/parts.ts'
import { ReplicaFailed } from './replica-thread/handle.ts'
import { type Answering, addReplicasFlag, replicasOf, runCluster } from './start/cluster.ts'
import { firstWords, hostsOf, version, welcome } from './start/welcome.ts'
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
      // skep start --replicas waits for it.
      process.send?.({ ...ports, hosts, allowPrivate: running.settings().allowPrivate } satisfies Answering)
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
      STANDARD_OUTPUT.write(welcome(running, config))
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
  if (format === 'pretty') addReplicasFlag(parsed)
  await parsed.parseAsync(args, { from: 'user' })
  const configured = configOf(parsed, process.env)
  const { config, sources, print } = configured
  if (print !== null) {
    process.stdout.write(print)
    return OK
  }
  const replicas = format === 'pretty' ? replicasOf(parsed) : 1
  if (replicas > 1) return await runCluster(configured, replicas)
  process.title = `skep ${config.name}`
  const logFormat = config.logFormat === 'auto' ? format : config.logFormat
  const log = openLogger({ level: config.logLevel, format: logFormat, name: config.name })
  const signals = catchSignals()
  const hosts = hostsOf(config, sources)
  if (format === 'pretty') STANDARD_OUTPUT.write(firstWords(config))
  if (signals.opening.aborted) {
    log.info('stopped')
    return OK
  }
  try {
    const { opening: signal } = signals
    const running = await Promise.race([
      run({ config, sources, hosts, version: version(), log, signal }),
      signals.second,
    ])
    const early = Promise.race([running.failed, running.asked, signals.first]).then(() => false)
    if (await Promise.race([early, running.serving.then(() => !signals.opening.aborted)])) {
      for (const warning of running.warnings) log.warn(warning)
      greet(running, config, log)
    }
    return await leave(await untilEnd(running, config, signals, log))
  } catch (error) {
    if (error instanceof ReplicaFailed && error.kind === 'stopped') {
      log.info('stopped')
      return await leave(OK)
    }
    return await leave(explain(error, config, log))
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
  // A supervisor should not start it again: it would only hear the same.
  return running.removed() !== '' && !end.purge ? REMOVED : OK
}

/** Logs why it ends, and returns the exit code that tells causes apart. */
function explain(error: unknown, config: TrackerConfig, log: Logger): number {
  const { code, syscall } = error as NodeJS.ErrnoException
  if (error instanceof ReplicaFailed && error.kind === 'port') {
    const why = `cannot be opened: ${error.message}`
    log.fatal(
      `replica port ${config.replicaPort} of ${config.replicaHost} ${why}; --replica-port and --replica-host move it`,
    )
    return UNAVAILABLE
  }
  if (error instanceof ReplicaFailed) {
    const bug = error.exitCode === INTERNAL
    log.fatal(bug ? { err: error } : {}, `${error.message}${bug ? ' Please report this.' : ''}`)
    return error.exitCode
  }
  if (error instanceof UdpOpenError || error instanceof HttpOpenError || error instanceof EngineMissing) {
    log.fatal(error.message)
    return UNAVAILABLE
  }
  if (error instanceof FolderError || error instanceof ListRefused || error instanceof NetworkKeyError) {
    log.fatal(error.message)
    return error.exitCode
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
  log.fatal({ err: error }, 'a part of the replica ended by a bug')
  return INTERNAL
}
