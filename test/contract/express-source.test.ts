/**
 * What the express lane sends is a moment of the source: of two files that a program writes one
 * after the other, the target never has, at the end of an epoch, more in the second than in the
 * first, nor the first more than one ahead. Source and target are real sessions behind real TLS.
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
import { ExpressSlot, Open } from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";
import { runPython } from "../workloads/python.ts";
import { linkWith } from "./changed-link.ts";
import { tlsPair, until, world } from "./transport-fixture.ts";

const skip = process.getuid?.() === 0 ? false : "needs root, for the ebpf backend";
const files = native();
const secondCount = 3;
const pauseUs = 40;
const aheadCountMin = 5;

function counter(fd: number): number {
  const bytes = Buffer.alloc(8);
  fs.readSync(fd, bytes, 0, 8, 0);
  return bytes.readDoubleLE(0);
}

/** Much happens between the addon's first look and its reading. */
const openSlow: typeof files.expressOpen = (poll, capture, tls, slots, bytes) => {
  slots[ExpressSlot.pauseUs] = pauseUs;
  return files.expressOpen(poll, capture, tls, slots, bytes);
};

test("a write that ran ahead is a moment of the source", { skip }, async (context) => {
  const folder = fs.mkdtempSync(join(tmpdir(), "lockstep-express-"));
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const path of [source, target]) {
    fs.mkdirSync(path);
    for (const name of ["a", "b"]) fs.writeFileSync(join(path, name), Buffer.alloc(8));
  }
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd] = [open(source), open(folder)];
  const opened = openBackend(files, "auto", rootFd, false);
  context.after(() => fs.rmSync(folder, { recursive: true }));
  if (opened.backend.name !== "ebpf") return context.skip("no ebpf backend here");
  const [first, second] = ["a", "b"].map((name) => fs.openSync(join(target, name), "r"));
  const torn: string[] = [];
  const look = (): void => {
    const [a, b] = [counter(first!), counter(second!)];
    if (a !== b && a !== b + 1) torn.push(`${a} ${b}`);
  };
  const pair = await tlsPair(linkLimits);
  const place = { world, files, express: { ...files, expressOpen: openSlow } };
  const send = (bytes: Uint8Array): boolean => {
    look();
    return pair.far.send(bytes);
  };
  const served = serveLink(linkWith(pair.far, { send }), {
    ...place,
    spool: { files, dirFd: stateFd },
    privileged: true,
    grant: () => ({ rootFd: open(target), path: target, problems: new ProblemLog(() => {}) }),
  });
  let isLive = false;
  const mirror = new Mirror({
    ...place,
    backend: opened.backend,
    rootFd,
    rootPath: Buffer.from(source),
    problems: new ProblemLog(() => {}),
    share: "",
    subpath: "",
    device: "test",
    connect: () => Promise.resolve(pair.near),
    onLive: () => (isLive = true),
    onRetry: (error) => assert.fail(error),
  });
  const over = mirror.run();
  await until(() => isLive, "live");
  const both = ["a", "b"].map((name) => join(source, name));
  const options = { prefix: [], cwd: folder };
  const count = Number(await runPython("two-counters.py", [`${secondCount}`, ...both], options));
  await until(() => counter(second!) === count, "equal");
  const { epochsAhead, fuzzyEpochs } = mirror.status()!;
  const about = `${count} pairs, ${epochsAhead} epochs ahead, ${fuzzyEpochs} fuzzy`;
  context.diagnostic(about);
  mirror.stop();
  await over;
  await served;
  pair.stop();
  opened.backend.close();
  for (const fd of [first!, second!, rootFd, stateFd]) files.close(fd);
  assert.ok(epochsAhead >= aheadCountMin, about);
  assert.ok(torn.length <= fuzzyEpochs, `${about}: ${torn.slice(0, 5).join("; ")}`);
});
