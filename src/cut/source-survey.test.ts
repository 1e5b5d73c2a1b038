import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { rootId } from "../tree/index.ts";
import { Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { SourceSurvey } from "./source-survey.ts";

test("a folder has the time that it had when it came to be watched, or a later one", (context) => {
  const files = native();
  const root = fs.mkdtempSync(join(tmpdir(), "survey-"));
  context.after(() => fs.rmSync(root, { recursive: true, force: true }));
  const folder = join(root, "d");
  fs.mkdirSync(folder);
  fs.utimesSync(folder, 5, 5);
  const rootFd = files.openPath(Buffer.from(root), Open.read | Open.directory);
  context.after(() => files.close(rootFd));
  const { ino } = fs.statSync(folder);
  const survey = new SourceSurvey({
    files,
    rootFd,
    sha256: () => new Uint8Array(32),
    hasOrigins: false,
    watchDirectory: (_, watched) => {
      // A name that comes and goes: the last moment of which no watch tells.
      if (watched === ino) fs.rmSync(fs.mkdtempSync(join(folder, "f-")), { recursive: true });
      return 0;
    },
  });
  while (survey.step());
  assert.ok(survey.isComplete);
  const node = survey.tree.child(rootId, Buffer.from("d"));
  assert.equal(survey.tree.mtimeSec[node], Math.floor(fs.statSync(folder).mtimeMs / 1000));
});
