/** Both ends of a verify over a link in memory, and peers that do not keep to the rules. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { SyncError } from "../base/index.ts";
import { type Link, linkLimits, memoryLinkPair } from "../transport/index.ts";
import { compareWithRemote, type CompareSummary } from "../verify/index.ts";
import {
  decodeBye,
  decodeVerifyAsk,
  encodeControl,
  encodeVerifyAnswer,
  encodeVerifyAsk,
  FrameReader,
  FrameType,
  OpWriter,
  protocolVersion,
  type VerifyAnswer,
  type VerifyAsk,
  verifyAskCountMax,
  type VerifyEntry,
  VerifyKind,
} from "../wire/index.ts";
import { Open } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { serveLink } from "./target-service.ts";
import { openVerifyLink } from "./verify-link.ts";

const world = nodeWorld({ write: () => {} });
const files = native();
const place = { share: "", subpath: "", device: "test", rate: 0 };
const none = new Uint8Array(0);

function openFolder(path: string): number {
  const fd = files.openPath(Buffer.from(path), Open.read | Open.directory);
  assert.ok(fd >= 0);
  return fd;
}

function makeFolder(context: TestContext): string {
  // Timers of the sessions do not keep the process alive.
  const alive = setInterval(() => {}, 1000);
  context.after(() => clearInterval(alive));
  const folder = mkdtempSync(join(tmpdir(), "lockstep-verify-link-"));
  context.after(() => rmSync(folder, { recursive: true }));
  for (let i = 0; i < 3; i++) {
    mkdirSync(join(folder, `d${i}`));
    writeFileSync(join(folder, `d${i}/file`), Buffer.alloc(300_000, i));
  }
  return folder;
}

/** A link to a target that serves `folder`. */
function serveFolder(
  context: TestContext,
  folder: string,
): { link: Link; served: Promise<unknown> } {
  const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
  const served = serveLink(far, {
    world,
    files,
    spool: { files, dirFd: -1 },
    privileged: true,
    grant: () => assert.fail("nothing is sent"),
    grantVerify: () => ({ rootFd: openFolder(folder), isBusy: () => true, onSession: () => {} }),
  });
  context.after(() => near.destroy());
  return { link: near, served };
}

async function compare(link: Link, source: string): Promise<CompareSummary> {
  const remote = await openVerifyLink({ world, link, ...place });
  const fd = openFolder(source);
  try {
    const options = {
      content: true,
      ignore: new Set<never>(),
      settleMs: 0,
      differenceCountMax: 10,
    };
    return await compareWithRemote(files, fd, remote, { clock: world.clock, ...options }, {});
  } finally {
    files.close(fd);
    remote.close();
  }
}

test("a folder equals itself over a link, and both ends are done", async (t) => {
  const folder = makeFolder(t);
  const { link, served } = serveFolder(t, folder);
  const summary = await compare(link, folder);
  assert.deepEqual([summary.clean, summary.entryCount], [true, 7]);
  assert.equal(summary.contentBytes, 900_000);
  assert.equal(await served, undefined);
});

/** What a target says to frames that a verifier would not send; its hello first. */
async function byeTo(
  context: TestContext,
  intent: string,
  send: (writer: OpWriter) => void,
): Promise<string> {
  const { link, served } = serveFolder(context, makeFolder(context));
  const writer = new OpWriter((piece) => link.send(piece.slice()));
  let said = "";
  const reader = new FrameReader((type, bytes, start, end) => {
    if (type === FrameType.bye) said = decodeBye(bytes, start, end).code;
  });
  link.start({ onData: (bytes) => reader.push(bytes), onDrain: () => {}, onClose: () => {} });
  const hello = { protocol: protocolVersion, version: "0", features: [], intent };
  const asked = { share: "", subpath: "", device: "test" };
  writer.control(FrameType.hello, encodeControl({ ...hello, ...asked }));
  send(writer);
  await served;
  for (let i = 0; said === "" && i < 1000; i++) await setTimeout(2);
  return said;
}

test("a verifier that asks too much, or what has no form, is refused", async (t) => {
  const list = encodeVerifyAsk({ kind: VerifyKind.list, id: 1, path: none, after: none });
  const flood = (w: OpWriter): void => {
    for (let i = 0; i < verifyAskCountMax + 2; i++) w.controlLater(FrameType.verifyAsk, list);
    w.flush();
  };
  const up = encodeVerifyAsk({ kind: VerifyKind.look, id: 1, path: Buffer.from("../x") });
  const write = (w: OpWriter): void => w.commit(1, 0, 0);
  assert.equal(await byeTo(t, "verify", flood), "PEER_MALFORMED");
  assert.equal(
    await byeTo(t, "verify", (w) => w.control(FrameType.verifyAsk, up)),
    "PEER_MALFORMED",
  );
  assert.equal(await byeTo(t, "verify", write), "PEER_MALFORMED", "an operation");
  assert.equal(await byeTo(t, "dance", () => {}), "PEER_VERSION");
});

