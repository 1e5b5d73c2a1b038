/**
 * The launcher and tools/setup, in a small checkout of their own whose compiler is a shell script:
 * what counts here is when they build, where their words go, and which folder the program sees.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { rootPath } from "./source-tree.ts";

interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

const compiler = `#!/bin/sh
# Counts its runs, and "compiles" by writing a program that says what it was given.
echo run >>"$FAKE/builds"
echo "compiler chatter"
[ ! -e "$FAKE/broken" ] || exit 2
sleep 0.2
mkdir -p "$FAKE/dist/src/cli"
echo 'console.log(JSON.stringify({cwd: process.cwd(), args: process.argv.slice(2)}))' \\
  >"$FAKE/dist/src/cli/main.js"
`;

/** A checkout with nothing built, removed when the test ends. */
function makeCheckout(context: TestContext): string {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "lockstep-launcher-")));
  context.after(() => rmSync(root, { recursive: true, force: true }));
  for (const folder of ["src/cli", "test", "bench", "tools", "native", "node_modules/.bin"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  for (const file of ["lockstep", "tools/setup", "tools/staleness.sh"]) {
    copyFileSync(join(rootPath, file), join(root, file));
  }
  writeFileSync(join(root, "package.json"), '{"type":"module"}');
  for (const file of ["package-lock.json", "tsconfig.json", "src/cli/main.ts"]) {
    writeFileSync(join(root, file), "{}");
  }
  writeFileSync(join(root, "node_modules/.package-lock.json"), "{}");
  writeFileSync(join(root, "node_modules/.bin/tsc"), compiler);
  chmodSync(join(root, "node_modules/.bin/tsc"), 0o755);
  writeFileSync(join(root, "native/Makefile"), 'all:\n\t@echo made >>"$(FAKE)/made"\n');
  ageSources(root);
  return root;
}

/** Dates all sources to the past, so that a stamp made now is newer at any timestamp grain. */
function ageSources(root: string): void {
  const past = new Date(Date.now() - 3_600_000);
  const folders = ["src/cli", "src", "test", "bench", "tools", "native"];
  const files = ["package-lock.json", "tsconfig.json", "src/cli/main.ts", "native/Makefile"];
  const tools = ["tools/setup", "tools/staleness.sh"];
  for (const path of [...files, ...tools, ...folders]) utimesSync(join(root, path), past, past);
}

function run(root: string, command: string, args: string[], cwd = root): Promise<Outcome> {
  const environment = { ...process.env, FAKE: root };
  return new Promise((resolve) => {
    const options = { cwd, env: environment, timeout: 60_000 };
    execFile(command, args, options, (error, stdout, stderr) => {
      const exit = error === null ? 0 : Number(error.code ?? -1);
      resolve({ exit, stdout, stderr });
    });
  });
}

function launch(root: string, ...args: string[]): Promise<Outcome> {
  return run(root, join(root, "lockstep"), args);
}

function countLines(path: string): number {
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").length - 1 : 0;
}

const builds = (root: string): number => countLines(join(root, "builds"));

test("the first start builds, the second does not; stdout is the program's", async (t) => {
  const root = makeCheckout(t);
  const first = await launch(root, "sync", "a b", "--json");
  assert.equal(first.exit, 0, first.stderr);
  assert.deepEqual(JSON.parse(first.stdout), { cwd: root, args: ["sync", "a b", "--json"] });
  assert.match(first.stderr, /compiling TypeScript[^]*compiler chatter/);
  const second = await launch(root, "x");
  assert.deepEqual([second.exit, second.stderr], [0, ""]);
  assert.equal(builds(root), 1);
  assert.equal(countLines(join(root, "made")), 1);
});

test("an edited, an added and a removed source each make one new build", async (t) => {
  const root = makeCheckout(t);
  await launch(root);
  const extra = join(root, "src/cli/extra.ts");
  const changes = [
    () => writeFileSync(join(root, "src/cli/main.ts"), "new"),
    () => writeFileSync(extra, "added"),
    () => rmSync(extra),
  ];
  for (const [index, change] of changes.entries()) {
    change();
    const outcome = await launch(root);
    assert.equal(outcome.exit, 0, outcome.stderr);
    assert.equal(builds(root), 2 + index);
    ageSources(root);
  }
  await launch(root);
  assert.equal(builds(root), 4);
  assert.equal(countLines(join(root, "made")), 1);
});

test("an edited native source rebuilds only the addon", async (t) => {
  const root = makeCheckout(t);
  await launch(root);
  writeFileSync(join(root, "native/addon.c"), "int x;");
  await launch(root);
  assert.deepEqual([builds(root), countLines(join(root, "made"))], [1, 2]);
});

test("the program runs in the caller's folder, also through a symlink", async (t) => {
  const root = makeCheckout(t);
  const elsewhere = realpathSync(mkdtempSync(join(tmpdir(), "lockstep-elsewhere-")));
  t.after(() => rmSync(elsewhere, { recursive: true, force: true }));
  symlinkSync(join(root, "lockstep"), join(elsewhere, "link"));
  const outcome = await run(root, "./link", ["relative/path"], elsewhere);
  assert.equal(outcome.exit, 0, outcome.stderr);
  assert.deepEqual(JSON.parse(outcome.stdout), { cwd: elsewhere, args: ["relative/path"] });
});

test("first starts at the same time build once", async (t) => {
  const root = makeCheckout(t);
  const outcomes = await Promise.all([launch(root, "1"), launch(root, "2"), launch(root, "3")]);
  for (const outcome of outcomes) assert.equal(outcome.exit, 0, outcome.stderr);
  assert.equal(builds(root), 1);
});

test("a build that fails ends with code 3, its words on stderr, and is tried again", async (t) => {
  const root = makeCheckout(t);
  writeFileSync(join(root, "broken"), "");
  const failed = await launch(root);
  assert.deepEqual([failed.exit, failed.stdout], [3, ""]);
  assert.match(failed.stderr, /compiler chatter[^]*TypeScript build failed/);
  rmSync(join(root, "broken"));
  const mended = await launch(root);
  assert.equal(mended.exit, 0, mended.stderr);
  assert.equal(builds(root), 2);
});

test("LOCKSTEP_NO_SETUP takes the build as it is", async (t) => {
  const root = makeCheckout(t);
  await launch(root);
  writeFileSync(join(root, "src/cli/main.ts"), "new");
  const script = 'LOCKSTEP_NO_SETUP=1 exec "$1"';
  const outcome = await run(root, "sh", ["-c", script, "sh", join(root, "lockstep")]);
  assert.deepEqual([outcome.exit, builds(root)], [0, 1]);
});

test("a node that is too old is refused with its version", async (t) => {
  const root = makeCheckout(t);
  mkdirSync(join(root, "bin"));
  writeFileSync(join(root, "bin/node"), "#!/bin/sh\necho v18.20.4\n");
  chmodSync(join(root, "bin/node"), 0o755);
  const script = 'PATH="$2:$PATH" exec "$1"';
  const args = ["-c", script, "sh", join(root, "lockstep"), join(root, "bin")];
  const outcome = await run(root, "sh", args);
  assert.equal(outcome.exit, 3);
  assert.match(outcome.stderr, /20\.19 or newer is needed; `node` here is 18\.20\.4/);
});

test("tools/setup refuses what it does not know", async (t) => {
  const root = makeCheckout(t);
  const outcome = await run(root, join(root, "tools/setup"), ["--tset"]);
  assert.equal(outcome.exit, 2);
  assert.match(outcome.stderr, /unknown argument --tset/);
});
