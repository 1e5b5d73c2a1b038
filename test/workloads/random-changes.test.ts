import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { change, list, Random } from "./random-changes.ts";

test("random changes touch nothing outside the folder, also when it is empty", (t) => {
  const base = mkdtempSync(join(tmpdir(), "lockstep-changes-"));
  t.after(() => rmSync(base, { recursive: true, force: true }));
  const root = join(base, "root");
  const before = readdirSync(".");
  for (let seed = 0; seed < 200; seed++) {
    mkdirSync(root);
    const random = new Random(seed);
    for (let i = 0; i < 5; i++) {
      try {
        change(random, ...list(root));
      } catch (error) {
        if (!(error instanceof Error && "code" in error)) throw error;
      }
    }
    assert.deepEqual(readdirSync(base), ["root"], `seed ${seed}`);
    rmSync(root, { recursive: true, force: true });
  }
  assert.deepEqual(readdirSync("."), before);
});
