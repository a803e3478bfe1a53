// The three Raft messages that a member writes by hand while its core waits for a disk that takes nothing: a
// heartbeat, the answer to one, and the request to take over. None of them speaks of anything that would have
// to be on that disk. Refuses: every other message; the core writes those.

import { MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_TIMEOUT_NOW } from '@skep/raft/message.ts'

/** raftpb.Message with type (1), to (2), from (3) and term (4); commit, index and the rest are 0. */
const encode = (type: number, to: number, from: number, term: number): Uint8Array => {
  const bytes: number[] = []
  for (const [field, value] of [type, to, from, term].entries()) {
    bytes.push((field + 1) * 8)
    let rest = value
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
    bytes.push(rest)
  }
  return Uint8Array.from(bytes)
}

export const heartbeat = (to: number, from: number, term: number): Uint8Array =>
  encode(MSG_HEARTBEAT, to, from, term)

export const heartbeatAnswer = (to: number, from: number, term: number): Uint8Array =>
  encode(MSG_HEARTBEAT_RESP, to, from, term)

export const timeoutNow = (to: number, from: number, term: number): Uint8Array =>
  encode(MSG_TIMEOUT_NOW, to, from, term)
