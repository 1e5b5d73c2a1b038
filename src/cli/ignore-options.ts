/**
 * `--ignore`, `--ignore-from` and `--no-ignore-files`, read and checked before anything starts.
 * Errors: USAGE for a pattern that cannot be used; RULES_UNUSABLE for a file of patterns that can
 * not be read, is too large, or has such a pattern: a rule that is without effect, unnoticed, would
 * have files sent, or removed from the target, that were to be left alone.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { SyncError } from "../base/index.ts";
import { type IgnoreSettings, parsePatterns, patternFault, ruleBytesMax } from "../ignore/index.ts";

export interface IgnoreChoices {
  readonly ignore: readonly string[];
  readonly ignoreFrom: readonly string[];
  /** Rule files in the source count. */
  readonly ignoreFiles: boolean;
}

export function readIgnoreChoices(choices: IgnoreChoices): IgnoreSettings {
  const last = choices.ignore.map((text) => {
    const pattern = Buffer.from(text).toString("latin1");
    const reason = patternFault(pattern);
    if (reason !== undefined) throw new SyncError("USAGE", `--ignore '${text}': ${reason}`);
    const isComment = pattern.startsWith("#");
    if (isComment) throw new SyncError("USAGE", `--ignore '${text}': begin with \\# to name a #`);
    return pattern;
  });
  const first = choices.ignoreFrom.flatMap((path) => readPatterns(path));
  return { first, last, readsFiles: choices.ignoreFiles };
}

function readPatterns(path: string): readonly string[] {
  const bytes = readBytes(path);
  if (bytes.length > ruleBytesMax) {
    const message = `--ignore-from ${path}: it has more than ${ruleBytesMax} bytes`;
    throw new SyncError("RULES_UNUSABLE", message);
  }
  const { patterns, faults } = parsePatterns(bytes);
  const [fault] = faults;
  if (fault === undefined) return patterns;
  const where = `--ignore-from ${path}, line ${fault.line}`;
  const pattern = Buffer.from(fault.pattern, "latin1").toString();
  throw new SyncError("RULES_UNUSABLE", `${where}, '${pattern}': ${fault.reason}`);
}

/** At most one byte more than is allowed: the file may be a pipe, or endless. */
function readBytes(path: string): Uint8Array {
  let fd = -1;
  try {
    fd = openSync(path, "r");
    const bytes = new Uint8Array(ruleBytesMax + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(fd, bytes, length, bytes.length - length, null);
    }
    return bytes.subarray(0, length);
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    const message = `--ignore-from ${path}: cannot be read (${reason})`;
    throw new SyncError("RULES_UNUSABLE", message, { cause });
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}
