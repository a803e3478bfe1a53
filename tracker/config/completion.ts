// Completion scripts for bash, zsh and fish, made from the table of options.
// Refuses: asking a running replica; completion works without one.

import { OK } from '@skep/cli/exit-codes.ts'
import { newCommand, UsageError } from './flags.ts'
import { defaultText } from './manual.ts'
import { CONFIG_KEYS, OPTIONS, type Option } from './options.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const
const COMMANDS: readonly (readonly [string, string])[] = [
  ['start', 'run a tracker in this terminal'],
  ['tracker', 'run one tracker replica'],
  ['ctl', 'ask and change a running replica'],
  ['announce', 'announce two peers, and see that they are told of each other'],
  ['operator', 'run tracker clusters on Kubernetes'],
  ['bench', 'load a tracker and measure it'],
  ['completion', 'print completions'],
]
const CTL = [
  ...['status', 'members', 'promote', 'demote', 'remove', 'transfer', 'events', 'fault', 'recover'],
  ...['settings', 'access', 'snapshot', 'drain', 'stop', 'doctor'],
]

export async function completionCommand(args: string[]): Promise<number> {
  const command = newCommand('skep completion', 'Print completions: source <(skep completion bash)')
  command.argument('<shell>', SHELLS.join(', '))
  await command.parseAsync(args, { from: 'user' })
  process.stdout.write(completion(command.args[0]!))
  return OK
}

/** The script for `shell`. */
export function completion(shell: string): string {
  if (shell === 'bash') return bash()
  if (shell === 'zsh') return zsh()
  if (shell === 'fish') return fish()
  throw new UsageError(`completion is there for ${SHELLS.join(', ')}, not for ${shell}`)
}

type Row = { flag: string; note: string; choices: readonly string[]; path: boolean; bare: boolean }

/** Flag, what it takes and its default, of every option. */
const rows = (): Row[] => [
  ...CONFIG_KEYS.map((key) => {
    const { flag, type, sentence } = OPTIONS[key] as Option<unknown>
    const note = `${sentence} ${type.limits}; default ${defaultText(key)}`
    return { flag, note, choices: type.choices ?? [], path: type.path === true, bare: type.bare === true }
  }),
  { flag: 'config', note: 'YAML or JSON file with the same names', choices: [], path: true, bare: false },
  { flag: 'print-config', note: 'print all options, and end', choices: [], path: false, bare: true },
  { flag: 'help', note: 'show the help', choices: [], path: false, bare: true },
]

function bash(): string {
  const flags = rows()
  const cases = flags
    .filter((row) => row.choices.length > 0)
    .map(
      (row) => `    --${row.flag}) COMPREPLY=($(compgen -W '${row.choices.join(' ')}' -- "$word")); return;;`,
    )
  const paths = flags.filter((row) => row.path).map((row) => `--${row.flag}`)
  return `# bash completion of skep: source <(skep completion bash)
_skep() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${COMMANDS.map(([name]) => name).join(' ')} --help --version' -- "$word")); return
  fi
  case "$before" in
${cases.join('\n')}
    ${paths.join('|')}) COMPREPLY=($(compgen -f -- "$word")); return;;
  esac
  case "\${COMP_WORDS[1]}" in
    start|tracker) COMPREPLY=($(compgen -W '${flags.map((row) => `--${row.flag}`).join(' ')}' -- "$word"));;
    ctl) COMPREPLY=($(compgen -W '${CTL.join(' ')} --json --data-dir --network-key-file --control-host --control-port' -- "$word"));;
    bench) COMPREPLY=($(compgen -W 'udp' -- "$word"));;
    completion) COMPREPLY=($(compgen -W '${SHELLS.join(' ')}' -- "$word"));;
  esac
}
complete -F _skep skep
`
}

/** Text inside zsh's `[...]` within single quotes. */
const zshText = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, '\\$&')

function zsh(): string {
  const specs = rows().map((row) => {
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
  return `#compdef skep
# zsh completion of skep: source <(skep completion zsh)
_skep() {
  if (( CURRENT == 2 )); then
    local -a commands=(${COMMANDS.map(([name, note]) => `'${name}:${zshText(note)}'`).join(' ')})
    _describe command commands
    return
  fi
  case $words[2] in
    start|tracker)
      _arguments '*::arg:->args' \\
${specs.join(' \\\n')}
      ;;
    ctl) _values command ${CTL.join(' ')} ;;
    bench) _values command udp ;;
    completion) _values shell ${SHELLS.join(' ')} ;;
  esac
}
compdef _skep skep
`
}

const fishText = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

function fish(): string {
  const lines = ['# fish completion of skep: skep completion fish | source', 'complete -c skep -f']
  for (const [name, note] of COMMANDS)
    lines.push(`complete -c skep -n __fish_use_subcommand -a ${name} -d ${fishText(note)}`)
  for (const row of rows()) {
    const value =
      row.choices.length > 0
        ? `-x -a ${fishText(row.choices.join(' '))} `
        : row.path
          ? '-r -F '
          : row.bare
            ? ''
            : '-x '
    lines.push(
      `complete -c skep -n '__fish_seen_subcommand_from start tracker' -l ${row.flag} ${value}-d ${fishText(row.note)}`,
    )
  }
  lines.push(`complete -c skep -n '__fish_seen_subcommand_from ctl' -a ${fishText(CTL.join(' '))}`)
  lines.push("complete -c skep -n '__fish_seen_subcommand_from bench' -a udp")
  lines.push(`complete -c skep -n '__fish_seen_subcommand_from completion' -a ${fishText(SHELLS.join(' '))}`)
  return `${lines.join('\n')}\n`
}
