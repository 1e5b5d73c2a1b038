/**
 * `WalkCursor`: how far a comparison has come, so that an interrupted one can be gone on with.
 *
 * The walk takes the entries of a folder, then its folders in the order of their names, each with
 * all below it. So the last folder whose entries were all compared says which others were; of the
 * folder after it, the large files that were found equal are remembered. What was compared before
 * is not looked at again. Pure.
 */
import type { CompareProgress } from "./compare-trees.ts";

/** Files of this size and more are remembered one by one, in the folder that is not finished. */
const largeBytesMin = 16 * 1024 * 1024;
/** Of one folder; further ones are compared again. */
export const largeCountMax = 1024;

export interface CursorState {
  /** Names from the root down, Latin-1 strings as of a DirectoryReader; the root has none. */
  readonly folder: readonly string[];
  /** Names in the folder after it, of large files that were equal. */
  readonly large: readonly string[];
}

export class WalkCursor {
  /** Where an earlier walk was; undefined when there was none. */
  readonly #start: CursorState | undefined;
  readonly #onFinished: (progress: CompareProgress) => void;
  #state: CursorState | undefined;
  #large: string[];
  /** `large` of the start is about the first folder that is not done. */
  #isFirst: boolean;

  /** `onFinished` hears of each folder whose entries have all been compared. */
  constructor(start?: CursorState, onFinished: (progress: CompareProgress) => void = () => {}) {
    this.#start = start;
    this.#state = start;
    this.#onFinished = onFinished;
    this.#large = [...(start?.large ?? [])];
    this.#isFirst = start !== undefined;
  }

  /** Undefined until a folder has been finished. */
  get state(): CursorState | undefined {
    return this.#state && { folder: this.#state.folder, large: this.#large };
  }

  /** Whether the entries of a folder were compared by the earlier walk. */
  isDone(path: Uint8Array): boolean {
    if (this.#start === undefined) return false;
    const folder = componentsOf(path);
    return this.#start.folder.length >= folder.length && isAbove(folder, this.#start.folder);
  }

  /** Whether there is something left to do in or below a folder. */
  isAhead(path: Uint8Array): boolean {
    if (this.#start === undefined) return true;
    const folder = componentsOf(path);
    return isAbove(folder, this.#start.folder) || compare(folder, this.#start.folder) > 0;
  }

  finished(path: Uint8Array, progress: CompareProgress): void {
    this.#state = { folder: componentsOf(path), large: [] };
    this.#large = [];
    this.#isFirst = false;
    this.#onFinished(progress);
  }

  /** Whether a file of the present folder was read and found equal before. */
  hasRead(name: string): boolean {
    return this.#isFirst && this.#large.includes(name);
  }

  noteRead(name: string, size: number): void {
    if (size < largeBytesMin || this.#large.length >= largeCountMax) return;
    if (!this.#large.includes(name)) this.#large.push(name);
  }
}

function componentsOf(path: Uint8Array): readonly string[] {
  const text = Buffer.from(path).toString("latin1");
  return text === "." ? [] : text.split("/");
}

/** Whether `folder` is `other` or above it. */
function isAbove(folder: readonly string[], other: readonly string[]): boolean {
  return folder.every((name, index) => name === other[index]);
}

function compare(one: readonly string[], other: readonly string[]): number {
  for (let index = 0; index < Math.min(one.length, other.length); index++) {
    const [a, b] = [one[index]!, other[index]!];
    if (a !== b) return a < b ? -1 : 1;
  }
  return one.length - other.length;
}
