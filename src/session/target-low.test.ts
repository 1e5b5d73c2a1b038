/** A target short of space, and a source made by hand at the other end of its link. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { ProblemLog } from "../model/index.ts";
import { linkLimits, memoryLinkPair } from "../transport/index.ts";
import { type Files, Open } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import {
  CommitFlag,
  decodeBye,
  encodeControl,
  f64,
  FrameReader,
  FrameType,
  OpWriter,
  protocolVersion,
} from "../wire/index.ts";
import { epochCountMax } from "./limits.ts";
import { freeLimitDefault } from "./space-floor.ts";
import { serveLink } from "./target-service.ts";

interface Peer {
  writer: OpWriter;
  heard: string[];
  target: string;
  until: (what: string) => Promise<void>;
}

function peerOf(context: TestContext, features: string[]): Peer {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-low-"));
  const target = join(folder, "target");
  mkdirSync(target);
  const open = (path: string): number =>
    native().openPath(Buffer.from(path), Open.read | Open.directory);
  const stateFd = open(folder);
  const statfs: Files["statfs"] = (_, out) => {
    out.set([0, 4096, 1e6, 0, 0, 255]);
    return 0;
  };
  const files = { ...native(), statfs };
  const world = nodeWorld({ write: () => {} });
  const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
  const served = serveLink(far, {
    world,
    files,
    spool: { files, dirFd: stateFd },
    privileged: true,
    minFree: freeLimitDefault,
    grant: () => ({ rootFd: open(target), path: target, problems: new ProblemLog(() => {}) }),
  });
  const heard: string[] = [];
  const reader = new FrameReader((type, bytes, start, end) => {
    if (type === FrameType.ack) heard.push(`ack ${f64(bytes, start)}`);
    else if (type === FrameType.halt) heard.push(`halt ${decodeBye(bytes, start, end).code}`);
    else if (type === FrameType.bye) heard.push(`bye ${decodeBye(bytes, start, end).code}`);
    else if (type === FrameType.pong) heard.push("pong");
    else if (type === FrameType.manifestEnd) heard.push("manifest");
  });
  near.start({ onData: (bytes) => reader.push(bytes), onDrain: () => {}, onClose: () => {} });
  context.after(async () => {
    near.close();
    await served;
    native().close(stateFd);
    rmSync(folder, { recursive: true });
  });
  const writer = new OpWriter((piece) => near.send(piece.slice()));
  const asked = { intent: "send" as const, share: "", subpath: "", device: "test" };
  const hello = { protocol: protocolVersion, version: "0", features, ...asked };
  writer.control(FrameType.hello, encodeControl(hello));
  const until = async (what: string): Promise<void> => {
    for (let i = 0; !heard.includes(what); i++) {
      assert.ok(i < 2000, `never heard ${what}: ${heard.join(", ")}`);
      await setTimeout(5);
    }
  };
  return { writer, heard, target, until };
}

/** An epoch of one new file with content; the first is live. */
function sendFile(writer: OpWriter, epoch: number): void {
  writer.create(epoch + 1, 0o100644, 0, new Uint8Array(0));
  const content = Buffer.from("content");
  const space = writer.beginWrite(epoch + 1, 0, content.length);
  space.bytes.set(content, space.offset);
  writer.endWrite(content.length);
  writer.place(epoch + 1, 1, Buffer.from(`f${epoch}`));
  writer.commit(epoch, epoch === 1 ? CommitFlag.live : 0, 0);
}

test("it applies no data, goes on listening, and goes on when it is told to", async (context) => {
  const { writer, heard, target, until } = peerOf(context, ["halts"]);
  await until("manifest");
  const count = epochCountMax + 100;
  for (let epoch = 1; epoch <= count; epoch++) sendFile(writer, epoch);
  await until("halt TARGET_LOW");
  writer.control(FrameType.ping, new Uint8Array(8));
  await until("pong");
  assert.deepEqual(readdirSync(target), []);
  assert.ok(!heard.includes("ack 1"));
  writer.control(FrameType.resume, new Uint8Array(0));
  await until(`ack ${count}`);
  assert.equal(readdirSync(target).length, count);
  assert.deepEqual(
    heard.filter((line) => line.startsWith("halt")),
    ["halt TARGET_LOW", "halt "],
  );
});

test("a source that does not know halts is refused instead", async (context) => {
  const { writer, target, until } = peerOf(context, []);
  await until("manifest");
  sendFile(writer, 1);
  await until("bye TARGET_FULL");
  assert.deepEqual(readdirSync(target), []);
});
