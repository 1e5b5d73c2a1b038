/**
 * The runs of a new file: which of its ranges are in the basis, and which are not.
 *
 * They do not overlap, ascend, and cover the file without a gap; neighbours that go on in the
 * basis, or are both literal, are one run. Bounded: when the list is full the rest of the file is
 * literal.
 */

export class Runs {
  readonly #runCountMax: number;
  #at: Float64Array = new Float64Array(64);
  #basis: Float64Array = new Float64Array(64);
  #count = 0;
  /** Bytes of the file that have a run. */
  #end = 0;
  #literalBytes = 0;

  constructor(runCountMax: number) {
    this.#runCountMax = runCountMax;
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes of all literal runs. */
  get literalBytes(): number {
    return this.#literalBytes;
  }

  /** Position in the new file. */
  at(index: number): number {
    return this.#at[index]!;
  }

  length(index: number): number {
    return (index + 1 < this.#count ? this.#at[index + 1]! : this.#end) - this.#at[index]!;
  }

  /** Position in the basis; -1: the bytes are not in it. */
  basis(index: number): number {
    return this.#basis[index]!;
  }

  /** Adds a match behind all others; what is between is literal. */
  match(at: number, length: number, basis: number): void {
    // Room for this match, the literal before it and the one behind it.
    if (this.#count + 3 > this.#runCountMax) return;
    this.#literal(at);
    const last = this.#count - 1;
    const goesOn = last >= 0 && this.#basis[last]! >= 0 && this.#follows(last) === basis;
    if (!goesOn) this.#append(at, basis);
    this.#end = at + length;
  }

  /** The file ends here. */
  finish(fileBytes: number): void {
    this.#literal(fileBytes);
  }

  #follows(index: number): number {
    return this.#basis[index]! + this.length(index);
  }

  #literal(end: number): void {
    if (end <= this.#end) return;
    this.#literalBytes += end - this.#end;
    this.#append(this.#end, -1);
    this.#end = end;
  }

  #append(at: number, basis: number): void {
    if (this.#count === this.#at.length) {
      const capacity = Math.min(this.#runCountMax, this.#count * 2);
      this.#at = grown(this.#at, capacity);
      this.#basis = grown(this.#basis, capacity);
    }
    this.#at[this.#count] = at;
    this.#basis[this.#count] = basis;
    this.#count += 1;
  }
}

function grown(from: Float64Array, capacity: number): Float64Array {
  const to = new Float64Array(capacity);
  to.set(from);
  return to;
}
