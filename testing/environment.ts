// What a process that a test starts gets of this one's environment: where programs are, and what Node has
// compiled already. Refuses: variables that would change what is tested.

const { NODE_COMPILE_CACHE } = process.env

/** `PATH`, `more`, and where the runner keeps compiled modules: with it a start costs half. */
export const bareEnvironment = (more: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  PATH: process.env.PATH!,
  ...(NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE }),
  ...more,
})
