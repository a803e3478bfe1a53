// Ends one thread of a running tracker and demands that the process ends with a reason: never half alive. No
// hook in the product: Node's inspector is asked to run `process.exit(9)` inside the thread, which ends that
// thread alone. Refuses: to call it a pass when no thread was reached.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Place } from './crash-rounds.ts'
import { SOURCE } from './crash-rounds.ts'
import { logTail, startProgram, until } from './processes.ts'
import { trackerCommand, trackerReady } from './tracker-process.ts'

const END_MS = 10_000
const ATTACH_MS = 10_000

type Message = { id?: number; method?: string; params?: Record<string, unknown> }

/** One line per thread: its name, how the process ended, its last words. Throws when it lived on. */
export async function threadRuns(place: Place): Promise<string[]> {
  const seen: string[] = []
  for (let index = 0; ; index++) {
    const line = await endThread(place, index)
    if (line === undefined) return seen
    seen.push(line)
  }
}

async function endThread(place: Place, index: number): Promise<string | undefined> {
  const log = join(place.folder, `thread-${index}.log`)
  const command = trackerCommand({
    dataDir: join(place.folder, `thread-${index}`),
    log,
    udpPort: place.udpPort,
    httpPort: place.httpPort,
    hosts: [SOURCE],
    more: ['--udp-workers', '1', '--memory', '64MiB'],
  })
  const program = startProgram([command[0]!, '--inspect=127.0.0.1:0', ...command.slice(1)], { log })
  try {
    await trackerReady({ program, udpPort: place.udpPort, httpPort: place.httpPort })
    const url = /ws:\/\/\S+/.exec(readFileSync(log, 'utf8'))?.[0]
    if (url === undefined) throw new Error(`no inspector: ${logTail(log)}`)
    const workers = await attach(url)
    const worker = workers.list[index]
    if (worker === undefined) return undefined
    const begin = performance.now()
    await workers.run(worker.sessionId, 'process.exit(9)')
    // A process with an inspector attached waits for it before it ends.
    workers.close()
    const end = await until(`the process ends after its thread "${worker.title}"`, END_MS, () =>
      program.ended(),
    )
    if (end === 'exit code 0')
      throw new Error(`thread "${worker.title}" ended and the process called it success`)
    const words = logTail(log, 4)
    if (!/thread|ended|worker|exit/i.test(words)) throw new Error(`no reason was given: ${words}`)
    const seconds = ((performance.now() - begin) / 1000).toFixed(1)
    return `${worker.title}: the process ended within ${seconds} s, ${end}: ${reason(words)}`
  } finally {
    program.kill('SIGKILL')
    await program.stop()
  }
}

/** The sentence out of the last log line that is worse than a warning. */
function reason(words: string): string {
  for (const line of words.split('\n').reverse()) {
    try {
      const { level, msg, error, err, why } = JSON.parse(line) as Record<string, unknown>
      if (level === 'error' || level === 'fatal')
        return [msg, why, error, err].filter((w) => typeof w === 'string').join(': ')
    } catch {}
  }
  return words.split('\n').at(-1) ?? ''
}

/** The threads of a process, through its inspector. */
async function attach(url: string): Promise<{
  list: { sessionId: string; title: string }[]
  /** Resolves when the thread is gone. */
  run(sessionId: string, code: string): Promise<void>
  close(): void
}> {
  const socket = new WebSocket(url)
  await new Promise<void>((done, fail) => {
    socket.onopen = () => done()
    socket.onerror = () => fail(new Error(`no inspector at ${url}`))
  })
  const list: { sessionId: string; title: string }[] = []
  let id = 0
  const send = (method: string, params: object = {}): void =>
    socket.send(JSON.stringify({ id: ++id, method, params }))
  const gone = new Set<string>()
  let enabled = false
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(String(data)) as Message
    if (message.method === 'NodeWorker.attachedToWorker') {
      const { sessionId, workerInfo } = message.params as { sessionId: string; workerInfo: { title: string } }
      list.push({ sessionId, title: workerInfo.title })
    }
    if (message.method === 'NodeWorker.detachedFromWorker') gone.add(String(message.params!.sessionId))
    if (message.id === 1) enabled = true
  }
  send('NodeWorker.enable', { waitForDebuggerOnStart: false })
  await until('the inspector lists threads', ATTACH_MS, () => (enabled && list.length > 0 ? true : undefined))
  return {
    list,
    run: async (sessionId, code) => {
      const inner = { id: 1, method: 'Runtime.evaluate', params: { expression: code } }
      send('NodeWorker.sendMessageToWorker', { sessionId, message: JSON.stringify(inner) })
      await until('the thread is gone', END_MS, () => (gone.has(sessionId) ? true : undefined))
    },
    close: () => socket.close(),
  }
}
