/** The names of one directory, kept until they are matched. */
import { statSlots } from "../world/index.ts";

/** Name to stat record, for the directory of any size, without an object for each record. */
export class Listing {
  readonly #indexOf = new Map<string, number>();
  #stats = new Float64Array(64 * statSlots);
  #count = 0;

  add(name: string, stat: Float64Array): void {
    if ((this.#count + 1) * statSlots > this.#stats.length) {
      const larger = new Float64Array(2 * this.#stats.length);
      larger.set(this.#stats);
      this.#stats = larger;
    }
    this.#stats.set(stat, this.#count * statSlots);
    this.#indexOf.set(name, this.#count);
    this.#count += 1;
  }

  /** The record of `name`, which is then no longer in the listing. */
  take(name: string): Float64Array | undefined {
    const index = this.#indexOf.get(name);
    if (index === undefined) return undefined;
    this.#indexOf.delete(name);
    return this.#stats.subarray(index * statSlots, (index + 1) * statSlots);
  }

  /** Names that were not taken; taking them meanwhile is allowed. */
  names(): IterableIterator<string> {
    return this.#indexOf.keys();
  }
}
