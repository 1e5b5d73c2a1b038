/** What lay in a folder that has been deleted goes with it: its names are not looked at. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test, type TestContext } from "node:test";
import type { Files } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { CutRig, Script } from "./cutter.fuzz.ts";

const fileCount = 200;

interface Removed {
  rig: CutRig;
  script: Script;
  /** Names that were looked at, since it was emptied. */
  looked: string[];
}

/** A mirrored folder `a/d` of many files, whose names are known one by one. */
function mirrored(context: TestContext): Removed {
  const looked: string[] = [];
  const system = native();
  const statAt: Files["statAt"] = (dirFd, name, out) => {
    looked.push(Buffer.from(name).toString());
    return system.statAt(dirFd, name, out);
  };
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  script.mkdir("a");
  script.mkdir("a/d");
  for (let i = 0; i < fileCount; i++) fs.writeFileSync(script.at(`a/d/f${i}`), `${i}`);
  rig.start({ ...system, statAt });
  rig.settle();
  return { rig, script, looked };
}

for (const isOpen of [true, false]) {
  const state = isOpen ? "still open" : "not open";
  test(`of a deleted folder that is ${state} its own name is looked at`, async (context) => {
    const { rig, script, looked } = mirrored(context);
    if (isOpen) {
      script.create("a/d/one", "more");
      rig.settle();
    } else {
      rig.cutter.closeIdle();
    }
    looked.length = 0;
    script.removeAll("a/d");
    const frames = rig.settle().map((epoch) => epoch.frames);
    assert.equal(frames.length, 1);
    assert.equal(frames[0]!["remove"], 1);
    assert.equal(frames[0]!["unlink"], undefined);
    const names = looked.filter((name) => /^f\d/.test(name));
    assert.deepEqual(names, []);
    assert.ok(looked.filter((name) => name === "d").length <= 3, `${looked.length} looks`);
    await rig.assertEqual("after the removal");
  });
}

test("what was moved out of a deleted folder, or made at its name, stays", async (context) => {
  const { rig, script } = mirrored(context);
  script.create("a/d/one", "more");
  rig.settle();
  script.rename("a/d/f7", "a/kept");
  script.removeAll("a/d");
  script.mkdir("a/d");
  script.create("a/d/f8", "another");
  const data = rig.settle().reduce((sum, epoch) => sum + epoch.dataBytes, 0);
  assert.equal(data, "another".length);
  await rig.assertEqual("after all");
});
