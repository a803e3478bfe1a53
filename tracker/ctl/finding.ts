// One finding of skep ctl doctor, and how files of the system are read for it. Refuses: judging.

import { readFileSync } from 'node:fs'

export type Finding = {
  readonly verdict: 'good' | 'fair' | 'bad'
  readonly what: string
  /** What to do; '' where there is nothing to do. */
  readonly mend: string
}

export const good = (what: string): Finding => ({ verdict: 'good', what, mend: '' })
export const fair = (what: string, mend: string): Finding => ({ verdict: 'fair', what, mend })
export const bad = (what: string, mend: string): Finding => ({ verdict: 'bad', what, mend })

export function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

export function readNumber(path: string): number | null {
  const text = readText(path)
  return text === null || text.trim() === '' || Number.isNaN(Number(text)) ? null : Number(text)
}
