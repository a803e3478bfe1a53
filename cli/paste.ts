// What is printed to be pasted into a shell: words in quotes where they need them, and the command under the
// name that it has for whoever reads it. Refuses: other shells than those of POSIX.

/** Nothing in it that a shell would take for more than a letter. */
const PLAIN = /^[\w@%+=:,./-]+$/

/** One word, as a shell reads it back. */
export const shellWord = (word: string): string =>
  PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

export const shellWords = (words: readonly string[]): string => words.map(shellWord).join(' ')

/** npm and npx find the command of this folder; without them it was installed under its own name. */
export const skepCommand = (environment: NodeJS.ProcessEnv = process.env): string =>
  environment.npm_command === undefined ? 'skep' : 'npx skep'
