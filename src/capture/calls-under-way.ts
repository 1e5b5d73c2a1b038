/**
 * `CallsUnderWay`: calls of others that have begun and not returned (docs/adr/0036).
 *
 * A change is told when its call returns, but can be read before. Whoever has read files, has
 * looked what was told, and leaves some of that for later asks here whether anything that was read
 * may be of a call under way: of one that began after that look, since all that returned before an
 * older one began was told by then.
 *
 * In: the number of a look. Out: whether such a call may have written what somebody has read.
 */
import type { Kernel } from "../world/index.ts";

/** Calls that can be told of at once (native/bpf/capture.h). */
const callCount = 256;
const callSlots = 3;

/** Whether anything of a file was read from this position on. */
export type WasRead = (ino: number, gen: number, from: number) => boolean;

export interface CallsUnderWay {
  /** The number of the next look at what the kernel tells; it rises with each. */
  readonly nextLook: number;
  /**
   * Whether a call that began after the look `since` has begun, may have changed what was read, and
   * has not returned, also after a little wait. True also when that is not known. Whatever had been
   * read of others is told by now.
   */
  mayBeRead(since: number, wasRead: WasRead): boolean;
  /** Nobody is going to ask for a while. */
  rest(): void;
}

export class KernelCallsUnderWay implements CallsUnderWay {
  nextLook = 1;
  readonly #kernel: Kernel;
  readonly #handle: unknown;
  readonly #calls: Float64Array = new Float64Array(callCount * callSlots);

  constructor(kernel: Kernel, handle: unknown) {
    this.#kernel = kernel;
    this.#handle = handle;
  }

  mayBeRead(since: number, wasRead: WasRead): boolean {
    const calls = this.#calls;
    const count = this.#kernel.captureBegun(this.#handle, since, calls);
    this.nextLook++;
    for (let i = 0; i < count; i++) {
      const [ino, gen, from] = calls.subarray(i * callSlots, (i + 1) * callSlots);
      if (ino === 0 || wasRead(ino!, gen!, from!)) return true;
    }
    return count < 0;
  }

  rest(): void {
    this.#kernel.captureBegunRest(this.#handle);
  }
}
