/** Which epochs arrive whole, and which the target may show by themselves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CommitFlag, decodeCommit, FrameReader, FrameType, OpWriter } from "../wire/index.ts";
import { ArrivingEpoch } from "./arriving-epoch.ts";

interface Frame {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** The frames of an epoch with so many operations, the COMMIT last. */
function epochOf(count: number, flags = 0, epoch = 1): Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader((type, bytes, start, end) => {
    // Its type is before what is handed over.
    frames.push({ type, bytes: bytes.slice(start - 1, end) });
  });
  const writer = new OpWriter((piece) => reader.push(piece));
  for (let i = 0; i < count; i++) writer.times(2 + i, epoch, i);
  writer.commit(epoch, flags, 0);
  writer.flush();
  return frames;
}

function arrive(epoch: ArrivingEpoch, frames: readonly Frame[]): boolean | undefined {
  let isPart: boolean | undefined;
  for (const { type, bytes } of frames) {
    if (type !== FrameType.commit) {
      epoch.add(bytes, 1, bytes.length);
      assert.equal(epoch.isEmpty, false);
      continue;
    }
    const commit = decodeCommit(bytes, 1, bytes.length);
    epoch.end(commit);
    isPart = epoch.isPartOfNext(commit);
    assert.equal(epoch.isEmpty, true);
  }
  return isPart;
}

test("an epoch with a frame lost, doubled, changed or moved is refused", () => {
  const frames = epochOf(4);
  arrive(new ArrivingEpoch("bounded"), frames);
  const [a, b, c, d, commit] = frames as [Frame, Frame, Frame, Frame, Frame];
  const changed = { type: b.type, bytes: b.bytes.map((byte, i) => (i === 1 ? byte ^ 1 : byte)) };
  const broken = [
    [a, b, c, commit],
    [a, b, c, d, d, commit],
    [b, a, c, d, commit],
    [a, changed, c, d, commit],
    [commit],
  ];
  for (const each of broken) {
    const epoch = new ArrivingEpoch("bounded");
    assert.throws(() => arrive(epoch, each), { code: "PEER_MALFORMED" });
  }
  // What is left of one does not count for the next.
  const epoch = new ArrivingEpoch("bounded");
  for (let turn = 1; turn < 5; turn++) arrive(epoch, epochOf(turn, 0, turn));
});

test("nothing is shown before the source has said that the target equals it", () => {
  for (const consistency of ["bounded", "strict"] as const) {
    const epoch = new ArrivingEpoch(consistency);
    assert.equal(epoch.isEmpty, true);
    assert.equal(arrive(epoch, epochOf(3)), true);
    assert.equal(arrive(epoch, epochOf(0)), true);
    assert.equal(arrive(epoch, epochOf(2, CommitFlag.fuzzy)), true);
    assert.equal(arrive(epoch, epochOf(2, CommitFlag.live)), false);
    assert.equal(arrive(epoch, epochOf(1)), false);
  }
});

test("strict shows no fuzzy epoch, be it the first, and bounded shows each", () => {
  const both = CommitFlag.live | CommitFlag.fuzzy;
  const flags = fc.array(fc.constantFrom<number>(0, CommitFlag.fuzzy, CommitFlag.live, both));
  fc.assert(
    fc.property(flags, (all) => {
      const [bounded, strict] = [new ArrivingEpoch("bounded"), new ArrivingEpoch("strict")];
      let isEqual = false;
      for (const [i, each] of all.entries()) {
        isEqual ||= (each & CommitFlag.live) !== 0;
        const isFuzzy = (each & CommitFlag.fuzzy) !== 0;
        assert.equal(arrive(bounded, epochOf(i % 3, each)), !isEqual);
        assert.equal(arrive(strict, epochOf(i % 3, each)), !isEqual || isFuzzy);
      }
    }),
    { numRuns: 100 },
  );
});
