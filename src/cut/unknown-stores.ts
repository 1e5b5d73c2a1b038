/**
 * `UnknownStores`: files that were mapped or stored to through a mapping when nobody knew them:
 * they were just being made, or their tree was being compared, or there was no link. The kernel
 * tells of such a page once and is then silent until it is cleaned, so whoever gets to know the
 * file must clean it before he can rely on having read it (mapped-stores.ts).
 *
 * In: what capture tells, and what is mapped when a mirror begins. Out: `take`, asked when a node
 * gets its inode.
 * Limits: `unknownStoreCountMax`; the oldest is forgotten. Most are files that are not in the tree.
 */
import { type ChangeSink, deafSink, inodeIn } from "../capture/index.ts";

/** Inodes remembered. */
export const unknownStoreCountMax = 16384;

const anyGen = -1;

export class UnknownStores {
  /** Inode -> generation. */
  readonly #gens: Map<number, number> = new Map();

  get size(): number {
    return this.#gens.size;
  }

  note(ino: number, gen: number): void {
    const known = this.#gens.get(ino);
    this.#gens.delete(ino);
    if (this.#gens.size >= unknownStoreCountMax) {
      this.#gens.delete(this.#gens.keys().next().value!);
    }
    this.#gens.set(ino, known === undefined || known === gen ? gen : anyGen);
  }

  /** Of whatever generation. */
  noteInode(ino: number): void {
    this.note(ino, anyGen);
  }

  /** Whether the file was noted; it is not any more. */
  take(ino: number, gen: number): boolean {
    // What is mapped when a mirror begins is known by its inode's number alone.
    const key = this.#gens.has(ino) ? ino : inodeIn(ino);
    const known = this.#gens.get(key);
    if (known === undefined || (known !== anyGen && (known !== gen || key !== ino))) return false;
    return this.#gens.delete(key);
  }

  /** For while there is no tree at all: hears of stores and of nothing else. */
  readonly sink: ChangeSink = {
    ...deafSink,
    written: (ino, gen, _from, _to, _timeUs, _sharedPosition, mapped) => {
      if (mapped) this.note(ino, gen);
    },
    stored: (ino, gen) => this.note(ino, gen),
    mapped: (ino, gen) => this.note(ino, gen),
  };
}
