// Numbers as people read them, in every program's sentences. Refuses: other languages than English.

/** `1 entry`, `2,000 entries`: the number with its noun. */
export const counted = (n: number | bigint, one: string, many = `${one}s`): string =>
  `${n.toLocaleString('en')} ${Number(n) === 1 ? one : many}`

/** About how much: whole from a hundred on, below with one digit behind the point. */
export const rounded = (n: number): string =>
  n.toLocaleString('en', { maximumFractionDigits: Math.abs(n) >= 100 ? 0 : 1 })
