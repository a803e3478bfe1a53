// From options to what each part is given, and what a person should know about the difference.
// Refuses: starting anything.

import { totalmem } from 'node:os'
import type { Source } from '@skep/cli/layers.ts'
import { showBytes } from '@skep/cli/values.ts'
import { hasPeers, replicaAddressOf } from '../config/faults.ts'
import { type ConfigKey, OPTIONS, type TrackerConfig } from '../config/options.ts'
import { addressOf } from '../replica/membership/directory.ts'
import type { ClusterOptions } from '../replica-thread/messages.ts'
import { WINDOW_MS } from '../swarm/connection-id.ts'
import type { Settings } from '../swarm/settings.ts'
import type { Store } from '../swarm/store.ts'
import { type ProducerBuffers, producerBuffers } from '../threads/producer.ts'
import { Control, controlBuffer } from '../threads/state.ts'
import { createEventFd, nativeUdp } from '../udp/start.ts'

/** Changes of one front end that may wait for their commit; a power of two. */
const PARKED_MOST = 32_768
/** Refreshes of one front end that may wait for the replica thread; a power of two. */
const TOUCHES_MOST = 65_536
/** Requests of the HTTP front end that may wait for a leader. */
const HTTP_WAITING_MOST = 4096

/** `--udp-engine mmsg` where that is not to be had. */
export class EngineMissing extends Error {}

/** What all threads share: a few control words, and three rings for each front end. */
export async function sharedMemoryOf(config: TrackerConfig) {
  if (config.udpEngine === 'mmsg' && !(await nativeUdp()))
    throw new EngineMissing('batched system calls are not to be had on this machine: use --udp-engine auto')
  const useDgram = config.udpEngine === 'dgram'
  const buffer = controlBuffer()
  const control = new Control(buffer)
  control.setIntervalSeconds(config.intervalSeconds)
  control.setIdGraceWindows(Math.ceil((config.idGraceSeconds * 1000) / WINDOW_MS))
  const workers: ProducerBuffers[] = []
  while (workers.length < config.udpWorkers)
    workers.push(producerBuffers(PARKED_MOST, TOUCHES_MOST, await createEventFd(useDgram)))
  return { buffer, control, workers, producer: producerBuffers(PARKED_MOST, TOUCHES_MOST), useDgram }
}

export const udpOptionsOf = (config: TrackerConfig) => ({
  port: config.udpPort,
  limits: {
    parkForMs: config.parkForMs,
    answerBytes: config.udpAnswerBytes,
    receiveBufferBytes: config.udpReceiveBufferBytes,
    gatherMicroseconds: config.udpGatherMicroseconds,
  },
})

/**
 * What a replica with others beside it is told of them; null: it is alone, and opens no port for replicas.
 */
export const clusterOptionsOf = (
  config: TrackerConfig,
  networkKeys: readonly string[],
): ClusterOptions | null =>
  !hasPeers(config)
    ? null
    : {
        ...config,
        address: replicaAddressOf(config)!,
        host: config.replicaHost,
        join: config.join.length > 0 ? config.join : null,
        networkKeys,
        promotes: true,
      }

/** Names by which others may ask for the control API, beside the machine's own. */
export const controlNamesOf = (config: TrackerConfig): string[] => {
  const address = addressOf(replicaAddressOf(config) ?? '')
  return [config.name, ...(address === null ? [] : [address.host])]
}

/** Where others reach the control API, host:port; '': it is on loopback. */
export function controlAddressOf(config: TrackerConfig, port: number): string {
  const { controlHost } = config
  const any = controlHost === '0.0.0.0' || controlHost === '::'
  const host = any ? addressOf(replicaAddressOf(config) ?? '')?.host : controlHost
  if (host === undefined || host === 'localhost' || host === '::1' || host.startsWith('127.')) return ''
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Opens with a signal that only counts until it is open: afterwards a stop is in order. */
export async function whileOpening<T>(
  signal: AbortSignal,
  open: (until: AbortSignal) => Promise<T>,
): Promise<T> {
  const opening = new AbortController()
  const abort = (): void => opening.abort()
  signal.addEventListener('abort', abort)
  try {
    const opened = open(opening.signal)
    if (signal.aborted) abort()
    return await opened
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

export const httpLimitsOf = (config: TrackerConfig) => ({
  maxWaiting: HTTP_WAITING_MOST,
  maxConnections: config.maxHttpConnections,
  minIntervalSeconds: config.intervalMinSeconds,
})

/** The settings that options seed at the birth of a cluster. */
export const birthSettingsOf = (config: TrackerConfig): Settings => ({
  intervalSeconds: config.intervalSeconds,
  intervalMaxSeconds: config.intervalMaxSeconds,
  numwantDefault: config.numwantDefault,
  numwantMax: config.numwantMax,
  allowPrivate: config.allowPrivate,
})

/** Options of a later start that say something else than the log: the log wins. */
export function birthWarnings(
  config: TrackerConfig,
  sources: ReadonlyMap<ConfigKey, Source>,
  store: Store,
): string[] {
  const warnings: string[] = []
  const inForce = store.settings
  const wanted = birthSettingsOf(config)
  for (const key of Object.keys(wanted) as (keyof Settings)[])
    if (sources.get(key) !== 'default' && wanted[key] !== inForce[key] && inForce.intervalSeconds > 0)
      warnings.push(
        `--${OPTIONS[key].flag} says ${wanted[key]}, the cluster's log ${inForce[key]}: the log wins; change it with skep ctl settings set`,
      )
  if (sources.get('peerDetails') !== 'default' && config.peerDetails !== store.buffers.limits.details)
    warnings.push('--peer-details differs from what this cluster was born with; what it was born with stays')
  if (config.memoryBytes > totalmem())
    warnings.push(
      `--memory ${showBytes(config.memoryBytes)} is more than the machine has (${showBytes(totalmem())})`,
    )
  return warnings
}

export function bufferWarnings(config: TrackerConfig, granted: readonly number[]): string[] {
  const least = Math.min(...granted)
  if (least >= config.udpReceiveBufferBytes) return []
  return [
    `the UDP receive buffer is ${showBytes(least)}, ${showBytes(config.udpReceiveBufferBytes)} were asked for: ` +
      `datagrams are lost in bursts. Raise it with: sysctl -w net.core.rmem_max=${config.udpReceiveBufferBytes}`,
  ]
}
