// docs/configuration.md, from the table of options: `npm run docs` writes it.
// Refuses: any fact about an option that is not in the table.

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { manualTables } from '@skep/cli/manual.ts'
import { TABLE } from './table.ts'

/** docs/configuration.md, whole. */
export function configurationDocument(): string {
  const lines = [
    '# Configuration',
    '',
    'Every option of `skep tracker` and `skep start`. This page is made from the table in `tracker/config/options.ts`',
    '(`npm run docs`); a test fails when they differ.',
    '',
    'The same option can be given in four places; the first of these that names it wins:',
    '',
    '1. a flag: `--udp-port 6970`',
    '2. a variable: `SKEP_UDP_PORT=6970`',
    '3. a YAML or JSON file, named by `--config FILE` or `SKEP_CONFIG`: `udp-port: 6970`',
    '4. its default',
    '',
    '`skep tracker --print-config` prints the values in force and where each came from, as a file that `--config`',
    'takes. Unknown flags, `SKEP_*` variables and keys are refused with the nearest name, and exit code 64; variables',
    'that Kubernetes sets for Services (`SKEP_UDP_PORT=udp://10.0.0.1:6969`) are told apart and left alone.',
    '',
    'Sizes: `64KiB`, `512MiB`, `2GiB`, also `512Mi` and `100MB`. Durations: `100ms`, `30s`, `5m`, `1h30m`. Lists:',
    'commas in a flag or variable, or the flag several times; a list in a file. Switches: `on` and `off`; a bare',
    '`--full-scrape` means on, `--no-full-scrape` off.',
    '',
    '"The swarm table" are settings of the cluster: the options only seed them at its birth, and what the log says wins',
    'from then on. `skep ctl settings` changes those that are not fixed at birth.',
  ]
  return `${[...lines, ...manualTables(TABLE)].join('\n')}\n`
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(new URL('../../docs/configuration.md', import.meta.url), configurationDocument())