/** A target that says welcome, then answers each question by `tell`. */
function hostileTarget(
  context: TestContext,
  features: readonly string[],
  tell: (ask: VerifyAsk) => VerifyAnswer,
): Link {
  const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
  const writer = new OpWriter((piece) => far.send(piece.slice()));
  const reader = new FrameReader((type, bytes, start, end) => {
    if (type === FrameType.hello) {
      const welcome = { protocol: protocolVersion, version: "0", privileged: true };
      const told = encodeControl({ ...welcome, features: [...features] });
      writer.control(FrameType.welcome, told);
    } else if (type === FrameType.verifyAsk) {
      const answer = tell(decodeVerifyAsk(bytes, start, end));
      writer.control(FrameType.verifyAnswer, encodeVerifyAnswer(answer));
    }
  });
  far.start({ onData: (bytes) => reader.push(bytes), onDrain: () => {}, onClose: () => {} });
  context.after(() => far.destroy());
  return near;
}

function entryOf(name: string): VerifyEntry {
  const stat = { mode: 0o100644, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 3, blocks: 8 };
  const times = { mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0, ino: 5, dev: 5 };
  const read = { errno: 0, linkErrno: 0, link: none, attributesErrno: 0, attributes: none };
  return { name: Buffer.from(name), isForeign: false, ...stat, ...times, ...read };
}

const answerKind = { 1: "list", 2: "look", 3: "parts" } as const;

const isMalformed = (error: unknown): boolean =>
  error instanceof SyncError && error.code === "PEER_MALFORMED";

test("a target that lies about order, kind or question ends the comparison", async (t) => {
  const folder = makeFolder(t);
  const page = (...names: string[]): Omit<Extract<VerifyAnswer, { kind: "list" }>, "id"> => {
    return { kind: "list", wallMs: 0, hasMore: true, entries: names.map(entryOf) };
  };
  const root = { kind: "look", wallMs: 0, entry: { ...entryOf(""), mode: 0o040755 } } as const;
  const file = { ...entryOf("file"), size: 300_000 };
  const top = { ...page(), hasMore: false, entries: [{ ...root.entry, name: Buffer.from("d1") }] };
  const below = { ...page(), hasMore: false, entries: [file] };
  /** An honest answer, as far as the walk needs it, but for one kind of question. */
  const but = (kind: VerifyAnswer["kind"], lie: (id: number) => VerifyAnswer) => {
    return (ask: VerifyAsk): VerifyAnswer => {
      const { id } = ask;
      const asked = answerKind[ask.kind];
      if (asked === kind) return lie(id);
      if (asked === "list") return { ...(ask.path.length === 0 ? top : below), id };
      if (asked === "look")
        return { ...root, id, entry: ask.path.length > 2 ? { ...file, name: none } : root.entry };
      return { kind: "failed", id, errno: 5 };
    };
  };
  const parts = (...ends: number[]) => {
    const runs = ends.map((end) => ({ end, hash: undefined }));
    return (id: number): VerifyAnswer => {
      return { kind: "parts", id, parts: { ...file, isUnchanged: true, runs } };
    };
  };
  const lies: Record<string, (ask: VerifyAsk) => VerifyAnswer> = {
    "names out of order": but("list", (id) => ({ ...page("b", "a"), id })),
    "the same page over and over": but("list", (id) => ({ ...page("a"), id })),
    "an empty page before the last": but("list", (id) => ({ ...page(), id })),
    "another question's answer": but("look", (id) => ({ ...root, id: id + 1 })),
    "an answer of another kind": but("list", (id) => ({ ...root, id })),
    "no parts": but("parts", parts()),
    "parts that go back": but("parts", parts(262_144, 262_144)),
    "parts beyond the file": but("parts", parts(524_288)),
    "half a part": but("parts", parts(1000)),
  };
  for (const [what, lie] of Object.entries(lies)) {
    const link = hostileTarget(t, ["verify"], lie);
    await assert.rejects(compare(link, folder), isMalformed, what);
  }
});

test("a target that ends in the middle, or does not know verify, says why", async (t) => {
  const folder = makeFolder(t);
  const old = hostileTarget(t, ["delta"], () => assert.fail("nothing is asked"));
  await assert.rejects(compare(old, folder), { code: "PEER_VERSION" });
  // The versions before knew no intent but one.
  const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
  const refusing = new OpWriter((piece) => far.send(piece.slice()));
  const refusal = encodeControl({ code: "PEER_MALFORMED", message: "lacks its form" });
  const onData = (): void => refusing.control(FrameType.bye, refusal);
  far.start({ onData, onDrain: () => {}, onClose: () => {} });
  await assert.rejects(compare(near, folder), { code: "PEER_VERSION" });
  const { link, served } = serveFolder(t, folder);
  const remote = await openVerifyLink({ world, link, ...place });
  const asked = remote.list(none, "");
  link.destroy();
  await assert.rejects(asked, { code: "LINK_LOST" });
  await assert.rejects(remote.look(none), { code: "LINK_LOST" });
  await served;
});
