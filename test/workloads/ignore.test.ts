/** Ignore rules on a real tree: seed, live changes, rules that change while it runs, restart. */
import assert from "node:assert/strict";
import {
  appendFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parsePatterns, ruleFileName } from "../../src/ignore/index.ts";
import { runCommand } from "./commands.ts";
import { cliPath, type Folders, type Mirror } from "./mirror.ts";
import { workload } from "./workload.ts";

const own = "*.own";
const rules = {
  first: ["cache/"],
  last: parsePatterns(Buffer.from(own)).patterns,
  readsFiles: true,
};
const pollMs = 20;
const waitMs = 10_000;

/** Writes files below a folder, by path. */
function fill(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += pollMs) {
    assert.ok(waited < waitMs, `not within ${waitMs} ms: ${what}`);
    await sleep(pollMs);
  }
}

function read(folder: string, path: string): string | undefined {
  return existsSync(join(folder, path)) ? readFileSync(join(folder, path), "utf8") : undefined;
}

function prepare({ source, target, scratch }: Folders): void {
  fill(source, {
    [ruleFileName]: "*.log\nbuild/\n!keep.log\n",
    a: "a",
    "a.log": "source",
    "keep.log": "kept",
    "build/out": "source",
    "cache/c": "source",
    "lib/build": "a file, not a folder",
    [`lib/${ruleFileName}`]: "!*.log\nsecret*\n",
    "lib/x.log": "included again",
    "lib/secret1": "source",
  });
  for (let i = 0; i < 300; i++)
    fill(source, { [`many/${i % 7}/f${i}.log`]: "x", [`many/f${i}`]: "y" });
  fill(target, {
    "t.own": "target",
    "a.log": "target",
    "build/there": "target",
    "gone/t.own": "target",
    extra: "to be removed",
  });
  mkdirSync(join(source, "gone"));
  fill(scratch, { patterns: "cache/\n" });
}

/** What the rules of `prepare` mean. */
function assertSeeded({ target }: Folders): void {
  const texts = ["a", "a.log", "keep.log", "build/there", "t.own", "lib/x.log", "lib/build"];
  assert.deepEqual(
    texts.map((path) => read(target, path)),
    ["a", "target", "kept", "target", "target", "included again", "a file, not a folder"],
  );
  for (const path of ["extra", "build/out", "cache", "lib/secret1", "many/3/f3.log"]) {
    assert.equal(existsSync(join(target, path)), false, path);
  }
}

workload(
  "ignore rules: seed, live changes, and rules that change",
  {
    size: "small",
    needs: [],
    prepare: (folders) => Promise.resolve(prepare(folders)),
    args: ["--ignore", own, "--ignore", "cache/"],
    rules: { ...rules, first: [], last: [...rules.last, "cache/"] },
  },
  async (mirror) => {
    const { source, target } = mirror;
    assertSeeded(mirror);
    await liveChanges(mirror);
    // Emptied and written anew, as `>` does.
    writeFileSync(join(source, ruleFileName), "*.tmp\nbuild/\n/many/\n");
    writeFileSync(join(source, "new.tmp"), "ignored from now on");
    await until("a.log is sent", () => read(target, "a.log") === "source");
    await mirror.verifyClean();
    assert.equal(read(target, "new.tmp"), undefined);
    writeFileSync(join(source, "many/f1"), "not sent");
    rmSync(join(source, "many/f2"));
    writeFileSync(join(source, "many.new"), "order");
    await until("what came later", () => read(target, "many.new") === "order");
    assert.deepEqual(
      ["many/f1", "many/f2"].map((path) => read(target, path)),
      ["y", "y"],
    );
    // Renamed over, as editors do; then moved away with its folder.
    writeFileSync(join(source, "rules.new"), "build/\n");
    renameSync(join(source, "rules.new"), join(source, ruleFileName));
    await until("many/f1 is sent", () => read(target, "many/f1") === "not sent");
    await until("many/f2 is removed", () => !existsSync(join(target, "many/f2")));
    renameSync(join(source, "lib"), join(source, "library"));
    appendFileSync(join(source, `library/${ruleFileName}`), "x.log\n");
    await mirror.verifyClean();
    rmSync(join(source, ruleFileName));
    await until("build/out is sent", () => read(target, "build/out")?.endsWith("line\n") === true);
    await until("build/there is removed", () => !existsSync(join(target, "build/there")));
    assert.equal(read(target, "t.own"), "target");
    assert.equal(read(target, "gone/t.own"), "target");
  },
);

async function liveChanges({ source, target, verifyClean }: Mirror): Promise<void> {
  for (let i = 0; i < 200; i++) {
    appendFileSync(join(source, `l${i % 5}.log`), "line\n");
    appendFileSync(join(source, "build/out"), "line\n");
    appendFileSync(join(source, `l${i % 5}`), "line\n");
  }
  renameSync(join(source, "l1"), join(source, "l1.log"));
  renameSync(join(source, "l2.log"), join(source, "l2.text"));
  linkSync(join(source, "l3"), join(source, "l3-link.log"));
  appendFileSync(join(source, "l3-link.log"), "through the ignored name\n");
  await verifyClean();
  assert.equal(read(target, "l1"), undefined);
  assert.equal(read(target, "l2.text"), "line\n".repeat(40));
  assert.match(read(target, "l3") ?? "", /ignored name/);
}

workload(
  "ignore rules: a restart, with rules changed in between",
  {
    size: "small",
    needs: [],
    args: ["--ignore", own],
    rules: { ...rules, first: [] },
    prepare: async (folders) => {
      const { source, target, scratch } = folders;
      prepare(folders);
      const state = join(scratch, "state");
      mkdirSync(state, { mode: 0o700 });
      const patterns = ["--ignore", own, "--ignore-from", join(scratch, "patterns")];
      const args = [cliPath, "sync", source, target, "--once", ...patterns];
      await runCommand(process.execPath, args, {
        cwd: scratch,
        env: { ...process.env, STATE_DIRECTORY: state },
      });
      assertSeeded(folders);
      writeFileSync(join(source, ruleFileName), "build/\n*.text\n/lib/x.log\n");
      fill(source, { "b.text": "ignored", "lib/x.log": "changed", a: "changed" });
    },
  },
  async ({ target, verifyClean }) => {
    await verifyClean();
    const paths = ["a", "a.log", "cache/c", "b.text", "lib/x.log", "build/there", "t.own"];
    assert.deepEqual(
      paths.map((path) => read(target, path)),
      ["changed", "source", "source", undefined, "changed", "target", "target"],
    );
  },
);
