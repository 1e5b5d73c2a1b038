/**
 * Small files in the state directory that must never be half written or readable by others: the
 * device key and the trust list. Written whole to a fresh 0600 file, fsynced, then put in place,
 * then the directory is fsynced; read through one descriptor that is checked before its content.
 * Source: open(2) O_EXCL and O_NOFOLLOW, rename(2), link(2), fsync(2) on directories.
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

import { SyncError } from "../base/index.ts";
import type { ErrorCode } from "../base/index.ts";

/** Mode bits that make a file unacceptable. */
export const FORBIDDEN_SECRET = 0o077;
export const FORBIDDEN_WRITABLE = 0o022;

export interface ReadOptions {
  readonly path: string;
  readonly bytesMax: number;
  readonly forbiddenMode: number;
  /** User ids that may own the file. */
  readonly owners: readonly number[];
  /** The code of every error. */
  readonly code: ErrorCode;
}

/** The user that this process acts as. */
export function ownUid(): number {
  return process.geteuid?.() ?? 0;
}

/** Creates the state directory (0700) if missing; refuses one that others may write. */
export function prepareStateDir(stateDir: string): void {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const stat = statSync(stateDir);
    if (stat.uid !== ownUid() || (stat.mode & FORBIDDEN_WRITABLE) !== 0) {
      const mode = (stat.mode & 0o777).toString(8);
      const found = `owner ${stat.uid}, mode ${mode}`;
      throw new SyncError("STATE_UNUSABLE", `${stateDir}: others may write here (${found})`);
    }
  } catch (error) {
    if (error instanceof SyncError) throw error;
    throw new SyncError("STATE_UNUSABLE", `${stateDir}: ${errnoOf(error)}`, { cause: error });
  }
}

/**
 * Reads a state file whole. Returns undefined when there is none.
 * Errors: `options.code` for a link, a foreign owner, forbidden mode bits, size or I/O.
 */
export function readStateFile(options: ReadOptions): Buffer | undefined {
  const { path, code } = options;
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw new SyncError(code, `${path}: ${errnoOf(error)}`, { cause: error });
  }
  try {
    const stat = fstatSync(fd);
    const mode = (stat.mode & 0o777).toString(8);
    if (!stat.isFile()) throw new SyncError(code, `${path}: not a regular file`);
    if (!options.owners.includes(stat.uid)) {
      throw new SyncError(code, `${path}: owned by user ${stat.uid}, not by this one`);
    }
    if ((stat.mode & options.forbiddenMode) !== 0) {
      throw new SyncError(code, `${path}: mode ${mode} is open to other users`);
    }
    if (stat.size > options.bytesMax) {
      throw new SyncError(code, `${path}: ${stat.size} bytes, limit ${options.bytesMax}`);
    }
    return readWhole(fd, options.bytesMax);
  } catch (error) {
    if (error instanceof SyncError) throw error;
    throw new SyncError(code, `${path}: ${errnoOf(error)}`, { cause: error });
  } finally {
    closeSync(fd);
  }
}

/** Replaces the file at `path` by `content`, atomically and durably. Errors: STATE_UNUSABLE. */
export function replaceStateFile(path: string, content: string): void {
  putInPlace(path, content, renameSync);
}

/**
 * Creates the file at `path`; false when another process was first (its file is untouched, which
 * is why this links and does not rename). Errors: STATE_UNUSABLE.
 */
export function createStateFile(path: string, content: string): boolean {
  let created = true;
  putInPlace(path, content, (from, to) => {
    try {
      linkSync(from, to);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
      created = false;
    }
    unlinkSync(from);
  });
  return created;
}

/** The errno name of a failed system call, else its text. */
export function errnoOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return (error as NodeJS.ErrnoException).code ?? error.message;
}

function putInPlace(
  path: string,
  content: string,
  place: (from: string, to: string) => void,
): void {
  const directory = dirname(path);
  const staged = join(directory, `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  let exists = false;
  try {
    const fd = openSync(staged, flags, 0o600);
    exists = true;
    try {
      writeFileSync(fd, content);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    place(staged, path);
    exists = false;
    const directoryFd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fsyncSync(directoryFd);
    } finally {
      closeSync(directoryFd);
    }
  } catch (error) {
    if (exists) discard(staged);
    throw new SyncError("STATE_UNUSABLE", `${path}: ${errnoOf(error)}`, { cause: error });
  }
}

function discard(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    // The first failure is the one to report; a stray 0600 file harms nothing.
    if (errnoOf(error) === "ENOENT") return;
  }
}

function readWhole(fd: number, bytesMax: number): Buffer {
  const buffer = Buffer.alloc(bytesMax + 1);
  let length = 0;
  for (;;) {
    const count = readSync(fd, buffer, length, buffer.length - length, null);
    if (count === 0) return buffer.subarray(0, length);
    length += count;
    if (length > bytesMax) throw new Error("grew while it was read");
  }
}
