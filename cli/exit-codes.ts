// How a command ends, in the numbers of BSD's sysexits, so that scripts and supervisors can tell causes
// apart.

export const OK = 0
/** A command could not do what it was told; the reason is on stderr. */
export const FAILURE = 1
/** A wrong flag, variable or file: starting again is useless. */
export const USAGE = 64
/**
 * The data folder is a copy: older than what this replica has acknowledged, or of another one that runs. The
 * cluster goes on without it, and starting again is useless.
 */
export const COPY = 65
/** Something that is needed is not there: a port is taken, the control API does not answer. */
export const UNAVAILABLE = 69
/** A bug, or a panic in the Raft core: nothing of that step was stored or sent. */
export const INTERNAL = 70
/** The disk failed, the log is damaged, or another process holds the data folder. */
export const IO = 74
/** Try again later: the disk is full, or a change may or may not have been committed. */
export const TEMPORARY = 75
/** This user may not write the data folder: starting again is useless. */
export const NO_PERMISSION = 77

/**
 * This replica was removed from its cluster: it comes back as a new member only, with an empty data folder.
 */
export const REMOVED = 78

export const EXIT_CODES: readonly (readonly [number, string])[] = [
  [OK, 'done'],
  [FAILURE, 'failed; the reason is on stderr'],
  [USAGE, 'wrong flag, variable or configuration file'],
  [COPY, 'the data folder is an older copy, or a copy of one that is in use'],
  [UNAVAILABLE, 'a port is taken, or the control API does not answer'],
  [INTERNAL, 'a bug, or a panic of the Raft core'],
  [IO, 'disk error, damaged log, or a data folder in use'],
  [TEMPORARY, 'try again later: the disk is full, or it is not known whether it was done'],
  [NO_PERMISSION, 'this user may not write the data folder'],
  [REMOVED, 'the replica was removed from its cluster'],
]
