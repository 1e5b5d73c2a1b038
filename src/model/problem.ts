/**
 * `Problem`: a failure on one path, as data. The sync goes on without it; the user sees it once.
 *
 * `ProblemLog` keeps the first few and counts the rest, so that a million unreadable files cost
 * nothing. What cannot be brought over (data that cannot be read) is told path by path. What cannot
 * be set (owners without root, attributes that the filesystem lacks) is true of every path alike:
 * it is told once for each kind, with its first path, and counted.
 */

/** Problems kept for display; more are only counted. */
export const problemCountMax = 100;
/** Kinds counted by themselves; a peer could invent any number of them. */
export const problemKindCountMax = 64;

export interface Problem {
  readonly side: "source" | "target";
  readonly path: string;
  /** What was tried: `read`, `chown`, `open`, … */
  readonly operation: string;
  readonly errno: string;
}

/** All problems of one side, operation and errno. `path` is the first one's. */
export interface ProblemKind extends Problem {
  readonly count: number;
}

interface Counted extends Problem {
  count: number;
  /** Counted since the last `flush`, and not told by itself. */
  untold: number;
}

const settingOperations: ReadonlySet<string> = new Set([
  "chown",
  "chmod",
  "setxattr",
  "removexattr",
  "mknod",
  "utimensat",
]);

export class ProblemLog {
  readonly #kept: Problem[] = [];
  readonly #kinds: Map<string, Counted> = new Map();
  readonly #onNew: (problem: Problem) => void;
  readonly #onMore: (problem: Problem, count: number) => void;
  #untold = 0;
  /** Told path by path. */
  #singleCount = 0;
  /** Of all, with those that were not told. */
  count = 0;

  /**
   * `onNew` hears of each problem, but of what cannot be set only once per kind. `onMore` hears on
   * `flush` how many more of a kind there were.
   */
  constructor(
    onNew: (problem: Problem) => void,
    onMore: (problem: Problem, count: number) => void = () => {},
  ) {
    this.#onNew = onNew;
    this.#onMore = onMore;
  }

  /** Those that were told. */
  get kept(): readonly Problem[] {
    return this.#kept;
  }

  /** The most frequent first. */
  get kinds(): readonly ProblemKind[] {
    const kinds = [...this.#kinds.values()].map(({ side, path, operation, errno, count }) => ({
      side,
      path,
      operation,
      errno,
      count,
    }));
    return kinds.toSorted((one, other) => other.count - one.count);
  }

  /** Whether `flush` has something to tell. */
  get hasUntold(): boolean {
    return this.#untold > 0;
  }

  /** `count`: how many of this kind a peer has counted. */
  add(problem: Problem, count = 1): void {
    this.count += count;
    const key = `${problem.side} ${problem.operation} ${problem.errno}`;
    let kind = this.#kinds.get(key);
    if (kind === undefined && this.#kinds.size < problemKindCountMax) {
      kind = { ...problem, count: 0, untold: 0 };
      this.#kinds.set(key, kind);
    }
    if (kind !== undefined) kind.count += count;
    const isOnce = isOncePerKind(problem);
    const tells = isOnce ? kind?.count === count : this.#singleCount < problemCountMax;
    if (tells) {
      if (!isOnce) this.#singleCount++;
      this.#kept.push(problem);
      this.#onNew(problem);
    } else if (kind !== undefined) {
      kind.untold += count;
      this.#untold += count;
    }
  }

  /** Tells how many more there were of each kind since the last time. */
  flush(): void {
    if (this.#untold === 0) return;
    this.#untold = 0;
    for (const kind of this.#kinds.values()) {
      if (kind.untold === 0) continue;
      const { side, path, operation, errno, untold } = kind;
      kind.untold = 0;
      this.#onMore({ side, path, operation, errno }, untold);
    }
  }
}

function isOncePerKind({ operation, errno }: Problem): boolean {
  return errno === "EPERM" || errno === "EOPNOTSUPP" || settingOperations.has(operation);
}
