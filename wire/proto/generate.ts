// npm run generate: makes gen/ from the .proto files with buf and protoc-gen-es, fetched by npx for this run
// only. Refuses: being needed by anyone who does not change a .proto file; what it makes is committed.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const TOOLS = ['-p', '@bufbuild/buf@1.75.0', '-p', '@bufbuild/protoc-gen-es@2.17.0']

/** What gen/ was made from: one digest a .proto file, and one of how. Lies in gen/SOURCES. */
export function sources(): string {
  const files = readdirSync(HERE, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.proto') || file === 'buf.gen.yaml')
    .sort()
  return files
    .map(
      (file) =>
        `${createHash('sha256')
          .update(readFileSync(join(HERE, file)))
          .digest('hex')}  ${file}\n`,
    )
    .join('')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // Only what is ours: the rules under buf/ are read, and lie generated in the package of protovalidate.
  const where = ['--template', join(HERE, 'buf.gen.yaml'), '--path', join(HERE, 'skep'), '-o', HERE]
  const generate = ['generate', HERE, ...where]
  for (const args of [['lint', HERE], ['format', '-w', HERE], generate]) {
    const { status } = spawnSync('npx', ['--yes', ...TOOLS, '--', 'buf', ...args], { stdio: 'inherit' })
    if (status !== 0) process.exit(1)
  }
  writeFileSync(join(HERE, 'gen/SOURCES'), sources())
  console.log(`made ${relative(process.cwd(), join(HERE, 'gen'))}`)
}
