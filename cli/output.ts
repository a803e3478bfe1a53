// Standard output of a process that serves others: a reader that goes away, stops reading, or a disk that is
// full costs lines, never the process or its memory. What is lost is counted, and said once a line gets
// through again. Refuses: to wait.

/** Waiting for a reader that is slow; what comes on top is lost, bytes. */
const WAITING_BYTES_MOST = 1024 * 1024

type Stream = Pick<NodeJS.WriteStream, 'write' | 'writableLength'> & { readonly isTTY?: boolean }

export class Output {
  private readonly stream: Stream
  private untold = 0
  private why = ''
  /** Lines lost since the start. */
  lost = 0
  /** A line got through again after `lines` had not: `why`. */
  again: (lines: number, why: string) => void = () => {}

  constructor(stream: Stream) {
    this.stream = stream
  }

  get isTTY(): boolean {
    return this.stream.isTTY === true
  }

  write(text: string): void {
    if (this.stream.writableLength > WAITING_BYTES_MOST) this.lose('its reader does not read')
    else
      this.stream.write(text, (error) => {
        if (error == null) this.through()
        else this.lose(reasonOf(error))
      })
  }

  private lose(why: string): void {
    this.lost++
    this.untold++
    this.why = why
  }

  private through(): void {
    if (this.untold === 0 || this.stream.writableLength > 0) return
    const lines = this.untold
    this.untold = 0
    this.again(lines, this.why)
  }
}

const reasonOf = (error: unknown): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'EPIPE' ? 'its reader has gone (EPIPE)' : (code ?? message)
}

export const STANDARD_OUTPUT = new Output(process.stdout)
