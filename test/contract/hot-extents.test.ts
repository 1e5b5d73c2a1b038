/**
 * Cuts under writers that never rest, with the real capture: of pages that programs overwrite in
 * turn as fast as they can, the target never has, at the end of a clean epoch, a later one that is
 * newer than an earlier one. Of the one write that was under way at that moment, which nobody can
 * rely on yet, a part may be there, as on a disk. And what is told to be hot was needed.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openBackend } from "../../src/capture/index.ts";
import { ProblemLog } from "../../src/model/index.ts";
import { Mirror, serveLink } from "../../src/session/index.ts";
import { linkLimits } from "../../src/transport/index.ts";
import { Open } from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";
import { runPython } from "../workloads/python.ts";
import { linkWith } from "./changed-link.ts";
import { tlsPair, until, world } from "./transport-fixture.ts";

const skip = process.getuid?.() === 0 ? false : "needs root, for the ebpf backend";
const files = native();
const secondCount = 3;
const pageBytes = 8192;
const pageCount = 4;
const hotCountMin = 5;
const pairs = [
  ["a", "b"],
  ["c", "d"],
] as const;

/**
 * The numbers of all pages of two files, in the order in which they are written; one and a half for
 * a page that begins with a two and ends with a one.
 */
function numbersIn(fds: readonly number[]): number[] {
  const page = Buffer.alloc(pageBytes);
  return Array.from({ length: pageCount * 2 }, (_, turn) => {
    fs.readSync(fds[turn % 2]!, page, 0, pageBytes, (turn >> 1) * pageBytes);
    const [first, last] = [page.readDoubleLE(0), page.readDoubleLE(pageBytes - 8)];
    return (first + last) / 2;
  });
}

/** All are the same, or from some page on one less; the page between may be on its way. */
function isMoment(numbers: readonly number[]): boolean {
  const least = Math.ceil(numbers[0]!) - 1;
  const isInOrder = numbers.every((n, turn) => n >= least && n <= (numbers[turn - 1] ?? n));
  return isInOrder && numbers.filter((n) => !Number.isInteger(n)).length <= 1;
}

test("pages that are overwritten without rest are of one moment", { skip }, async (context) => {
  const folder = fs.mkdtempSync(join(tmpdir(), "lockstep-hot-"));
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const path of [source, target]) {
    fs.mkdirSync(path);
    for (const name of pairs.flat()) {
      fs.writeFileSync(join(path, name), Buffer.alloc(pageCount * pageBytes));
    }
  }
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd] = [open(source), open(folder)];
  const opened = openBackend(files, "auto", rootFd, false);
  context.after(() => fs.rmSync(folder, { recursive: true }));
  if (opened.backend.name !== "ebpf") return context.skip("no ebpf backend here");
  const copies = pairs.map((names) => names.map((name) => fs.openSync(join(target, name), "r")));
  const wrong: string[] = [];
  const look = (): void => {
    for (const copy of copies) {
      const numbers = numbersIn(copy);
      if (!isMoment(numbers)) wrong.push(numbers.join(" "));
    }
  };
  const pair = await tlsPair(linkLimits);
  const send = (bytes: Uint8Array): boolean => {
    look();
    return pair.far.send(bytes);
  };
  const served = serveLink(linkWith(pair.far, { send }), {
    ...{ world, files, privileged: true, spool: { files, dirFd: stateFd } },
    grant: () => ({ rootFd: open(target), path: target, problems: new ProblemLog(() => {}) }),
  });
  let isLive = false;
  const mirror = new Mirror({
    ...{ world, files, rootFd, share: "", subpath: "", device: "test" },
    backend: opened.backend,
    rootPath: Buffer.from(source),
    problems: new ProblemLog(() => {}),
    connect: () => Promise.resolve(pair.near),
    onLive: () => (isLive = true),
    onRetry: (error) => assert.fail(error),
  });
  const over = mirror.run();
  await until(() => isLive, "live");
  const counts = await Promise.all(
    pairs.map((names) => {
      const paths = names.map((name) => join(source, name));
      const args = [`${secondCount}`, `${pageCount}`, ...paths];
      return runPython("hot-pages.py", args, { prefix: [], cwd: folder });
    }),
  );
  await until(
    () => copies.every((copy, index) => numbersIn(copy).every((n) => n === Number(counts[index]))),
    "equal",
  );
  const { epochs, hotEpochs, fuzzyEpochs } = mirror.status()!;
  const about = `${epochs} epochs, ${hotEpochs} hot, ${fuzzyEpochs} fuzzy, ${wrong.length} wrong`;
  context.diagnostic(about);
  mirror.stop();
  await over;
  await served;
  pair.stop();
  opened.backend.close();
  for (const fd of [...copies.flat(), rootFd, stateFd]) files.close(fd);
  assert.ok(hotEpochs >= hotCountMin, about);
  assert.ok(wrong.length <= fuzzyEpochs, `${about}: ${wrong.slice(0, 3).join("; ")}`);
});
