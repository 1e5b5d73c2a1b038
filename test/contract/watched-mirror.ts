/**
 * A mirror from the kernel's events to the target's files, both sides real, behind real TLS, whose
 * target is looked at before each of its acknowledgements: then it is at the end of an epoch.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { openBackend } from "../../src/capture/index.ts";
import { ProblemLog } from "../../src/model/index.ts";
import { Mirror, serveLink } from "../../src/session/index.ts";
import { linkLimits } from "../../src/transport/index.ts";
import { type ExpressPort, Open } from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";
import { linkWith } from "./changed-link.ts";
import { tlsPair, until, world } from "./transport-fixture.ts";

const files = native();

export interface WatchedOptions {
  /** Files of so many zeros that both sides have from the beginning. */
  readonly names: readonly string[];
  readonly bytes: number;
  readonly express?: ExpressPort;
  /** `copies`: descriptors of the target's files, in the order of their names. */
  readonly look: (copies: readonly number[]) => void;
}

export interface WatchedMirror {
  readonly source: string;
  /** Of the test's own; removed at its end. */
  readonly folder: string;
  readonly copies: readonly number[];
  readonly mirror: Mirror;
  readonly stop: () => Promise<void>;
}

/** One that is live; undefined, the test being skipped, where there is no ebpf backend. */
export async function watchedMirror(
  context: TestContext,
  { names, bytes, express, look }: WatchedOptions,
): Promise<WatchedMirror | undefined> {
  const folder = fs.mkdtempSync(join(tmpdir(), "lockstep-watched-"));
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const path of [source, target]) {
    fs.mkdirSync(path);
    for (const name of names) fs.writeFileSync(join(path, name), Buffer.alloc(bytes));
  }
  const open = (path: string): number =>
    files.openPath(Buffer.from(path), Open.read | Open.directory);
  const [rootFd, stateFd] = [open(source), open(folder)];
  const { backend } = openBackend(files, "auto", rootFd, false);
  context.after(() => fs.rmSync(folder, { recursive: true }));
  if (backend.name !== "ebpf") {
    context.skip("no ebpf backend here");
    return undefined;
  }
  const copies = names.map((name) => fs.openSync(join(target, name), "r"));
  const pair = await tlsPair(linkLimits);
  const place = { world, files, ...(express === undefined ? {} : { express }) };
  const send = (piece: Uint8Array): boolean => {
    look(copies);
    return pair.far.send(piece);
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
    ...{ backend, rootFd, share: "", subpath: "", device: "test" },
    rootPath: Buffer.from(source),
    problems: new ProblemLog(() => {}),
    connect: () => Promise.resolve(pair.near),
    onLive: () => (isLive = true),
    onRetry: (error) => assert.fail(error),
  });
  const over = mirror.run();
  await until(() => isLive, "live");
  const stop = async (): Promise<void> => {
    mirror.stop();
    await over;
    await served;
    pair.stop();
    backend.close();
    for (const fd of [...copies, rootFd, stateFd]) files.close(fd);
  };
  return { source, folder, copies, mirror, stop };
}
