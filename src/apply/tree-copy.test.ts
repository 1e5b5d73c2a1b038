/** Copies of real folders, judged by the independent comparison of src/verify. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { compareTrees } from "../verify/index.ts";
import { isHoldName } from "../wire/index.ts";
import { Errno, type Files, Open, Rename } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { openLevelCountMax, pieceBytesMax, TreeCopy } from "./tree-copy.ts";

interface Pair {
  from: string;
  to: string;
  links: string;
}

function pair(context: TestContext, toRoot: string = tmpdir()): Pair {
  const [own, other] = [tmpdir(), toRoot].map((root) => fs.mkdtempSync(join(root, "lockstep-tc-")));
  context.after(() => {
    // Deeper than node:fs can remove.
    execFileSync("rm", ["-rf", own!, other!]);
  });
  const places = { from: join(own!, "from"), to: join(other!, "to"), links: join(other!, "links") };
  for (const path of Object.values(places)) fs.mkdirSync(path);
  return places;
}

interface Copied {
  result: number;
  copy: TreeCopy;
  problems: string[];
  steps: number;
}

function copyAll({ from, to, links }: Pair, files: Files = native()): Copied {
  const fds = [from, to, links].map((path) =>
    native().openPath(Buffer.from(path), Open.read | Open.directory),
  );
  const problems: string[] = [];
  const copy = new TreeCopy({
    files,
    fromFd: fds[0]!,
    toFd: fds[1]!,
    linksFd: fds[2]!,
    isLeftOut: isHoldName,
    problem: (path, operation, errno) => problems.push(`${operation} ${path}: ${errno}`),
  });
  let [result, steps] = [1, 0];
  for (; result > 0; steps++) result = copy.step();
  copy.close();
  for (const fd of fds) native().close(fd);
  return { result, copy, problems, steps };
}

async function assertEqual({ from, to }: Pair): Promise<void> {
  const fds = [from, to].map((path) =>
    native().openPath(Buffer.from(path), Open.read | Open.directory),
  );
  const summary = await compareTrees(
    native(),
    fds[0]!,
    fds[1]!,
    {
      clock: nodeWorld({ write: () => {} }).clock,
      content: true,
      ignore: new Set(),
      settleMs: 0,
      differenceCountMax: 20,
    },
    {},
  );
  for (const fd of fds) native().close(fd);
  const found = summary.differences.map(
    ({ kind, path, detail }) => `${kind} ${Buffer.from(path).toString()}: ${detail}`,
  );
  assert.deepEqual(found, []);
}

function fill({ from }: Pair): void {
  const at = (...names: string[]): string => join(from, ...names);
  fs.mkdirSync(at("folder", "below"), { recursive: true });
  fs.writeFileSync(at("a"), "content");
  fs.linkSync(at("a"), at("folder", "same"));
  fs.linkSync(at("a"), at("folder", "below", "again"));
  fs.symlinkSync("nowhere", at("dangling"));
  execFileSync("mkfifo", [at("pipe")]);
  const fd = fs.openSync(at("holes"), "w");
  fs.writeSync(fd, "x", 1 << 20);
  fs.writeSync(fd, "y", 3 << 20);
  fs.ftruncateSync(fd, 9 << 20);
  fs.closeSync(fd);
  fs.writeFileSync(at("large"), Buffer.alloc(pieceBytesMax * 2 + 12_345, 7));
  fs.writeFileSync(at("empty"), "");
  const names = [["a"], ["folder"], ["large"]];
  for (const name of names) {
    const own = native().openPath(Buffer.from(at(...name)), Open.read);
    native().setAttribute(own, new Uint8Array(0), Buffer.from("user.k"), Buffer.from("value"));
    native().close(own);
  }
  fs.chmodSync(at("folder", "below"), 0o1555);
  fs.chmodSync(at("large"), 0o4711);
  fs.utimesSync(at("folder"), 5, 5.25);
  fs.utimesSync(from, 7, 7);
  fs.chmodSync(from, 0o2751);
}

test("content, holes, links, times and attributes are those of the folder", async (context) => {
  const places = pair(context);
  fill(places);
  const { result, copy, problems, steps } = copyAll(places);
  assert.deepEqual([result, problems], [0, []]);
  assert.ok(steps > 15, `${steps} steps: the large file alone takes three`);
  assert.deepEqual([copy.fileCount, copy.entryCount], [4, 10]);
  await assertEqual(places);
  assert.equal(
    fs.statSync(join(places.to, "a")).ino,
    fs.statSync(join(places.to, "folder/same")).ino,
  );
  assert.notEqual(fs.statSync(join(places.to, "a")).ino, fs.statSync(join(places.from, "a")).ino);
  const blocks = (path: string): number => fs.statSync(join(path, "holes")).blocks;
  assert.equal(blocks(places.to), blocks(places.from));
});

test("between two filesystems it is read and written", async (context) => {
  const isOther =
    fs.existsSync("/dev/shm") && fs.statSync("/dev/shm").dev !== fs.statSync(tmpdir()).dev;
  if (!isOther) return context.skip("needs /dev/shm beside the temporary folder");
  const places = pair(context, "/dev/shm");
  fill(places);
  const { result, problems } = copyAll(places);
  assert.deepEqual([result, problems], [0, []]);
  await assertEqual(places);
});

test("what the target holds for itself in its root is left out, and only there", (context) => {
  const places = pair(context);
  fs.mkdirSync(join(places.from, "d"));
  for (const name of [".lockstep-hold.1", ".lockstep-hold.keep-a.1", "d/.lockstep-hold.1", "x"]) {
    fs.writeFileSync(join(places.from, name), "");
  }
  assert.equal(copyAll(places).result, 0);
  assert.deepEqual(new Set(fs.readdirSync(places.to)), new Set(["d", "x"]));
  assert.deepEqual(fs.readdirSync(join(places.to, "d")), [".lockstep-hold.1"]);
});

test("folders within each other far deeper than a path is long are copied", async (context) => {
  const places = pair(context);
  const levelCount = openLevelCountMax * 5;
  const files = native();
  const name = Buffer.alloc(40, "d");
  let fd = files.openPath(Buffer.from(places.from), Open.read | Open.directory);
  for (let level = 0; level < levelCount; level++) {
    files.mkdir(fd, Buffer.from("side"), 0o755);
    files.mkdir(fd, name, 0o755);
    const next = files.openBeneath(fd, name, Open.read | Open.directory, 0);
    files.setTimes(fd, Buffer.from("side"), level, 1);
    files.close(fd);
    fd = next;
  }
  files.close(fd);
  const before = fs.readdirSync("/proc/self/fd").length;
  assert.equal(copyAll(places).result, 0);
  assert.equal(fs.readdirSync("/proc/self/fd").length, before, "nothing stays open");
  await assertEqual(places);
});

/** `native()`, but a call gives this result from its nth time on. */
function failing<K extends keyof Files>(call: K, nth: number, result: number): Files {
  let count = 0;
  const own = native();
  const original = own[call] as (...args: unknown[]) => number;
  return Object.create(own, {
    [call]: { value: (...args: unknown[]) => (++count < nth ? original(...args) : result) },
  }) as Files;
}

