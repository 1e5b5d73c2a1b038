/** The harness itself: it passes with a mirror that works, and fails with one that does not. */
import assert from "node:assert/strict";
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isInstalled } from "./commands.ts";
import { withMirror } from "./mirror.ts";

const common = { backend: "auto", args: [] };

const noRsync = isInstalled("rsync") ? false : "needs rsync";

test("a mirror that works passes, and is compared in between", { skip: noRsync }, async () => {
  const result = await withMirror({ ...common, program: "rsync" }, async (mirror) => {
    writeFileSync(join(mirror.source, "first"), "1");
    await mirror.verifyClean();
    appendFileSync(join(mirror.source, "first"), "2");
  });
  assert.equal(result.entryCount, 2);
});

test("a mirror that does nothing fails, with the names of what is missing", async () => {
  const run = withMirror({ ...common, program: "nothing", convergeMs: 100 }, async (mirror) => {
    writeFileSync(join(mirror.source, "unseen"), "1");
    await Promise.resolve();
  });
  await assert.rejects(run, /not equal after \d+ ms[^]*missing unseen/);
});

test("a workload that fails is not hidden by the mirror", async () => {
  const run = withMirror({ ...common, program: "nothing" }, async () => {
    await Promise.reject(new Error("the workload's own error"));
  });
  await assert.rejects(run, /the workload's own error/);
});
