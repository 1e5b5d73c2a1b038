/**
 * Calls under way, by a real kernel: which of them capture knows, since when, and until when. Root
 * only. The calls are of programs that wait within one: a splice out of an empty pipe into a file,
 * an open that makes a name and waits for a reader.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type CallsUnderWay, deafSink, openBackend } from "../../src/capture/index.ts";
import { native } from "../../src/world/node/index.ts";

const splicing = `
import os, sys
out, into = os.pipe()
if os.fork() == 0:
    os.write(into, os.read(0, 5))
    os._exit(0)
os.splice(out, os.open(sys.argv[1], os.O_WRONLY), 5, offset_dst=4)
`;
const opening = `
import os, sys
os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
`;

function refusal(): string | undefined {
  if (process.getuid?.() !== 0) return "backend ebpf needs root";
  const ran = spawnSync("python3", ["-c", "import os; os.splice"]);
  return ran.status === 0 ? undefined : "python3.10 or later is missing";
}

interface Asked {
  /** Inodes of files with calls under way that are known. */
  readonly inos: number[];
  /** There is one that may be of any file, or it is not known. */
  readonly isAny: boolean;
}

function ask(underWay: CallsUnderWay, since: number): Asked {
  const inos: number[] = [];
  const isAny = underWay.mayBeRead(since, (ino) => {
    inos.push(ino);
    return false;
  });
  return { inos, isAny };
}

/** None of anybody is under way, nor one of this file: who has one of any file is told no other. */
function isOver(underWay: CallsUnderWay, since: number, ino: number): boolean {
  const { inos, isAny } = ask(underWay, since);
  return !isAny && !inos.includes(ino);
}

/** Other programs of the machine have calls, too: asks until it is so. */
async function until(isSo: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (isSo()) return;
    await delay(2);
  }
  assert.fail(`never: ${what}`);
}

test("calls under way are known from their begin until they have been told", async (context) => {
  const why = refusal();
  if (why !== undefined) return context.skip(why);
  const folder = fs.mkdtempSync(join(tmpdir(), "lockstep-calls-"));
  const [file, fifo] = [join(folder, "file"), join(folder, "fifo")];
  fs.writeFileSync(file, "0123456789");
  spawnSync("mkfifo", [fifo]);
  const { ino } = fs.statSync(file);
  const rootFd = fs.openSync(folder, "r");
  const { backend } = openBackend(native(), "ebpf", rootFd);
  const children: ChildProcess[] = [];
  context.after(() => {
    for (const child of children) {
      child.stdin!.end();
      child.kill("SIGKILL");
    }
    backend.close();
    fs.closeSync(rootFd);
    fs.rmSync(folder, { recursive: true });
  });
  const begin = (program: string, ...args: string[]): ChildProcess => {
    const child = spawn("python3", ["-c", program, ...args], {
      stdio: ["pipe", "ignore", "inherit"],
    });
    children.push(child);
    return child;
  };
  const underWay = backend.underWay!;
  const look = (): number => {
    const since = underWay.nextLook;
    while (backend.drain(deafSink));
    return since;
  };

  assert.ok(ask(underWay, look()).isAny, "who asks for the first time is not told");
  const since = look();
  await until(() => !ask(underWay, since).isAny, "nobody changes anything");

  const writer = begin(splicing, file);
  await until(() => ask(underWay, since).inos.includes(ino), "the splice is known");
  const froms: number[] = [];
  const listen = (): boolean => {
    froms.length = 0;
    return underWay.mayBeRead(since, (of, _gen, from) => {
      if (of === ino) froms.push(from);
      return false;
    });
  };
  await until(() => !listen(), "no call of anybody else");
  assert.equal(froms.length, 1);
  assert.ok(froms[0]! <= 4);
  const later = look();
  await until(() => isOver(underWay, later, ino), "it began before that look");

  writer.stdin!.write("abcde");
  await until(() => isOver(underWay, since, ino), "it has returned");
  const told: number[] = [];
  while (backend.drain({ ...deafSink, written: (of) => void told.push(of) }));
  assert.deepEqual(
    told.filter((of) => of === ino),
    [ino],
    "and is told by the next look",
  );

  begin(opening, fifo);
  let seen = 0;
  // Others may open something, too; not this often.
  await until(
    () => (seen = ask(underWay, later).isAny ? seen + 1 : 0) === 20,
    "an open that waits",
  );
  const last = look();
  await until(() => !ask(underWay, last).isAny, "it began before that look, too");

  underWay.rest();
  assert.ok(ask(underWay, last).isAny, "nobody has noted them since");
});
