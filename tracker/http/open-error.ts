// A TCP port of HTTP that could not be had, as a sentence with the option that moves it.
// Refuses: guessing at causes that errno does not name.

/** `code` is errno's name. */
export class HttpOpenError extends Error {
  override name = 'HttpOpenError'
  readonly code: string

  constructor(code: string, host: string, port: number, flag: 'http-port' | 'health-port' = 'http-port') {
    const where = `${flag === 'http-port' ? 'HTTP' : 'health'} port ${port} of ${host}`
    super(
      code === 'EADDRINUSE'
        ? `${where} is taken by another program; --${flag} moves the tracker to another one`
        : code === 'EACCES'
          ? `${where} is not ours to open (ports under 1024 need a privilege); --${flag} moves the tracker`
          : `${where} cannot be opened: ${code}`,
    )
    this.code = code
  }
}
