// The question that whoever is at an address answers itself: who are you? Every other one is the owner's
// affair. Refuses: to ask it; membership/probe.ts does.

import type { Self } from './transport.ts'

export const WHO: Uint8Array = new TextEncoder().encode('{"ask":"who"}')

export const isWho = (question: Uint8Array): boolean => Buffer.compare(question, WHO) === 0

export const whoAnswer = ({ clusterId, id, name, level }: Self): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ clusterId, id, name, level }))
