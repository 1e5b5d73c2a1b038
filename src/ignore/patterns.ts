/**
 * Reads ignore patterns: one a line, as gitignore(5) describes them.
 *
 * In: the bytes of a file of patterns. Out: the patterns, without blank lines and comments, and the
 * lines that cannot be used, with the reason. Bytes become characters one by one (Latin-1), because
 * a file's name is bytes and need not be UTF-8; git compares bytes as well.
 * Limits: `ruleBytesMax`, `patternCountMax`, `patternBytesMax`, `globstarCountMax`: the cost of one
 * lookup grows with each of them, and who writes the file need not be who runs the mirror.
 * Source: gitignore(5); trim_trailing_spaces() and parse_path_pattern() in git's dir.c.
 */

/** The file in a folder that says what is ignored in it and below. */
export const ruleFileName = ".lockstepignore";
/** Bytes of one file of patterns. */
export const ruleBytesMax = 65536;
/** Patterns of one file. */
export const patternCountMax = 4096;
/** Bytes of one pattern. */
export const patternBytesMax = 4096;
/** `**` in one pattern: each multiplies the time of a lookup by the depth of the path. */
export const globstarCountMax = 3;

export interface PatternFault {
  /** From 1. */
  readonly line: number;
  readonly pattern: string;
  readonly reason: string;
}

export interface PatternList {
  /** With `!` in front of those that include again; Latin-1 characters, one a byte. */
  readonly patterns: readonly string[];
  /** Lines that match nothing because they cannot be used. */
  readonly faults: readonly PatternFault[];
}

/** Reads the patterns of a file. Errors: none thrown; a line that cannot be used is a fault. */
export function parsePatterns(bytes: Uint8Array): PatternList {
  const patterns: string[] = [];
  const faults: PatternFault[] = [];
  let text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  if (text.startsWith(byteOrderMark)) text = text.slice(byteOrderMark.length);
  for (const [index, whole] of text.split("\n").entries()) {
    const line = trimSpaces(whole.endsWith("\r") ? whole.slice(0, -1) : whole);
    if (line === "" || line.startsWith("#")) continue;
    const pattern = line.slice(0, 200);
    const reason =
      patterns.length < patternCountMax ? patternFault(line) : `more than ${patternCountMax} lines`;
    if (reason === undefined) patterns.push(line);
    else faults.push({ line: index + 1, pattern, reason });
    if (patterns.length === patternCountMax && reason !== undefined) break;
  }
  return { patterns, faults };
}

const byteOrderMark = "\xef\xbb\xbf";

/** Why the pattern cannot be used; undefined when it can. */
export function patternFault(pattern: string): string | undefined {
  const body = pattern.startsWith("!") ? pattern.slice(1) : pattern;
  if (body === "" || /^\/+$/.test(body)) return "it names nothing";
  if (/[\n\0]/.test(body)) return "no name has a line end or NUL in it here";
  if (body.length > patternBytesMax) return `it is longer than ${patternBytesMax} bytes`;
  if (/^(?:[^\\]|\\[^])*\\\/?$/.test(body)) return "a backslash at its end quotes nothing";
  if ((body.match(/\*{2,}/g) ?? []).length > globstarCountMax) {
    return `it has more than ${globstarCountMax} double asterisks`;
  }
  return hasOpenBracket(body) ? "a bracket is not closed, or names an unknown class" : undefined;
}

/** Cuts spaces at the end, but for one that a backslash quotes. */
function trimSpaces(line: string): string {
  let end = line.length;
  while (line[end - 1] === " ") end--;
  if (end === line.length) return line;
  let backslashes = 0;
  while (line[end - 1 - backslashes] === "\\") backslashes++;
  return line.slice(0, backslashes % 2 === 1 ? end + 1 : end);
}

const classes: ReadonlySet<string> = new Set(
  "alnum alpha blank cntrl digit graph lower print punct space upper xdigit".split(" "),
);

/** Whether a bracket expression does not end: git then lets the pattern match nothing. */
function hasOpenBracket(pattern: string): boolean {
  for (let at = 0; at < pattern.length; at++) {
    if (pattern[at] === "\\") {
      at++;
    } else if (pattern[at] === "[") {
      at = bracketEnd(pattern, at);
      if (at < 0) return true;
    }
  }
  return false;
}

/** Position of the bracket that closes the one at `start`, or -1. */
function bracketEnd(pattern: string, start: number): number {
  const isNegated = pattern[start + 1] === "!" || pattern[start + 1] === "^";
  const first = start + (isNegated ? 2 : 1);
  for (let at = first; at < pattern.length; at++) {
    // A bracket that comes first is a member.
    if (pattern[at] === "]" && at > first) return at;
    if (pattern[at] === "\\") {
      at++;
    } else if (pattern[at] === "[" && pattern[at + 1] === ":") {
      const end = pattern.indexOf("]", at + 2);
      if (end < 0) return -1;
      if (end > at + 2 && pattern[end - 1] === ":") {
        if (!classes.has(pattern.slice(at + 2, end - 1))) return -1;
        at = end;
      }
    }
  }
  return -1;
}