test("whatever fails is told with its path, and nothing stays open", (context) => {
  const calls = [
    "openBeneath",
    "cloneRange",
    "mkdir",
    "link",
    "scanDirectory",
    "ftruncate",
  ] as const;
  for (const call of calls) {
    for (let nth = 1; nth <= 4; nth++) {
      const places = pair(context);
      fill(places);
      const before = fs.readdirSync("/proc/self/fd").length;
      // The two folders themselves are opened when it is made.
      const first = call === "openBeneath" ? 2 : 0;
      const { result } = copyAll(places, failing(call, nth + first, -Errno.ENOSPC));
      const isReached = result === -Errno.ENOSPC;
      assert.ok(isReached || (call !== "openBeneath" && nth > 1), `${call} ${nth}: ${result}`);
      assert.equal(fs.readdirSync("/proc/self/fd").length, before, `${call} ${nth}`);
    }
  }
});

test("what may not be kept is a problem of its path, and all else is copied", (context) => {
  const places = pair(context);
  fill(places);
  const { result, problems } = copyAll(places, failing("chown", 1, -Errno.EPERM));
  assert.equal(result, 0);
  assert.ok(problems.includes("chown a: EPERM"));
  assert.equal(fs.readFileSync(join(places.to, "a"), "utf8"), "content");
});

test("any folder is copied as it is", async (context) => {
  const entry = fc.record({
    path: fc.array(fc.constantFrom("a", "b", "ü", " ", "c.json"), { minLength: 1, maxLength: 4 }),
    kind: fc.constantFrom("file", "file", "folder", "link", "symlink", "exchange"),
    size: fc.constantFrom(0, 1, 4096, 70_000),
    at: fc.nat(3),
    mode: fc.constantFrom(0o600, 0o755, 0o4755, 0o640),
  });
  const whole = fc.array(entry, { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(whole, async (entries) => {
      const places = pair(context);
      const files = native();
      const made: string[] = [];
      for (const { path, kind, size, at, mode } of entries) {
        const place = join(places.from, ...path);
        try {
          fs.mkdirSync(join(place, ".."), { recursive: true });
          if (kind === "folder") fs.mkdirSync(place, { mode: mode | 0o700 });
          else if (kind === "symlink") fs.symlinkSync("a/b", place);
          else if (kind === "link") fs.linkSync(made[at] ?? place, place);
          else if (kind === "exchange") {
            const fd = files.openPath(Buffer.from(places.from), Open.read | Open.directory);
            files.rename(fd, Buffer.from(path[0]!), fd, Buffer.from("b"), Rename.exchange);
            files.close(fd);
          } else {
            const own = fs.openSync(place, "w", mode);
            fs.writeSync(own, Buffer.alloc(size, 1 + at), 0, size, at * 100_000);
            fs.closeSync(own);
            made.push(place);
          }
          fs.lutimesSync(place, at, size + 0.123);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === undefined) throw error;
        }
      }
      assert.equal(copyAll(places).result, 0);
      await assertEqual(places);
      await setImmediate();
    }),
    { numRuns: 25 },
  );
});
