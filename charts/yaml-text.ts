// Objects as YAML documents, always in the same way.
// Refuses: comments; what is generated has its reasons where it is generated from.

import { parseAllDocuments, stringify } from 'yaml'

const HEAD = '# Generated: npm run manifests\n'

/** A bare on, off, yes or no is a boolean for Kubernetes, which reads YAML 1.1: those are quoted. */
export const yamlText = (objects: readonly unknown[]): string =>
  HEAD +
  objects
    .map((o) => stringify(o, { lineWidth: 110, aliasDuplicateObjects: false, compat: 'yaml-1.1' }))
    .join('---\n')

export type Manifest = {
  apiVersion: string
  kind: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
  }
  [field: string]: unknown
}

/** All documents that are objects. Throws for text that is no YAML. */
export function parseAll(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    if (!('contents' in document)) return []
    if (document.errors.length > 0) throw document.errors[0]
    const value = document.toJS()
    return value === null ? [] : [value as Manifest]
  })
}
