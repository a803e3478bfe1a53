// The port for probes and Prometheus: /livez, /readyz, /metrics.
// Refuses: everything else.

import { createServer, type Server } from 'node:http'

export type Answers = {
  /** '' : fine; else what is wrong. */
  live(): string
  ready(): string
  metrics(): Promise<string>
  readonly metricsType: string
}

/** Resolves when it listens; rejects when the port is taken. */
export const serve = (host: string, port: number, answers: Answers): Promise<Server> => {
  const server = createServer((request, response) => {
    const say = (code: number, text: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(code, { 'content-type': type })
      response.end(text)
    }
    const probe = (wrong: string): void => (wrong === '' ? say(200, 'ok\n') : say(503, `${wrong}\n`))
    const path = (request.url ?? '').split('?')[0]
    if (request.method !== 'GET' && request.method !== 'HEAD') say(405, 'GET only\n')
    else if (path === '/livez') probe(answers.live())
    else if (path === '/readyz') probe(answers.ready())
    else if (path === '/metrics')
      answers.metrics().then(
        (text) => say(200, text, answers.metricsType),
        (error: unknown) => say(500, `${String(error)}\n`),
      )
    else say(404, 'there are /livez, /readyz and /metrics\n')
  })
  server.requestTimeout = 10_000
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve(server))
  })
}
