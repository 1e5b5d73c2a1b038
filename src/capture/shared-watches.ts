/**
 * Which listeners want a directory watched, for a backend with one watch a directory (inotify).
 *
 * In: watch and unwatch of each listener, as a bit. Out: watch and unwatch of the backend: the
 * first, and each again, as that costs one call and moves nothing; the last only.
 * Invariant: a directory that a listener with a session wants is watched. Who is away wants
 * nothing, as its next session watches whatever it scans.
 * Limits: one entry for each directory of the source, as in the backend.
 */
import type { CaptureBackend } from "./backend.ts";

export class SharedWatches {
  readonly #backend: CaptureBackend;
  /** `inode.generation` -> bits of the listeners. */
  readonly #wanted: Map<string, number> = new Map();

  constructor(backend: CaptureBackend) {
    this.#backend = backend;
  }

  get count(): number {
    return this.#wanted.size;
  }

  /** 0, or a negative errno. */
  add(directoryFd: number, ino: number, gen: number, bit: number): number {
    const result = this.#backend.watchDirectory(directoryFd, ino, gen);
    if (result < 0) return result;
    const key = `${ino}.${gen}`;
    this.#wanted.set(key, (this.#wanted.get(key) ?? 0) | bit);
    return result;
  }

  /** `presentBits`: those that have a session. */
  remove(ino: number, gen: number, bit: number, presentBits: number): void {
    const key = `${ino}.${gen}`;
    const left = (this.#wanted.get(key) ?? 0) & ~bit;
    if ((left & presentBits) !== 0) {
      this.#wanted.set(key, left);
    } else {
      this.#wanted.delete(key);
      this.#backend.unwatchDirectory(ino, gen);
    }
  }
}
