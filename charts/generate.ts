// npm run manifests: writes all that is made from something else: the custom resource definitions (from
// operator/model/types.ts), the chart's copy of them, its value schema and README, and manifests/ (from the
// chart's own rendering). `--check` only compares. Refuses: to guess where Helm is not to be had: manifests/
// is left as it is then, and said so.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { kubeTools } from '../testing/tools/tools.ts'
import { definitions } from './crd.ts'
import { dashboard } from './dashboard.ts'
import { manifests } from './manifests.ts'
import { readme, valuesSchema } from './values.ts'
import { yamlText } from './yaml-text.ts'

export const ROOT = join(import.meta.dirname, '..')
export const CHART = join(ROOT, 'charts/skep')

/** Path below the root -> text. */
export type Files = ReadonlyMap<string, string>

/** Made from sources alone. */
export function plainFiles(): Files {
  const files = new Map<string, string>()
  const crds = definitions(readFileSync(join(ROOT, 'operator/model/types.ts'), 'utf8'))
  for (const { file, object } of crds) {
    const text = yamlText([object])
    files.set(`manifests/crd/${file}`, text)
    files.set(`charts/skep/crds/${file}`, text)
  }
  const values = readFileSync(join(CHART, 'values.yaml'), 'utf8')
  files.set(
    'charts/skep/values.schema.json',
    `${JSON.stringify(valuesSchema(values, crds[0]!.object), null, 2)}\n`,
  )
  files.set('charts/skep/README.md', readme(values, readFileSync(join(ROOT, 'charts/README.in.md'), 'utf8')))
  files.set('charts/skep/files/dashboard.json', `${JSON.stringify(dashboard(), null, 2)}\n`)
  return files
}

/** Made by rendering the chart as it is on disk. */
export const renderedFiles = (helm: string): Promise<Files> => manifests(helm, CHART)

/** What on disk differs, or is there and should not be. */
export function differing(files: Files, folders: readonly string[] = []): string[] {
  const wrong = [...files].filter(([path, text]) => !existsSync(join(ROOT, path)) || read(path) !== text)
  const extra = folders.flatMap(filesBelow).filter((path) => !files.has(path))
  return [...wrong.map(([path]) => path), ...extra]
}

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

const filesBelow = (folder: string): string[] =>
  existsSync(join(ROOT, folder))
    ? readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    : []

function write(files: Files, folders: readonly string[] = []): void {
  for (const path of differing(files, folders)) {
    const text = files.get(path)
    console.log(`${text === undefined ? 'removed' : 'written'} ${path}`)
    if (text === undefined) {
      rmSync(join(ROOT, path))
      continue
    }
    mkdirSync(dirname(join(ROOT, path)), { recursive: true })
    writeFileSync(join(ROOT, path), text)
  }
}

/** What manifests/ holds beside the definitions. */
export const RENDERED = ['manifests/base', 'manifests/samples'] as const

if (import.meta.main) {
  const check = process.argv.includes('--check')
  const tools = await kubeTools()
  if (!check) write(plainFiles())
  const wrong = check ? differing(plainFiles()) : []
  if (tools.kind === 'missing')
    console.log(`manifests/base and manifests/samples: left alone, ${tools.reason}`)
  else {
    const rendered = await renderedFiles(tools.tools.helm4)
    if (check) wrong.push(...differing(rendered, RENDERED))
    else write(rendered, RENDERED)
  }
  for (const path of wrong) console.log(`differs: ${path}; npm run manifests writes it`)
  process.exitCode = wrong.length === 0 ? 0 : 1
}
