// Reads the tagless object types of operator/model/types.ts as text: fields, their types and their comments,
// from which the custom resource definitions get their fields and descriptions. So a field cannot be in one
// and not in the other. Refuses: TypeScript in general. What types.ts does not use is an error with its line,
// never a guess.

export type Shape =
  | { readonly kind: 'string' | 'number' | 'boolean' | 'unknown' }
  | { readonly kind: 'enum'; readonly values: readonly string[] }
  | { readonly kind: 'list' | 'map'; readonly of: Shape }
  | { readonly kind: 'object'; readonly fields: readonly Field[] }
  | { readonly kind: 'named'; readonly name: string }

export type Field = {
  readonly name: string
  readonly optional: boolean
  /** The comment before it, in one line; '' for none. */
  readonly words: string
  readonly shape: Shape
}

type Token = { readonly text: string; readonly at: number }

const TOKEN =
  /\/\*\*[\s\S]*?\*\/|\/\*[\s\S]*?\*\/|\/\/[^\n]*|'[^'\n]*'|[A-Za-z_$][\w$]*|[{}()[\]<>?:;,&|=.]|\S/g

/** Every `export type` of the text, by name. Named types stay names; see `resolve`. */
export function readTypes(text: string): ReadonlyMap<string, Shape> {
  const types = new Map<string, Shape>()
  for (const m of text.matchAll(/^export type (\w+) =/gm)) {
    const tokens = tokensOf(text, m.index + m[0].length)
    types.set(m[1]!, new Reader(text, tokens).union())
  }
  return types
}

/** The object type behind a name, intersections and names of objects followed. Throws if it is none. */
export function fieldsOf(types: ReadonlyMap<string, Shape>, name: string): readonly Field[] {
  const shape = types.get(name)
  if (shape?.kind !== 'object') throw new Error(`${name} is no object type of types.ts`)
  return shape.fields.flatMap((f) =>
    f.name === '&' && f.shape.kind === 'named' ? fieldsOf(types, f.shape.name) : [f],
  )
}

/** Tokens up to the next declaration at the beginning of a line. */
function tokensOf(text: string, from: number): Token[] {
  const rest = /\n(?:export|const|type|function|import)\s/.exec(text.slice(from))
  const part = text.slice(from, rest === null ? undefined : from + rest.index)
  return [...part.matchAll(TOKEN)]
    .map((m) => ({ text: m[0], at: from + m.index }))
    .filter(({ text }) => !text.startsWith('//') && (!text.startsWith('/*') || text.startsWith('/**')))
}

class Reader {
  readonly #text: string
  readonly #tokens: readonly Token[]
  #next = 0

  constructor(text: string, tokens: readonly Token[]) {
    this.#text = text
    this.#tokens = tokens
  }

  /** Types with | or & between them; a leading | is allowed. */
  union(): Shape {
    this.#skip('|')
    const first = this.#one()
    const operator = this.#peek()
    if (operator !== '|' && operator !== '&') return first
    const all = [first]
    while (this.#skip(operator)) all.push(this.#one())
    if (operator === '|') return this.#enumOf(all)
    // A name in an intersection is kept as a field called &, until all names are known.
    const fields = all.flatMap((s): readonly Field[] => {
      if (s.kind === 'object') return s.fields
      if (s.kind === 'named') return [{ name: '&', optional: false, words: '', shape: s }]
      return this.#fail()
    })
    return { kind: 'object', fields }
  }

  #enumOf(shapes: readonly Shape[]): Shape {
    return { kind: 'enum', values: shapes.flatMap((s) => (s.kind === 'enum' ? s.values : this.#fail())) }
  }

  #one(): Shape {
    this.#skip('readonly')
    let shape = this.#base()
    while (this.#skip('[')) {
      this.#expect(']')
      shape = { kind: 'list', of: shape }
    }
    return shape
  }

  #base(): Shape {
    const word = this.#take()
    if (word.startsWith("'")) return { kind: 'enum', values: [word.slice(1, -1)] }
    if (word === '{') return this.#object()
    if (word === 'string' || word === 'number' || word === 'boolean' || word === 'unknown')
      return { kind: word }
    if (word === 'Readonly' || word === 'Record') return this.#generic(word)
    return /^[A-Z]\w*$/.test(word) ? { kind: 'named', name: word } : this.#fail()
  }

  #generic(word: 'Readonly' | 'Record'): Shape {
    this.#expect('<')
    if (word === 'Record') {
      this.#expect('string')
      this.#expect(',')
    }
    const inner = this.union()
    this.#expect('>')
    return word === 'Record' ? { kind: 'map', of: inner } : inner
  }

  #object(): Shape {
    const fields: Field[] = []
    while (!this.#skip('}')) {
      const words = this.#comment()
      this.#skip('readonly')
      const name = this.#take()
      const optional = this.#skip('?')
      this.#expect(':')
      fields.push({ name, optional, words, shape: this.union() })
      if (!this.#skip(';')) this.#skip(',')
    }
    return { kind: 'object', fields }
  }

  #comment(): string {
    const token = this.#peek()
    if (!token?.startsWith('/**')) return ''
    this.#next++
    return token
      .slice(3, -2)
      .replace(/\s*\n\s*\*?\s*/g, ' ')
      .trim()
  }

  #peek = (): string | undefined => this.#tokens[this.#next]?.text
  #skip(text: string): boolean {
    if (this.#peek() !== text) return false
    this.#next++
    return true
  }
  #take = (): string => this.#tokens[this.#next++]?.text ?? this.#fail()
  #expect(text: string): void {
    if (!this.#skip(text)) this.#fail()
  }
  #fail(): never {
    const at = this.#tokens[Math.max(0, this.#next - 1)]?.at ?? this.#text.length
    const line = this.#text.slice(0, at).split('\n').length
    throw new Error(`operator/model/types.ts:${line}: not understood near "${this.#peek() ?? 'the end'}"`)
  }
}
