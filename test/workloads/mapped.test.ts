/**
 * Stores through a mapping that the kernel tells of once, at a moment when nobody knows the file
 * yet: it is new, it is being renamed, or it was mapped before the sync began. What is stored later
 * to the same page is told by nothing.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { makeHome, Running, scratchFolder } from "../cli/program.ts";
import { isInstalled } from "./commands.ts";

const waitMs = 20_000;
const skip =
  process.getuid?.() !== 0
    ? "needs root, for eBPF"
    : isInstalled("python3")
      ? false
      : "needs python3";

/** Stores once and says so; stores again for each line of input. */
const program = `
import mmap, os, sys
path, made = sys.argv[1], sys.argv[2]
file = open(path if made == "" else made, "r+b" if made == "" else "w+b")
file.truncate(8192)
view = mmap.mmap(file.fileno(), 0)
view[0:5] = b"first"
if made not in ("", path): os.rename(made, path)
print("stored", flush=True)
for turn, line in enumerate(sys.stdin):
    view[5 + turn:6 + turn] = b"+"
    print("stored", flush=True)
`;

class Storing {
  readonly #child: ChildProcess;
  #said = "";

  /** Maps the file at `path`, which it makes as `made` unless that is empty. */
  constructor(t: TestContext, path: string, made: string) {
    this.#child = spawn("python3", ["-c", program, path, made]);
    this.#child.stdout?.on("data", (part: Buffer) => (this.#said += part.toString()));
    t.after(() => this.#child.kill("SIGKILL"));
  }

  storeAgain(): void {
    this.#child.stdin?.write("\n");
  }

  async hasStored(times: number): Promise<void> {
    await until("it stores", () => this.#said.split("\n").length > times);
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const limit = performance.now() + waitMs;
  for (; !holds(); await sleep(5)) assert.ok(performance.now() < limit, `never: ${what}`);
}

function begins(path: string, text: string): boolean {
  try {
    return readFileSync(path, "latin1").startsWith(text);
  } catch {
    return false;
  }
}

function sync(t: TestContext): { source: string; copies: string[]; start: () => Promise<Running> } {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const source = join(folder, "source");
  mkdirSync(source);
  const targets = [join(folder, "one"), join(folder, "two")];
  const start = async (): Promise<Running> => {
    const running = new Running(t, ["sync", source, ...targets, "--json"], { home, stdin: "" });
    await running.said(/"event":"live"[^]*"event":"live"/);
    return running;
  };
  return { source, copies: targets.map((target) => join(target, "file")), start };
}

async function storeOn(storing: Storing, copies: readonly string[]): Promise<void> {
  let text = "first";
  for (let times = 2; times < 6; times++) {
    await until(`${text} arrives`, () => copies.every((copy) => begins(copy, text)));
    storing.storeAgain();
    await storing.hasStored(times);
    text += "+";
  }
  await until(`${text} arrives`, () => copies.every((copy) => begins(copy, text)));
}

for (const [what, made] of [
  ["new", "file"],
  ["renamed at once", "other"],
] as const) {
  test(`workload: stores to a file that is ${what}`, { skip }, async (t) => {
    const { source, copies, start } = sync(t);
    const running = await start();
    // Which of kernel and mirror is first is chance.
    for (let turn = 0; turn < 5; turn++) {
      const place = (path: string): string => path.replace(/file$/, `file-${turn}`);
      const path = place(join(source, "file"));
      const first = made === "file" ? path : join(source, made);
      const storing = new Storing(t, path, first);
      await storing.hasStored(1);
      await storeOn(storing, copies.map(place));
    }
    running.kill("SIGTERM");
    assert.equal((await running.end()).exit, 0);
  });
}

test("workload: stores to a file that was mapped before the sync began", { skip }, async (t) => {
  const { source, copies, start } = sync(t);
  writeFileSync(join(source, "file"), "");
  const storing = new Storing(t, join(source, "file"), "");
  await storing.hasStored(1);
  const running = await start();
  await storeOn(storing, copies);
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, 0);
});
