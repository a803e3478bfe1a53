// The data folder: made for its owner alone, mended where an older version left it open, and tried before
// anything depends on it. Refuses: to start on a folder that takes nothing, and to close folders that hold
// other things than a replica's.

import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { IO, NO_PERMISSION, TEMPORARY } from '@skep/cli/exit-codes.ts'

/** The folder cannot be used: the message says which, why, and what to do. */
export class FolderError extends Error {
  readonly exitCode: number
  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

const FOLDER_MODE = 0o700
const FILE_MODE = 0o600
const OTHERS = 0o077
/** What is written to try the disk, bytes. */
const TRIAL_BYTES = 16 * 1024
/** Most files and folders that are looked at. */
const LOOKED_AT_MOST = 10_000
/** What a data folder holds. One with anything else in it is not closed: it is also somebody else's. */
const OURS = /^(replica|network\.key|(allow|deny)-list\.seen|lost\+found|r\d|\.trial-\d+)$/

/**
 * Makes the folder, gives it and what is in it to its owner alone, and writes to it. Returns how many files
 * and folders others could read until now. Throws FolderError.
 */
export function prepareFolder(path: string): number {
  let at = path
  try {
    makeFolder(path)
    const names = readdirSync(path)
    const paths = names.filter((name) => OURS.test(name) && !/^r\d$/.test(name)).map((n) => join(path, n))
    if (names.every((name) => OURS.test(name))) paths.push(path)
    let mended = 0
    for (let i = 0; i < paths.length && i < LOOKED_AT_MOST; i++) {
      at = paths[i]!
      const found = lstatSync(at, { throwIfNoEntry: false })
      // A replica that runs here takes old files of its log away, and others' folders are not followed.
      if (found === undefined || found.isSymbolicLink() || at.endsWith('lost+found')) continue
      if (closed(at, found)) mended++
      accessSync(at, constants.R_OK | constants.W_OK | (found.isDirectory() ? constants.X_OK : 0))
      if (found.isDirectory() && at !== path) paths.push(...readdirSync(at).map((name) => join(at, name)))
    }
    at = path
    tryToWrite(path)
    return mended
  } catch (error) {
    throw folderError(path, at, error)
  }
}

/** Closed now, and open to others before? Only its owner can do that; a mounted volume may be another's. */
function closed(path: string, found: { mode: number; uid: number; isDirectory(): boolean }): boolean {
  if ((found.mode & OTHERS) === 0 || found.uid !== process.getuid?.()) return false
  chmodSync(path, found.isDirectory() ? FOLDER_MODE : FILE_MODE)
  return true
}

function tryToWrite(folder: string): void {
  const path = join(folder, `.trial-${process.pid}`)
  const file = openSync(path, 'w', FILE_MODE)
  try {
    const bytes = Buffer.alloc(TRIAL_BYTES, 1)
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
    fsyncSync(file)
  } finally {
    closeSync(file)
    rmSync(path, { force: true })
  }
}

/**
 * Folder by folder: Node's own recursive mkdir never returns where a file system refuses new folders with
 * ENOENT (/proc).
 */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, FOLDER_MODE)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    const parent = dirname(resolve(path))
    if (code !== 'ENOENT' || existsSync(parent)) throw cause
    makeFolder(parent)
    mkdirSync(path, FOLDER_MODE)
  }
}

const FULL = /ENOSPC|EDQUOT|No space left|quota exceeded/i
const SCARCE = /EMFILE|ENFILE|ENOMEM|Too many open files|Cannot allocate memory/i
const READ_ONLY = /EROFS|Read-only file system/i
const FORBIDDEN = /EACCES|EPERM|Permission denied|Operation not permitted/i

/** What an error of the data folder `path` means, met at `at`, and what a person can do. */
export function folderError(path: string, at: string, error: unknown): FolderError {
  let text = ''
  for (let e = error; e instanceof Error; e = e.cause) text += `${e.message}\n`
  const place = `data folder ${path}`
  if (FULL.test(text))
    return new FolderError(
      `${place}: the disk is full or a quota is used up (${freeText(path)}). Nothing is lost: make room, and start it again`,
      TEMPORARY,
    )
  if (SCARCE.test(text))
    return new FolderError(`${place}: the system has no files or memory left: ${text.trim()}`, TEMPORARY)
  if (READ_ONLY.test(text))
    return new FolderError(
      `${place} lies on a read-only file system: mount it for writing (the kernel's log says whether a fault of the disk did it), or name another folder with --data-dir`,
      NO_PERMISSION,
    )
  if (FORBIDDEN.test(text))
    return new FolderError(
      `${place}: user ${process.getuid?.() ?? ''} may not use ${at}${ownerText(at)}. Give it to that user (chown -R), start as its owner, or name another folder with --data-dir`,
      NO_PERMISSION,
    )
  return new FolderError(`${place}: ${text.trim()}; --data-dir names another one`, IO)
}

function freeText(path: string): string {
  try {
    const { bavail, bsize } = statfsSync(existsSync(path) ? path : dirname(resolve(path)))
    return `${Math.floor((bavail * bsize) / 1024)} KiB are free`
  } catch {
    return 'it takes nothing'
  }
}

function ownerText(path: string): string {
  try {
    const { uid, mode } = statSync(path)
    return `, which belongs to user ${uid} with mode ${(mode & 0o7777).toString(8)}`
  } catch {
    return ''
  }
}
