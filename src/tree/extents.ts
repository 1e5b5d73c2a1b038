/**
 * `ExtentList`: a coalesced, sorted list of byte ranges [from, to) of one file, `to` possibly
 * Infinity (to the end, whatever it is). Bounded: beyond `extentCountMax` the nearest ranges are
 * joined, so that a file written at random all over costs bounded memory and some bytes too many.
 */

/** Ranges kept for one file. */
export const extentCountMax = 1024;

export class ExtentList {
  readonly #from: number[] = [];
  readonly #to: number[] = [];

  get count(): number {
    return this.#from.length;
  }

  get isEmpty(): boolean {
    return this.#from.length === 0;
  }

  from(index: number): number {
    return this.#from[index]!;
  }

  to(index: number): number {
    return this.#to[index]!;
  }

  add(from: number, to: number): void {
    if (to <= from) return;
    const last = this.#from.length - 1;
    // Most writes append to, or lie beyond, the last range.
    if (last < 0 || from > this.#to[last]!) {
      this.#from.push(from);
      this.#to.push(to);
    } else if (from >= this.#from[last]!) {
      if (to > this.#to[last]!) this.#to[last] = to;
      return;
    } else {
      this.#insert(from, to);
    }
    if (this.#from.length > extentCountMax) this.#joinNearest();
  }

  #insert(from: number, to: number): void {
    const first = this.#firstEndingAtOrAfter(from);
    let end = first;
    let low = from;
    let high = to;
    while (end < this.#from.length && this.#from[end]! <= to) {
      low = Math.min(low, this.#from[end]!);
      high = Math.max(high, this.#to[end]!);
      end++;
    }
    this.#from.splice(first, end - first, low);
    this.#to.splice(first, end - first, high);
  }

  #firstEndingAtOrAfter(position: number): number {
    let low = 0;
    let high = this.#to.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#to[middle]! < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Joins ranges across the narrower half of the gaps, so that the cost is spread over many adds.
   */
  #joinNearest(): void {
    const from = this.#from;
    const to = this.#to;
    const gaps = from.slice(1).map((start, i) => start - to[i]!);
    const limit = gaps.sort((a, b) => a - b)[gaps.length >>> 1]!;
    let kept = 0;
    for (let i = 1; i < from.length; i++) {
      if (from[i]! - to[kept]! <= limit) {
        to[kept] = to[i]!;
      } else {
        kept++;
        from[kept] = from[i]!;
        to[kept] = to[i]!;
      }
    }
    from.length = kept + 1;
    to.length = kept + 1;
  }

  /**
   * Takes [from, to) out of the list. A range that would be split where there is no room is kept.
   */
  subtract(from: number, to: number): void {
    const first = this.#firstEndingAtOrAfter(from + 1);
    let end = first;
    const kept: [number, number][] = [];
    while (end < this.#from.length && this.#from[end]! < to) {
      if (this.#from[end]! < from) kept.push([this.#from[end]!, from]);
      if (this.#to[end]! > to) kept.push([to, this.#to[end]!]);
      end++;
    }
    if (end === first || this.#from.length - (end - first) + kept.length > extentCountMax) return;
    this.#from.splice(first, end - first, ...kept.map(([start]) => start));
    this.#to.splice(first, end - first, ...kept.map(([, stop]) => stop));
  }

  intersects(from: number, to: number): boolean {
    const index = this.#firstEndingAtOrAfter(from + 1);
    return index < this.#from.length && this.#from[index]! < to;
  }

  clear(): void {
    // Popped, not cut: a list that is used again and again keeps its memory.
    while (this.#from.length > 0) {
      this.#from.pop();
      this.#to.pop();
    }
  }
}
