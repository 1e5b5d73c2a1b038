/**
 * The worker of the solo actor tests: answers each frame with the same bytes plus one.
 * A frame that begins with a command byte does something else first: see `Command`. Crashes happen
 * after the answer was sent and before the frame is committed, the worst moment.
 */
import { runSolo } from "../../src/actor/index.ts";
import type { ByteRx, ByteTx, Context } from "../../src/actor/index.ts";
import { assert } from "../../src/base/index.ts";
import { nodeThreadSelf, nodeWorld, stderrLog } from "../../src/world/node/index.ts";

export const Command = { crash: 250, exit: 251, bug: 252, veto: 253, later: 254 } as const;

/** Shared with the test: how many crashes are still to happen, and how often onStop was called. */
export interface SoloTestData {
  readonly words: SharedArrayBuffer;
}

interface State {
  readonly rx: ByteRx;
  readonly tx: ByteTx;
  readonly words: Int32Array;
  vetoCount: number;
  later: number | undefined;
}

runSolo<State>({
  world: nodeWorld(stderrLog("error")),
  thread: nodeThreadSelf,
  state: ({ receives, sends, data }) => {
    const [rx] = receives;
    const [tx] = sends;
    assert(rx !== undefined && tx !== undefined, "one ring each way");
    const words = new Int32Array((data as SoloTestData).words);
    return { rx, tx, words, vetoCount: 0, later: undefined };
  },
  step(state, context) {
    if (state.later !== undefined && context.world.clock.monotonicUs() >= state.later) {
      state.tx.send(Uint8Array.of(1));
      state.later = undefined;
    }
    while (state.rx.available() > 0 && state.tx.vacant() > 0) {
      const frame = state.rx.peek(0);
      state.tx.send(frame.map((byte) => byte + 1));
      obey(frame[0] ?? 0, state, context);
      state.rx.commit(1);
    }
  },
  mayStop(state) {
    if (state.vetoCount === 0) return true;
    state.vetoCount -= 1;
    return `not yet: ${state.vetoCount}`;
  },
  onStop(state) {
    Atomics.add(state.words, 1, 1);
  },
});

function obey(command: number, state: State, context: Context): void {
  const { words } = state;
  if (command === Command.veto) state.vetoCount = 2;
  if (command === Command.later) {
    state.later = context.world.clock.monotonicUs() + 2000;
    context.after(3);
  }
  if (Atomics.load(words, 0) === 0) return;
  if (command === Command.crash || command === Command.exit) Atomics.sub(words, 0, 1);
  if (command === Command.crash) throw new Error("told to crash");
  if (command === Command.exit) process.exit(9);
  assert(command !== Command.bug, "told to be wrong");
}
