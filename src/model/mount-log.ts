/**
 * `MountLog`: the mount points below a root, which are left out. Each is told once, however often
 * it is met: by every rescan, by every link, by every target of a source. Bounded.
 */

/** Mount points told and kept; what is beyond is left out as well. */
export const mountCountMax = 100;

export class MountLog {
  readonly #paths: Set<string> = new Set();
  readonly #onNew: (path: string, why: string | undefined) => void;

  /** `why` it is left out, where that is not the rule. */
  constructor(onNew: (path: string, why: string | undefined) => void) {
    this.#onNew = onNew;
  }

  get paths(): readonly string[] {
    return [...this.#paths];
  }

  /** `path` is relative to the root. */
  add(path: string, why?: string): void {
    if (this.#paths.has(path) || this.#paths.size >= mountCountMax) return;
    this.#paths.add(path);
    this.#onNew(path, why);
  }
}
