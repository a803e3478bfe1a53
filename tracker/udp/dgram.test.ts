// The cases of every UDP socket over node:dgram. Its gap: bound to all addresses, it cannot answer from the
// one asked.

import { socketCases } from './socket.case.ts'

socketCases('dgram', { useDgram: true, answersFromAsked: false })
