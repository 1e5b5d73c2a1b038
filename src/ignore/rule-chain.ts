/**
 * `RuleChain`: the patterns that hold in one folder, in order of precedence, and the question
 * whether they cover a path.
 *
 * As in git (git-ls-files(1): -X, --exclude-per-directory, -x): first what a file given on the
 * command line says, then the rule files from the root down, then patterns of the command line; the
 * last pattern that matches decides; below an ignored folder everything is ignored.
 * The patterns of a folder's file are rewritten so that they hold below that folder only, and one
 * matcher of the package `ignore` knows all of a chain: only so can it judge the parents of a path.
 *
 * Paths are Latin-1 characters, one a byte, below the root, without a leading slash; that of a
 * folder ends in a slash. A chain does not change. Its matcher is made at the first question.
 * Limits: `answerCountMax` answers are remembered by the matcher.
 */
import ignore from "ignore";

/** Paths whose answer a matcher remembers. */
export const answerCountMax = 8192;
/** Folders that one question descends through: the matcher recurses into a path's parents. */
const stepLevels = 200;

/** Rules that come with a command, and whether rule files in the tree count. */
export interface IgnoreSettings {
  /** Patterns that rule files overrule. */
  readonly first: readonly string[];
  /** Patterns that overrule rule files. */
  readonly last: readonly string[];
  readonly readsFiles: boolean;
}

export class RuleChain {
  readonly #first: readonly string[];
  readonly #last: readonly string[];
  /** Some pattern says where below its folder a name must be. */
  readonly isAnchored: boolean;
  #matcher: ignore.Ignore | undefined;
  #answerCount = 0;

  /** `first` gives way to rule files, `last` overrules them. */
  constructor(first: readonly string[], last: readonly string[], isAnchored?: boolean) {
    this.#first = first;
    this.#last = last;
    this.isAnchored = isAnchored ?? [...first, ...last].some(hasInnerSlash);
  }

  get isEmpty(): boolean {
    return this.#first.length + this.#last.length === 0;
  }

  /** The chain in and below a folder that has a rule file. `path` is empty for the root. */
  below(path: string, patterns: readonly string[]): RuleChain {
    if (patterns.length === 0) return this;
    const isAnchored = this.isAnchored || patterns.some(hasInnerSlash);
    const placed = patterns.map((pattern) => place(path, pattern));
    return new RuleChain([...this.#first, ...placed], this.#last, isAnchored);
  }

  /** Whether the path, or a folder that it lies in, is ignored. */
  ignores(path: string): boolean {
    if (this.isEmpty) return false;
    this.#matcher ??= makeMatcher([...this.#first, ...this.#last]);
    if (++this.#answerCount > answerCountMax) {
      // Adding even nothing is the documented way to have it forget its answers.
      this.#matcher.add(makeMatcher([]));
      this.#answerCount = 0;
    }
    // From the top down in steps, so that a deep path does not recurse deeply.
    for (let at = nextLevel(path, 0); at > 0; at = nextLevel(path, at)) {
      if (this.#matcher.ignores(path.slice(0, at))) return true;
    }
    return this.#matcher.ignores(path);
  }
}

/** Position behind the slash `stepLevels` further on, if much lies behind it, or 0. */
function nextLevel(path: string, from: number): number {
  if (path.length - from < 2 * stepLevels) return 0;
  let at = from;
  for (let level = 0; level < stepLevels; level++) {
    const slash = path.indexOf("/", at);
    if (slash < 0 || slash === path.length - 1) return 0;
    at = slash + 1;
  }
  return at;
}

function makeMatcher(patterns: readonly string[]): ignore.Ignore {
  const matcher = ignore({ ignoreCase: false, allowRelativePaths: true });
  // A line end that is part of a pattern must not be taken for that of its line.
  return matcher.add(patterns.map((pattern) => ({ pattern: pattern.replace(/\r$/, "\\\r") })));
}

/** A separator before the end ties a pattern to its folder; without, it holds at any depth. */
function hasInnerSlash(pattern: string): boolean {
  return /\/(?!$)/.test(pattern);
}

/** The pattern as it would be in the root's file. */
function place(path: string, pattern: string): string {
  if (path === "") return pattern;
  const isNegative = pattern.startsWith("!");
  const body = isNegative ? pattern.slice(1) : pattern;
  const folder = path.replace(/[\\*?[\] ]/g, "\\$&");
  const inside = hasInnerSlash(body) ? body.replace(/^\//, "") : `**/${body}`;
  return `${isNegative ? "!" : ""}/${folder}${inside}`;
}
