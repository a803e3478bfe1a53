// Seeded rubbish for what reads typed calls: bodies of HTTP/1.1 by length and in chunks, JSON and binary
// messages against the schema and its rules. Refuses: as fuzz-parsers.ts; a refusal of the decoder is an
// answer.

import { create, fromBinary, fromJsonString, toBinary } from '@bufbuild/protobuf'
import { createValidator } from '@bufbuild/protovalidate'
import type { Random } from '@skep/testing/random.ts'
import {
  AnnounceRequestSchema,
  ScrapeRequestSchema,
} from '@skep/wire/proto/gen/skep/tracker/v1/tracker_pb.js'
import { bodyOf } from '../tracker/http/body.ts'
import { CALL_MOST_BYTES } from '../tracker/http/calls.ts'
import { endOfHead, readHead } from '../tracker/http/head.ts'
import { type FuzzTarget, target } from './fuzz-parsers.ts'
import { mutateBytes, mutateText, randomBytes } from './mutate.ts'

const TEXT_MOST = 2000

const json = (random: Random): string =>
  JSON.stringify({
    infoHash: Buffer.from(randomBytes(random, 20)).toString(random.below(2) === 0 ? 'hex' : 'base64'),
    peerId: Buffer.from(randomBytes(random, 20)).toString('base64'),
    port: random.below(70_000),
    leftBytes: String(random.word()),
    event: 'started',
  })

function request(random: Random): string {
  const body = json(random)
  const cut = 1 + random.below(body.length - 1)
  const chunks = [body.slice(0, cut), body.slice(cut), '']
    .map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}${chunk === '' ? '' : '\r\n'}`)
    .join('')
  const rest =
    random.below(2) === 0
      ? `Content-Length: ${body.length}\r\n\r\n${body}`
      : `Transfer-Encoding: chunked\r\n\r\n${chunks}\r\n`
  return `POST /skep.tracker.v1.Tracker/Announce HTTP/1.1\r\nHost: t\r\n${rest}`
}

export function callTargets(): FuzzTarget[] {
  const validator = createValidator()
  const schemas = [AnnounceRequestSchema, ScrapeRequestSchema]
  /** What the decoder lets through, the rules must be able to judge. */
  const judge = (decode: (schema: (typeof schemas)[number]) => ReturnType<typeof fromBinary>): void => {
    for (const schema of schemas) {
      let message: ReturnType<typeof fromBinary>
      try {
        message = decode(schema)
      } catch {
        continue
      }
      const result = validator.validate(schema, message as never)
      if (result.kind === 'error') throw result.error
    }
  }
  return [
    target('bodies of HTTP/1.1', (random, keep) => {
      const text = mutateText(random, request(random), TEXT_MOST)
      keep(text)
      const end = endOfHead(text, 0)
      if (end <= 0) return
      const head = readHead(text, 0, end)
      const body = bodyOf(text, end, head, CALL_MOST_BYTES)
      if (body.kind !== 'body') return
      if (body.next > text.length || body.next < end) throw new Error(`the next request is at ${body.next}`)
      if (body.text.length > CALL_MOST_BYTES) throw new Error(`${body.text.length} bytes of body`)
    }),
    target('messages of calls, JSON', (random, keep) => {
      const text = mutateText(random, json(random), TEXT_MOST)
      keep(text)
      judge((schema) => fromJsonString(schema, text, { ignoreUnknownFields: false }))
    }),
    target('messages of calls, binary', (random, keep) => {
      const good = { infoHash: new Uint8Array(20), peerId: new Uint8Array(20), port: random.below(70_000) }
      const binary = toBinary(AnnounceRequestSchema, create(AnnounceRequestSchema, good))
      const bytes = mutateBytes(random, binary, TEXT_MOST)
      keep(bytes)
      judge((schema) => fromBinary(schema, bytes))
    }),
  ]
}
