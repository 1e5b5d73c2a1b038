import assert from "node:assert/strict";
import { test } from "node:test";
import type { Files } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { stagedCountMax, stagedOpenCountMax } from "./staged-count.ts";

function limitsSaying(text: string): Files {
  return {
    openPath: () => 7,
    pread: (_fd: number, bytes: Uint8Array) => Buffer.from(bytes.buffer).write(text),
    close: () => 0,
  } as unknown as Files;
}

const above = "Limit                     Soft Limit           Hard Limit           Units     \n";

test("new files take a share of what the process may open, bounded both ways", () => {
  const count = (soft: string): number =>
    stagedCountMax(
      limitsSaying(`${above}Max open files            ${soft}                 9 files\n`),
    );
  assert.equal(count("20000"), 2500);
  assert.equal(count("1048576"), stagedOpenCountMax);
  assert.equal(count("unlimited"), stagedOpenCountMax);
  assert.equal(count("256"), 128);
});

test("without word of the limit the least is taken", () => {
  assert.equal(stagedCountMax(limitsSaying("")), 128);
  const refused = { openPath: () => -2 } as unknown as Files;
  assert.equal(stagedCountMax(refused), 128);
});

test("the kernel's own table is understood", () => {
  const count = stagedCountMax(native());
  assert.ok(count >= 128 && count <= stagedOpenCountMax, String(count));
});
