// How long a thread may run before others get the core.
// Refuses: priorities; those need rights that nobody should have to give.

import { pin, putAddress, syscall4 } from './libc.ts'

const SCHED_SETATTR = process.arch === 'x64' ? 314 : 274

/** struct sched_attr. */
const attributes = pin()

/**
 * Asks for a scheduler slice of the calling thread (sched_setattr(2), Linux 6.12+): a long one lets threads
 * with short slices go first when they wake. False where the kernel knows nothing of it.
 */
export function setSchedulerSlice(nanoseconds: number): boolean {
  const { words, address } = attributes
  words.fill(0, 0, 14)
  words[0] = 48 // size; policy, flags, nice stay 0
  putAddress(words, 6, nanoseconds) // sched_runtime, 64 bits at byte 24
  return (syscall4(SCHED_SETATTR, 0, address, 0) as number) === 0
}
