/**
 * `Problem`: a failure on one path, as data. The sync goes on without it; the user sees it once.
 * `ProblemLog` keeps the newest few and counts the rest, so that a million unreadable files cost
 * nothing.
 */

/** Problems kept for display; more are only counted. */
export const problemCountMax = 100;

export interface Problem {
  readonly side: "source" | "target";
  readonly path: string;
  /** What was tried: `read`, `chown`, `open`, … */
  readonly operation: string;
  readonly errno: string;
}

export class ProblemLog {
  readonly #kept: Problem[] = [];
  readonly #kinds: Set<string> = new Set();
  readonly #onNew: (problem: Problem) => void;
  count = 0;

  /** `onNew` hears of each problem, but of a refused operation (EPERM, …) only once per kind. */
  constructor(onNew: (problem: Problem) => void) {
    this.#onNew = onNew;
  }

  get kept(): readonly Problem[] {
    return this.#kept;
  }

  add(problem: Problem): void {
    this.count++;
    if (this.#kept.length < problemCountMax) this.#kept.push(problem);
    const kind = `${problem.side} ${problem.operation} ${problem.errno}`;
    const once = problem.errno === "EPERM" || problem.errno === "EOPNOTSUPP";
    if (once && this.#kinds.has(kind)) return;
    this.#kinds.add(kind);
    if (this.count <= problemCountMax || once) this.#onNew(problem);
  }
}
