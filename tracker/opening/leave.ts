// The end of a process in which a file system may still owe an answer. Refuses: to wait for it.

import { lastWords } from '@skep/cli/guard.ts'
import { hungReads } from '@skep/cli/settled-file.ts'

/**
 * Where a file system does not answer, a thread waits for it that no ordinary end of a process leaves behind:
 * then the process ends here. Else the code that it should end with is given back.
 */
export async function leave(code: number): Promise<number> {
  if (hungReads() === 0) return code
  await lastWords()
  const { exitNow } = await import('../native/libc.ts')
  return exitNow(code)
}
