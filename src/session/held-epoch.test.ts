/** Frames that are held: what a cursor shows is what was added, from memory and from the spool. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { test } from "node:test";
import { frameBytesMax, FrameType } from "../wire/index.ts";
import { Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { HeldEpoch } from "./held-epoch.ts";
import { heldBytesMax } from "./limits.ts";

const payload = Uint8Array.from({ length: frameBytesMax - 1 }, (_, i) => (i * 31) & 255);

/** What an epoch of frames with these lengths shows, by `each` and by a cursor. */
function shown(lengths: readonly number[]): { spoolBytes: number; ways: string[] } {
  const files = native();
  const dirFd = files.openPath(Buffer.from(tmpdir()), Open.read | Open.directory);
  const epoch = new HeldEpoch({ files, dirFd });
  for (const [i, length] of lengths.entries()) {
    const start = i % 100;
    epoch.add(i % 2 === 0 ? FrameType.write : FrameType.place, payload, start, start + length);
  }
  const told = [createHash("sha256"), createHash("sha256"), createHash("sha256")] as const;
  const tell = (at: 0 | 1 | 2, type: number, bytes: Uint8Array, start: number, end: number) =>
    void told[at].update(`${type} ${end - start}:`).update(bytes.subarray(start, end));
  for (const [i, length] of lengths.entries()) {
    const type = i % 2 === 0 ? FrameType.write : FrameType.place;
    tell(0, type, payload, i % 100, (i % 100) + length);
  }
  epoch.each((...frame) => tell(1, ...frame));
  const cursor = epoch.cursor();
  while (cursor.next()) tell(2, cursor.type, cursor.bytes, cursor.start, cursor.end);
  assert.equal(cursor.next(), false);
  const { spoolBytes } = epoch;
  epoch.release();
  files.close(dirFd);
  return { spoolBytes, ways: told.map((hash) => hash.digest("hex")) };
}

test("a cursor shows every frame in memory, in order", () => {
  for (const lengths of [[], [0], [5, 0, 20_000, 7], [300_000, 1, 300_000]]) {
    const { spoolBytes, ways } = shown(lengths);
    assert.equal(spoolBytes, 0);
    assert.equal(new Set(ways).size, 1);
  }
});

test("and those that were spooled, of any length", () => {
  const longest = payload.length - 100;
  const lengths: number[] = [];
  for (let sum = 0; sum < heldBytesMax + 8_000_000; sum += lengths.at(-1)!) {
    const i = lengths.length;
    lengths.push(i % 7 === 0 ? longest : (i * 7919) % 200_000);
  }
  const { spoolBytes, ways } = shown(lengths);
  assert.ok(spoolBytes > 0);
  assert.equal(new Set(ways).size, 1);
});
