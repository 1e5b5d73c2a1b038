/**
 * `DescriptorCache`: open descriptors of nodes, a bounded least-recently-used set, so that a hot
 * file costs no open and a cold one is closed again. A descriptor follows its inode through
 * renames.
 *
 * Ownership: the cache closes what it holds; a descriptor that it returned is good until the next
 * call that may open another one, the most recent two always stay.
 */
import type { Files } from "../world/index.ts";

export class DescriptorCache {
  readonly #close: (fd: number) => void;
  readonly #countMax: number;
  readonly #open: (node: number) => number;
  readonly #held: Map<number, number> = new Map();
  #lastNode = 0;
  #lastFd = -1;

  /** `open` gives a descriptor or a negative errno; `close` is for what still has to be done. */
  constructor(
    files: Files,
    countMax: number,
    open: (node: number) => number,
    close?: (fd: number) => void,
  ) {
    this.#close = close ?? ((fd) => void files.close(fd));
    this.#countMax = countMax;
    this.#open = open;
  }

  /** The node's descriptor, opened if need be, or a negative errno. */
  get(node: number): number {
    if (node === this.#lastNode) return this.#lastFd;
    let fd = this.#held.get(node);
    if (fd === undefined) {
      fd = this.#open(node);
      if (fd < 0) return fd;
      this.put(node, fd);
      return fd;
    }
    this.#held.delete(node);
    this.#held.set(node, fd);
    this.#lastNode = node;
    this.#lastFd = fd;
    return fd;
  }

  /** The node's descriptor if it is open, else -1. */
  peek(node: number): number {
    if (node === this.#lastNode) return this.#lastFd;
    return this.#held.get(node) ?? -1;
  }

  /** Takes over a descriptor that was opened elsewhere. */
  put(node: number, fd: number): void {
    this.forget(node);
    while (this.#held.size >= this.#countMax) {
      const oldest = this.#held.keys().next().value!;
      this.forget(oldest);
    }
    this.#held.set(node, fd);
    this.#lastNode = node;
    this.#lastFd = fd;
  }

  forget(node: number): void {
    const fd = this.#held.get(node);
    if (fd === undefined) return;
    this.#held.delete(node);
    this.#close(fd);
    if (node === this.#lastNode) this.#lastNode = 0;
  }

  forgetWhere(test: (node: number) => boolean): void {
    for (const node of this.#held.keys()) if (test(node)) this.forget(node);
  }

  clear(): void {
    for (const fd of this.#held.values()) this.#close(fd);
    this.#held.clear();
    this.#lastNode = 0;
  }
}
