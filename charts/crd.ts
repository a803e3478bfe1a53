// The custom resource definitions as plain data: fields and words from operator/model/types.ts, the rest from
// crd-rules.ts. Refuses: files (generate.ts).

import { GROUP, VERSION } from '../operator/model/types.ts'
import { COMMON_WORDS, EXTRAS, type Extra } from './crd-rules.ts'
import { type Field, fieldsOf, readTypes, type Shape } from './types-text.ts'

export type Schema = Record<string, unknown>
export type Crd = { readonly file: string; readonly object: Record<string, unknown> }

type Column = { name: string; type: string; jsonPath: string; description: string; priority?: number }

const condition = (type: string, part = 'status'): string =>
  `.status.conditions[?(@.type=="${type}")].${part}`
const AGE: Column = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Since it was made',
}

const KINDS: readonly {
  kind: string
  plural: string
  short: string
  columns: readonly Column[]
  scale?: Record<string, string>
}[] = [
  {
    kind: 'TrackerCluster',
    plural: 'trackerclusters',
    short: 'tc',
    scale: {
      specReplicasPath: '.spec.replicas',
      statusReplicasPath: '.status.replicas',
      labelSelectorPath: '.status.selector',
    },
    columns: [
      column('Ready', 'string', condition('Ready'), 'Clients are answered by as many replicas as asked for'),
      column('Leader', 'string', '.status.leader', 'The pod that leads'),
      column('Term', 'integer', '.status.term', 'Raft term: how many elections there were'),
      column('Voters', 'integer', '.status.voters', 'Members that vote'),
      column('Replicas', 'integer', '.status.readyReplicas', 'Pods that answer clients'),
      column('Announces/s', 'number', '.status.announcesPerSecond', 'Announces answered a second'),
      AGE,
      column('Wished', 'integer', '.status.wishedReplicas', 'Replicas that are aimed at', 1),
      column('Torrents', 'integer', '.status.torrents', 'Torrents in the swarm table', 1),
      column('Peers', 'integer', '.status.peers', 'Peers in the swarm table', 1),
      column('Version', 'string', '.status.version', 'Oldest version that runs', 1),
      column('Step', 'string', '.status.lastStep.kind', 'What the operator did last', 1),
    ],
  },
  {
    kind: 'TorrentPolicy',
    plural: 'torrentpolicies',
    short: 'tp',
    columns: [
      column('Cluster', 'string', '.spec.clusterName', 'The TrackerCluster'),
      column('List', 'string', '.spec.list', 'Allow or Deny'),
      column('Entries', 'integer', '.status.entries', 'Torrents in the list'),
      column('In force', 'string', '.status.inForce', 'On how many replicas'),
      AGE,
    ],
  },
  {
    kind: 'TrackerBackup',
    plural: 'trackerbackups',
    short: 'tb',
    columns: [
      column('Cluster', 'string', '.spec.clusterName', 'The TrackerCluster'),
      column('Schedule', 'string', '.spec.schedule', 'Cron, in UTC'),
      column('Last good', 'date', '.status.lastSuccess', 'When the last backup was whole'),
      column('File', 'string', '.status.lastFile', 'The last good file'),
      AGE,
    ],
  },
]

function column(
  name: string,
  type: string,
  jsonPath: string,
  description: string,
  priority?: number,
): Column {
  return { name, type, jsonPath, description, ...(priority === undefined ? {} : { priority }) }
}

/** All definitions. Throws if crd-rules.ts names a field that types.ts has not, or a field has no words. */
export function definitions(typesText: string): Crd[] {
  const walk = new Walk(readTypes(typesText))
  const crds = KINDS.map(({ kind, plural, short, columns, scale }) => ({
    file: `${plural}.yaml`,
    object: {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `${plural}.${GROUP}`, labels: { 'app.kubernetes.io/name': 'skep' } },
      spec: {
        group: GROUP,
        scope: 'Namespaced',
        names: {
          kind,
          listKind: `${kind}List`,
          plural,
          singular: kind.toLowerCase(),
          shortNames: [short],
          categories: ['skep'],
        },
        versions: [
          {
            name: VERSION,
            served: true,
            storage: true,
            additionalPrinterColumns: columns,
            subresources: { status: {}, ...(scale === undefined ? {} : { scale }) },
            schema: { openAPIV3Schema: walk.root(kind) },
          },
        ],
      },
    },
  }))
  walk.finish()
  return crds
}

class Walk {
  readonly #types: ReadonlyMap<string, Shape>
  readonly #seen = new Set<string>()
  readonly #silent: string[] = []

  constructor(types: ReadonlyMap<string, Shape>) {
    this.#types = types
  }

