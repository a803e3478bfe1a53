// A machine together with the directory of its members: snapshots carry both, so that who restores one knows
// whom to dial and who was removed. To the loop it is one machine. Refuses: to look into the machine's own
// chunks.
//
// The directory is the first chunk: "SKMD", CRC-32 of the rest (little-endian), JSON. A snapshot without it
// is one from before there were members: the directory stays as it was.

import { crc32 } from 'node:zlib'
import type { ConfState, Entry } from '@skep/raft'
import type { Machine, MachineSnapshot } from '../machine.ts'
import { configured, type Directory } from './directory.ts'

const MAGIC = 0x444d4b53 // "SKMD"
const HEADER_BYTES = 8

/**
 * Wrap the machine in it, give it to the loop, and call `configured` from `Source.configured`. `forgotten`:
 * an ID that was removed just now, on every member at the same entry (the machine may free what it keeps for
 * it).
 */
export class MembersMachine implements Machine {
  private readonly machine: Machine
  private readonly forgotten: (id: number) => void
  directory: Directory

  /** `directory`: as of a cluster's birth, or as the newcomer was told; a snapshot or the log replaces it. */
  constructor(machine: Machine, directory: Directory, forgotten: (id: number) => void = () => {}) {
    this.machine = machine
    this.directory = directory
    this.forgotten = forgotten
  }

  /** A configuration took effect; `entry` null: with a snapshot that was just restored. */
  configured(confState: ConfState, entry: Entry | null): void {
    const before = this.directory
    this.directory = configured(before, confState, entry)
    if (entry === null) return
    const now = new Set(this.directory.members.map((m) => m.id))
    for (const { id } of before.members) if (!now.has(id)) this.forgotten(id)
  }

  apply(index: number, term: number, data: Uint8Array): void {
    this.machine.apply(index, term, data)
  }

  applied(index: number): void {
    this.machine.applied(index)
  }

  snapshot(): MachineSnapshot {
    const first = encodeDirectory(this.directory)
    const inner = this.machine.snapshot()
    return {
      bytes: first.length + inner.bytes,
      release: () => inner.release(),
      async *chunks() {
        yield first
        yield* inner.chunks()
      },
    }
  }

  restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const take = (directory: Directory): void => void (this.directory = directory)
    return this.machine.restore(
      (async function* () {
        let first = true
        for await (const chunk of chunks) {
          const directory = first ? decodeDirectory(chunk) : null
          first = false
          // Behind the directory's odd length the machine's words would lie askew.
          if (directory === null) yield chunk.byteOffset % 4 === 0 ? chunk : Uint8Array.from(chunk)
          else take(directory)
        }
      })(),
    )
  }
}

export const encodeDirectory = ({ members, removed }: Directory): Uint8Array => {
  const json = JSON.stringify({ version: 1, members, removed })
  // White space up to a whole word: the machine's words behind it lie straight, and need no copy when they
  // are read.
  const text = Buffer.from(json + ' '.repeat((4 - (Buffer.byteLength(json) % 4)) % 4))
  const out = Buffer.alloc(HEADER_BYTES + text.length)
  out.writeUInt32LE(MAGIC, 0)
  out.writeUInt32LE(crc32(text), 4)
  text.copy(out, HEADER_BYTES)
  return out
}

/** Null: the chunk is no directory. Throws when it is one and damaged. */
export const decodeDirectory = (chunk: Uint8Array): Directory | null => {
  const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) return null
  const text = bytes.subarray(HEADER_BYTES)
  if (crc32(text) !== bytes.readUInt32LE(4))
    throw new Error('the member directory of the snapshot has a wrong checksum')
  const value = JSON.parse(text.toString()) as Directory & { version: number }
  if (value.version !== 1)
    throw new Error(`the member directory was written by a newer version (${value.version})`)
  return { members: value.members, removed: value.removed }
}
