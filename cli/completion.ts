// Completion scripts for bash, zsh and fish, made from a program's commands and its table of options.
// Refuses: asking anything that runs; completion works without it.

import { newCommand, UsageError } from './command.ts'
import { OK } from './exit-codes.ts'
import { defaultText } from './manual.ts'
import { keysOf, type OptionTable, optionOf } from './options.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

export type Program<C> = {
  /** Commands with what each is for. */
  readonly commands: readonly (readonly [name: string, note: string])[]
  /** Commands that take the options of `table`. */
  readonly configured: readonly string[]
  readonly table: OptionTable<C>
  /** What may come after each of the other commands. */
  readonly words: Readonly<Record<string, readonly string[]>>
}

/** `skep completion SHELL`. */
export async function completionCommand<C>(args: string[], program: Program<C>): Promise<number> {
  const command = newCommand('skep completion', 'Print completions: source <(skep completion bash)')
  command.argument('<shell>', SHELLS.join(', '))
  await command.parseAsync(args, { from: 'user' })
  process.stdout.write(completion(command.args[0]!, program))
  return OK
}

/** The script for `shell`. Throws `UsageError` for any other shell. */
export function completion<C>(shell: string, program: Program<C>): string {
  if (shell === 'bash') return bash(program)
  if (shell === 'zsh') return zsh(program)
  if (shell === 'fish') return fish(program)
  throw new UsageError(`completion is there for ${SHELLS.join(', ')}, not for ${shell}`)
}

/** What may come after each command that does not take the table's options. */
const wordsOf = <C>({ words }: Program<C>): [string, readonly string[]][] =>
  Object.entries({ ...words, completion: SHELLS })

/** Without flags. */
const calls = (words: readonly string[]): string => words.filter((word) => !word.startsWith('-')).join(' ')

type Row = { flag: string; note: string; choices: readonly string[]; path: boolean; bare: boolean }

/** Flag, what it takes and its default, of every option. */
const rows = <C>({ table }: Program<C>): Row[] => [
  ...keysOf(table).map((key) => {
    const { flag, type, sentence } = optionOf(table, key)
    const note = `${sentence} ${type.limits}; default ${defaultText(table, key)}`
    return { flag, note, choices: type.choices ?? [], path: type.path === true, bare: type.bare === true }
  }),
  { flag: 'config', note: 'YAML or JSON file with the same names', choices: [], path: true, bare: false },
  { flag: 'print-config', note: 'print all options, and end', choices: [], path: false, bare: true },
  { flag: 'help', note: 'show the help', choices: [], path: false, bare: true },
]

function bash<C>(program: Program<C>): string {
  const flags = rows(program)
  const cases = flags
    .filter((row) => row.choices.length > 0)
    .map(
      (row) => `    --${row.flag}) COMPREPLY=($(compgen -W '${row.choices.join(' ')}' -- "$word")); return;;`,
    )
  const words = wordsOf(program).map(
    ([name, next]) => `    ${name}) COMPREPLY=($(compgen -W '${next.join(' ')}' -- "$word"));;`,
  )
  const paths = flags.filter((row) => row.path).map((row) => `--${row.flag}`)
  return `# bash completion of skep: source <(skep completion bash)
_skep() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${program.commands.map(([name]) => name).join(' ')} --help --version' -- "$word")); return
  fi
  case "$before" in
${cases.join('\n')}
    ${paths.join('|')}) COMPREPLY=($(compgen -f -- "$word")); return;;
  esac
  case "\${COMP_WORDS[1]}" in
    ${program.configured.join('|')}) COMPREPLY=($(compgen -W '${flags.map((row) => `--${row.flag}`).join(' ')}' -- "$word"));;
${words.join('\n')}
  esac
}
complete -F _skep skep
`
}

/** Text inside zsh's `[...]` within single quotes. */
const zshText = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, '\\$&')

function zsh<C>(program: Program<C>): string {
  const specs = rows(program).map((row) => {
    const value =
      row.choices.length > 0
        ? `:value:(${row.choices.join(' ')})`
        : row.path
          ? ':file:_files'
          : row.bare
            ? ''
            : ':value: '
    return `      '--${row.flag}[${zshText(row.note)}]${row.bare && value !== '' ? `:${value}` : value}'`
  })
  const words = wordsOf(program).map(([name, next]) => `    ${name}) _values word ${calls(next)} ;;`)
  return `#compdef skep
# zsh completion of skep: source <(skep completion zsh)
_skep() {
  if (( CURRENT == 2 )); then
    local -a commands=(${program.commands.map(([name, note]) => `'${name}:${zshText(note)}'`).join(' ')})
    _describe command commands
    return
  fi
  case $words[2] in
    ${program.configured.join('|')})
      _arguments '*::arg:->args' \\
${specs.join(' \\\n')}
      ;;
${words.join('\n')}
  esac
}
compdef _skep skep
`
}

const fishText = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

function fish<C>(program: Program<C>): string {
  const lines = ['# fish completion of skep: skep completion fish | source', 'complete -c skep -f']
  for (const [name, note] of program.commands)
    lines.push(`complete -c skep -n __fish_use_subcommand -a ${name} -d ${fishText(note)}`)
  for (const row of rows(program)) {
    const value =
      row.choices.length > 0
        ? `-x -a ${fishText(row.choices.join(' '))} `
        : row.path
          ? '-r -F '
          : row.bare
            ? ''
            : '-x '
    lines.push(
      `complete -c skep -n '__fish_seen_subcommand_from ${program.configured.join(' ')}' -l ${row.flag} ${value}-d ${fishText(row.note)}`,
    )
  }
  for (const [name, next] of wordsOf(program))
    lines.push(`complete -c skep -n '__fish_seen_subcommand_from ${name}' -a ${fishText(calls(next))}`)
  return `${lines.join('\n')}\n`
}
