/**
 * `TargetHold`: keeps a live target at one cut while somebody copies it (a snapshot).
 *
 * It begins between two epochs: at once after a clean one, else after the next clean one, or, when
 * none comes for `cleanWaitMsMax`, where it stands. Until it is let go no epoch is applied; what
 * arrives waits as it does while the target is short of space (lowEpochCountMax, windowBytesMax),
 * then the link is not read any more, and the source's changes are joined in its dirty set.
 * Whoever holds works on later turns: the link is listened to and answered meanwhile.
 */
import type { Clock, Timer } from "../world/index.ts";

/** Wait for an epoch that was closed at a cut. */
export const cleanWaitMsMax = 10_000;

export interface HeldCut {
  readonly epoch: number;
  /** The source's wall clock when it was taken. */
  readonly wallMs: number;
  /** Not of one moment: no epoch could be closed at one for a while. */
  readonly isFuzzy: boolean;
}

export interface Holder {
  /** Called once, in a step of the session: the copying begins on a later turn. */
  held: (cut: HeldCut) => void;
  /** The session ends: what is copied from now on may be anything. */
  lost: () => void;
}

interface Applied {
  readonly epoch: number;
  readonly cutWallMs: number;
  readonly isFuzzy: boolean;
}

export class TargetHold {
  readonly #clock: Clock;
  readonly #wake: () => void;
  #holder: Holder | undefined;
  #isHeld = false;
  #isPatient = true;
  #timer: Timer | undefined;

  /** `wake` has `stops` asked soon. */
  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  get isOn(): boolean {
    return this.#holder !== undefined;
  }

  /** Gives how to let go; undefined while another one holds. */
  begin(holder: Holder): (() => void) | undefined {
    if (this.#holder !== undefined) return undefined;
    this.#holder = holder;
    this.#isHeld = false;
    this.#isPatient = true;
    this.#timer = this.#clock.after(cleanWaitMsMax, () => {
      this.#isPatient = false;
      this.#wake();
    });
    this.#wake();
    return () => {
      if (this.#holder !== holder) return;
      this.#end();
      this.#wake();
    };
  }

  /** To be asked between any two epochs, with the last one: whether the next has to wait. */
  stops({ epoch, cutWallMs, isFuzzy }: Applied): boolean {
    if (this.#holder === undefined) return false;
    if (this.#isHeld) return true;
    if (isFuzzy && this.#isPatient) return false;
    this.#isHeld = true;
    this.#timer?.cancel();
    this.#holder.held({ epoch, wallMs: cutWallMs, isFuzzy });
    return true;
  }

  /** The session ends. */
  lost(): void {
    const holder = this.#holder;
    this.#end();
    holder?.lost();
  }

  #end(): void {
    this.#holder = undefined;
    this.#timer?.cancel();
  }
}
