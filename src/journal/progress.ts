/**
 * `Progress`: counts the operations of a generation as they are carried out, and has a mark written
 * where redo could not repeat or find out by looking what has been done:
 * before anything changes what has been copied from, and after every `nameWindow` operations on
 * names.
 */
import type { Applier } from "../apply/index.ts";
import { FrameType, u32 } from "../wire/index.ts";

/** Operations on names of which redo has to find out by looking whether they were carried out. */
export const nameWindow = 1024;

const nameTypes: ReadonlySet<number> = new Set([
  FrameType.place,
  FrameType.rename,
  FrameType.link,
  FrameType.unlink,
  FrameType.remove,
  FrameType.detach,
]);
const contentTypes: ReadonlySet<number> = new Set([
  FrameType.write,
  FrameType.zero,
  FrameType.truncate,
  FrameType.clone,
]);

export function isNameOperation(type: number): boolean {
  return nameTypes.has(type);
}

export function isContentOperation(type: number): boolean {
  return contentTypes.has(type);
}

export class Progress {
  readonly #applier: Applier;
  readonly #mark: (operations: number, nameOperations: number) => void;
  #operations = 0;
  #nameOperations = 0;
  #markedNames = 0;
  /** Whose content has been copied since the last mark. */
  readonly #copied: Set<number> = new Set();

  /** `mark` puts down, for good, that so many operations have been carried out. */
  constructor(applier: Applier, mark: (operations: number, nameOperations: number) => void) {
    this.#applier = applier;
    this.#mark = mark;
  }

  get nameOperations(): number {
    return this.#nameOperations;
  }

  /** Begins with this operation, as if all before it were marked. */
  startAt(operations: number, nameOperations: number): void {
    this.#operations = operations;
    this.#nameOperations = nameOperations;
    this.#markedNames = nameOperations;
    this.#copied.clear();
  }

  /** Goes on with this operation; what has been marked, and copied since, is as before. */
  goTo(operations: number, nameOperations: number): void {
    this.#operations = operations;
    this.#nameOperations = nameOperations;
  }

  /** This operation is going to be carried out. */
  before(type: number, bytes: Uint8Array, start: number): void {
    if (this.#copied.size > 0 && this.#endsCopies(type, bytes, start)) this.#put();
    if (type === FrameType.clone) {
      const node = u32(bytes, start);
      // A new file's content is not in the journal then, and must not vanish with this process.
      if (this.#applier.staged.has(node)) this.#applier.hold(node);
      this.#copied.add(u32(bytes, start + 4));
    } else if (nameTypes.has(type)) {
      if (this.#nameOperations - this.#markedNames >= nameWindow) this.#put();
      this.#nameOperations++;
    }
    this.#operations++;
  }

  /** All of the record has been carried out. */
  finish(): void {
    if (this.#copied.size > 0) this.#put();
  }

  #endsCopies(type: number, bytes: Uint8Array, start: number): boolean {
    if (type === FrameType.clone) return false;
    return !contentTypes.has(type) || this.#copied.has(u32(bytes, start));
  }

  #put(): void {
    this.#copied.clear();
    this.#markedNames = this.#nameOperations;
    this.#mark(this.#operations, this.#nameOperations);
  }
}
