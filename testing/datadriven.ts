// Cases as text: a file of commands, each with its input and the output it must give. REWRITE=1 writes what
// came out into the file; such a diff is committed only by somebody who can explain it. It knows nothing of
// what is tested, and refuses a file that it cannot read back exactly.
//
//   # A comment, kept. `# seed=7` is also a directive: the cases after it see that seed.
//   command word key=value list=(1 2 3)
//   lines of input
//   ----
//   lines of output, up to an empty line
//
// Output with empty lines in it is fenced by a second ---- before it and two after it.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export type Case = {
  readonly command: string
  /** What follows the command without a key. */
  readonly words: readonly string[]
  /** `key=value`; for `key=(a b)` the value is `a b`. */
  readonly options: ReadonlyMap<string, string>
  /** Without the last line break. */
  readonly input: string
  /** Of the last `# seed=` above, 0 if there is none. */
  readonly seed: number
  /** `file:line`, for messages. */
  readonly place: string
}

/** Runs one case; what it returns is compared, without line breaks at the end. */
export type Handler = (c: Case) => string | Promise<string>

type Block = { readonly kept: string[]; readonly c: Case; readonly head: string[]; readonly expected: string }

const SEPARATOR = '----'

/**
 * Runs the cases of a file in order; the handler keeps whatever state lives between them. Throws at the first
 * difference, naming file and line. With REWRITE=1 in the environment all cases run and the file is
 * rewritten.
 */
export const runCases = async (file: URL | string, handler: Handler): Promise<void> => {
  const path = typeof file === 'string' ? file : fileURLToPath(file)
  const { blocks, tail } = parseCases(readFileSync(path, 'utf8'), path)
  const rewriting = process.env.REWRITE === '1'
  const written: string[] = []
  for (const { kept, c, head, expected } of blocks) {
    const actual = (await handler(c)).replace(/\n+$/, '')
    if (actual !== expected && !rewriting) throw new Error(difference(c, expected, actual))
    written.push(...kept, ...head, ...fenced(actual), '')
  }
  if (rewriting) writeFileSync(path, `${[...written, ...tail].join('\n').replace(/\n+$/, '')}\n`)
}

const difference = (c: Case, expected: string, actual: string): string => {
  const [want, got] = [expected.split('\n'), actual.split('\n')]
  const at = want.findIndex((line, i) => line !== got[i])
  const first = at < 0 ? want.length : at
  return [
    `${c.place}: ${c.command}: line ${first + 1} of the output differs (REWRITE=1 accepts it)`,
    `--- expected\n${expected}\n--- actual\n${actual}`,
  ].join('\n')
}

const fenced = (output: string): string[] => {
  if (output === '') return [SEPARATOR]
  if (!output.split('\n').includes('')) return [SEPARATOR, output]
  return [SEPARATOR, SEPARATOR, output, SEPARATOR, SEPARATOR]
}

/** Takes a file apart. `tail`: lines after the last case. */
export const parseCases = (text: string, path: string): { blocks: Block[]; tail: string[] } => {
  const lines = text.replace(/\n+$/, '').split('\n')
  const blocks: Block[] = []
  let kept: string[] = []
  let seed = 0
  for (let i = 0; i < lines.length; ) {
    const line = lines[i]!
    if (line.trim() === '' || line.startsWith('#')) {
      const directive = /^# seed=(\d+)$/.exec(line)
      if (directive !== null) seed = Number(directive[1])
      kept.push(line)
      i++
      continue
    }
    const place = `${path}:${i + 1}`
    const separator = lines.indexOf(SEPARATOR, i)
    if (separator < 0) throw new Error(`${place}: no ${SEPARATOR} after the command`)
    const head = lines.slice(i, separator)
    const { expected, next } = parseOutput(lines, separator + 1, place)
    const input = head.slice(1).join('\n')
    if (head.slice(1).includes('')) throw new Error(`${place}: an empty line in the input`)
    blocks.push({ kept, head, expected, c: { ...parseCommand(line), input, seed, place } })
    kept = []
    i = next
  }
  return { blocks, tail: kept }
}

const parseOutput = (lines: string[], from: number, place: string): { expected: string; next: number } => {
  let end = from
  if (lines[from] !== SEPARATOR) {
    while (end < lines.length && lines[end] !== '') end++
    return { expected: lines.slice(from, end).join('\n'), next: end + 1 }
  }
  while (end < lines.length && !(lines[end] === SEPARATOR && lines[end + 1] === SEPARATOR && end > from))
    end++
  if (end >= lines.length) throw new Error(`${place}: the fenced output does not end`)
  return { expected: lines.slice(from + 1, end).join('\n'), next: end + 3 }
}

const parseCommand = (line: string): Pick<Case, 'command' | 'words' | 'options'> => {
  const words: string[] = []
  const options = new Map<string, string>()
  for (const part of line.match(/[^\s=]+=\([^)]*\)|\S+/g) ?? []) {
    const option = /^([^=]+)=(.*)$/s.exec(part)
    if (option === null || words.length === 0) words.push(part)
    else options.set(option[1]!, option[2]!.replace(/^\((.*)\)$/s, '$1'))
  }
  return { command: words[0]!, words: words.slice(1), options }
}

/** An option that must be an integer; `otherwise` when it is absent. */
export const integerOption = (c: Case, key: string, otherwise?: number): number => {
  const text = c.options.get(key)
  if (text === undefined && otherwise !== undefined) return otherwise
  const n = Number(text)
  if (text === undefined || !Number.isSafeInteger(n)) throw new Error(`${c.place}: ${key} must be an integer`)
  return n
}

/** An option that is a list of integers, separated by spaces or commas; empty when it is absent. */
export const integersOption = (c: Case, key: string): number[] => {
  const parts = (c.options.get(key) ?? '').split(/[\s,]+/).filter((part) => part !== '')
  const numbers = parts.map(Number)
  if (!numbers.every(Number.isSafeInteger)) throw new Error(`${c.place}: ${key} must be a list of integers`)
  return numbers
}
