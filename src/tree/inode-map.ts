/**
 * `InodeMap`: (inode, generation) -> node id, open addressing over typed arrays.
 *
 * The keys themselves are columns of the tree; the map holds node ids only, 4 bytes a slot, at most
 * half full. Deletion shifts later entries back, so no tombstones pile up.
 */
import { assert } from "../base/index.ts";

export class InodeMap {
  #slots: Uint32Array = new Uint32Array(1024);
  #count = 0;
  readonly #ino: () => Float64Array;
  readonly #gen: () => Uint32Array;

  /** The columns are read through functions because they move when the tree grows. */
  constructor(ino: () => Float64Array, gen: () => Uint32Array) {
    this.#ino = ino;
    this.#gen = gen;
  }

  get(ino: number, gen: number): number {
    const inoColumn = this.#ino();
    const genColumn = this.#gen();
    const mask = this.#slots.length - 1;
    for (let at = hash(ino, gen) & mask; ; at = (at + 1) & mask) {
      const id = this.#slots[at]!;
      if (id === 0) return 0;
      if (inoColumn[id] === ino && genColumn[id] === gen) return id;
    }
  }

  add(id: number): void {
    if ((this.#count + 1) * 2 > this.#slots.length) this.#grow();
    this.#place(id);
    this.#count++;
  }

  remove(id: number): void {
    const inoColumn = this.#ino();
    const genColumn = this.#gen();
    const mask = this.#slots.length - 1;
    let at = hash(inoColumn[id]!, genColumn[id]!) & mask;
    while (this.#slots[at] !== id) {
      assert(this.#slots[at] !== 0, "removing a node that the inode map does not hold");
      at = (at + 1) & mask;
    }
    this.#count--;
    for (let next = (at + 1) & mask; ; next = (next + 1) & mask) {
      const other = this.#slots[next]!;
      if (other === 0) break;
      const home = hash(inoColumn[other]!, genColumn[other]!) & mask;
      // `other` may move back to `at` unless its home lies cyclically in (at, next].
      if (at <= next ? at < home && home <= next : at < home || home <= next) continue;
      this.#slots[at] = other;
      at = next;
    }
    this.#slots[at] = 0;
  }

  #place(id: number): void {
    const mask = this.#slots.length - 1;
    let at = hash(this.#ino()[id]!, this.#gen()[id]!) & mask;
    while (this.#slots[at] !== 0) at = (at + 1) & mask;
    this.#slots[at] = id;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
    for (const id of old) if (id !== 0) this.#place(id);
  }
}

function hash(ino: number, gen: number): number {
  const high = Math.floor(ino / 4294967296);
  let h = Math.imul(ino >>> 0, 0x9e3779b1) ^ Math.imul(gen ^ high, 0x85ebca6b);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}