  root(kind: string): Schema {
    this.#seen.add(kind)
    const own = fieldsOf(this.#types, kind).filter((f) => f.name === 'spec' || f.name === 'status')
    const schema = this.#object(kind, own)
    const properties = {
      apiVersion: { type: 'string', description: 'Version of the schema of this object.' },
      kind: { type: 'string', description: `Always ${kind}.` },
      metadata: { type: 'object' },
      ...(schema.properties as Schema),
    }
    return { description: EXTRAS[kind]?.words, ...schema, properties, ...limits(EXTRAS[kind] ?? {}) }
  }

  /** Throws for what was written for no field, and for fields that nothing is said of. */
  finish(): void {
    const unknown = Object.keys(EXTRAS).filter((path) => !this.#seen.has(path))
    if (unknown.length > 0) throw new Error(`crd-rules.ts names what types.ts has not: ${unknown.join(', ')}`)
    if (this.#silent.length > 0) throw new Error(`no words for ${this.#silent.join(', ')}`)
  }

  #object(path: string, fields: readonly Field[]): Schema {
    const required = fields.filter(
      (f) => !f.optional && f.name !== 'status' && EXTRAS[`${path}.${f.name}`]?.default === undefined,
    )
    return {
      type: 'object',
      ...(required.length === 0 ? {} : { required: required.map((f) => f.name) }),
      properties: Object.fromEntries(fields.map((f) => [f.name, this.#field(`${path}.${f.name}`, f)])),
    }
  }

  #field(path: string, { name, words, shape }: Field): Schema {
    const extra = this.#extra(path)
    const description = extra.words ?? (words === '' ? (COMMON_WORDS[name] ?? '') : words)
    if (description === '') this.#silent.push(path)
    const schema: Schema = { description, ...this.#schema(path, shape, extra), ...limits(extra) }
    // The API server holds the rules against this default alone, before those of the fields below are filled
    // in.
    return isEmpty(schema.default) ? { ...schema, default: filled(schema) } : schema
  }

  #extra(path: string): Extra {
    this.#seen.add(path)
    return EXTRAS[path] ?? {}
  }

  #schema(path: string, shape: Shape, extra: Extra): Schema {
    switch (shape.kind) {
      case 'string':
        return extra.orNumber === true ? { 'x-kubernetes-int-or-string': true } : { type: 'string' }
      case 'boolean':
        return { type: shape.kind }
      case 'number':
        if (extra.fraction === true) return { type: 'number' }
        return { type: 'integer', format: path.includes('.spec') ? 'int32' : 'int64' }
      case 'enum':
        return { type: 'string', enum: shape.values }
      case 'unknown':
        return { 'x-kubernetes-preserve-unknown-fields': true }
      case 'list': {
        const key = extra.listKey ?? (path.endsWith('.conditions') ? 'type' : undefined)
        const items = this.#extra(`${path}[]`)
        return {
          type: 'array',
          'x-kubernetes-list-type': key === undefined ? 'atomic' : 'map',
          ...(key === undefined ? {} : { 'x-kubernetes-list-map-keys': [key] }),
          items: { ...this.#schema(`${path}[]`, shape.of, items), ...limits(items) },
        }
      }
      case 'map': {
        if (shape.of.kind === 'unknown')
          return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
        const values = this.#extra(`${path}{}`)
        return {
          type: 'object',
          additionalProperties: { ...this.#schema(`${path}{}`, shape.of, values), ...limits(values) },
        }
      }
      case 'object':
        return this.#object(
          path,
          shape.fields.flatMap((f) => this.#spread(f)),
        )
      case 'named': {
        const target = this.#types.get(shape.name)
        if (target === undefined) throw new Error(`${path}: there is no type ${shape.name}`)
        return target.kind === 'object'
          ? this.#object(path, fieldsOf(this.#types, shape.name))
          : this.#schema(path, target, extra)
      }
    }
  }

  #spread = (f: Field): readonly Field[] =>
    f.name === '&' && f.shape.kind === 'named' ? fieldsOf(this.#types, f.shape.name) : [f]
}

const isEmpty = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0

/** An empty object with the defaults of its fields. */
function filled({ properties }: Schema): Schema {
  const fields = Object.entries((properties ?? {}) as Record<string, Schema>)
  return Object.fromEntries(fields.filter(([, f]) => f.default !== undefined).map(([k, f]) => [k, f.default]))
}

/** The parts of a schema that are limits, as they are, and its CEL rules. */
function limits({ words: _, fraction: __, listKey: ___, orNumber: ____, rules, ...rest }: Extra): Schema {
  return { ...rest, ...(rules === undefined ? {} : { 'x-kubernetes-validations': rules }) }
}
