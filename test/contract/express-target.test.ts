/**
 * A target with the express lane does what one without does, whatever a source that is paired
 * sends: the same files, the same acknowledgements, the same refusals. Both are real sessions
 * behind real TLS connections, and the source is made by hand.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { ProblemLog } from "../../src/model/index.ts";
import { JournalFile } from "../../src/journal/index.ts";
import { journalPlace, serveLink, type TargetSession } from "../../src/session/index.ts";
import { linkLimits } from "../../src/transport/index.ts";
import {
  CommitFlag,
  decodeBye,
  encodeControl,
  f64,
  firstOperationType,
  FrameReader,
  FrameType,
  OpWriter,
  protocolVersion,
} from "../../src/wire/index.ts";
import { Open } from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";
import { tlsPair, until, world } from "./transport-fixture.ts";

const fileBytes = 3000;
const names = ["a", "b"] as const;
const firstNode = 2;
const randomRunCount = 40;

interface Message {
  /** A WRITE, and what belongs to it. */
  readonly node: number;
  readonly timesNode: number;
  readonly position: number;
  readonly length: number;
  readonly withOrigin: boolean;
  readonly flags: number;
  /** Of all bytes: this one is changed. */
  readonly flip: number | undefined;
  /** Sent in two pieces. */
  readonly cut: number | undefined;
  readonly isTwice: boolean;
}

const odds = [-1, 0.5, NaN, Infinity, 2 ** 53, 2 ** 63, fileBytes + 1e6, 1e15];
const usual: Message = {
  node: firstNode,
  timesNode: firstNode,
  position: 100,
  length: 128,
  withOrigin: true,
  flags: 0,
  flip: undefined,
  cut: undefined,
  isTwice: false,
};

/** What comes when the lane is open, and must not pass it, or only as it is. */
const hostile: readonly Message[] = [
  ...odds.map((position) => ({ ...usual, position })),
  ...[0, 1, 3, 4, 2 ** 32 - 1].map((other) => ({ ...usual, node: other })),
  ...[CommitFlag.fuzzy, CommitFlag.live, 255].map((flags) => ({ ...usual, flags })),
  // A bit of what is before the content, of TIMES, and of each byte of the COMMIT.
  ...Array.from({ length: 18 }, (_, at) => ({ ...usual, flip: at })),
  ...[145, 149, 150, 160].map((flip) => ({ ...usual, flip })),
  ...Array.from({ length: 30 }, (_, at) => ({ ...usual, flip: 178 + at })),
  ...[1, 4, 17, 150, 200].map((cut) => ({ ...usual, cut })),
  { ...usual, timesNode: 0 },
  { ...usual, length: 0 },
  { ...usual, length: 20_000 },
  { ...usual, isTwice: true },
];
const numRuns = hostile.length + randomRunCount;

/** Mostly what the lane is for. */
function often<T>(usual: fc.Arbitrary<T>, rarely: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 12, arbitrary: usual }, { weight: 1, arbitrary: rarely });
}

const node = often(fc.constant(firstNode), fc.integer({ min: 0, max: firstNode + 3 }));
const odd = fc.constantFrom(...odds);
const none = fc.constant(undefined);
const message: fc.Arbitrary<Message> = fc.record({
  node,
  timesNode: node,
  position: often(fc.nat(fileBytes), odd),
  length: often(fc.integer({ min: 1, max: 300 }), fc.constantFrom(0, 4095, 20_000)),
  withOrigin: fc.boolean(),
  flags: often(fc.constant(0), fc.constantFrom<number>(CommitFlag.fuzzy, CommitFlag.live, 255)),
  flip: often<number | undefined>(none, fc.nat(400)),
  cut: often<number | undefined>(none, fc.nat(400)),
  isTwice: often(fc.constant(false), fc.constant(true)),
});
const messages = fc.array(message, { minLength: 3, maxLength: 12 });

/** The bytes of one epoch; `epoch` is its number. */
function encode(one: Message, epoch: number): Buffer {
  const pieces: Uint8Array[] = [];
  const writer = new OpWriter((piece) => pieces.push(piece.slice()));
  const space = writer.beginWrite(one.node, one.position, one.length);
  space.bytes.fill(epoch, space.offset, space.offset + one.length);
  writer.endWrite(one.length);
  if (one.withOrigin) writer.timesWithOrigin(one.timesNode, 1000 + epoch, 5, 2000 + epoch, 6);
  else writer.times(one.timesNode, 1000 + epoch, 5);
  writer.commit(epoch, one.flags, 77);
  const bytes = Buffer.concat(pieces);
  if (one.flip !== undefined) bytes[one.flip % bytes.length]! ^= 1;
  return one.isTwice ? Buffer.concat([bytes, bytes]) : bytes;
}

/** Whether the changed bit is of a frame's length. */
function changesLength(one: Message, bytes: Buffer): boolean {
  if (one.flip === undefined) return false;
  const at = one.flip % bytes.length;
  const timesAt = 17 + one.length;
  const starts = [0, timesAt, timesAt + (one.withOrigin ? 33 : 21)];
  return starts.some((start) => at >= start && at < start + 4);
}

/** What the source heard, and what there is in the end. */
interface Outcome {
  readonly heard: readonly string[];
  readonly files: readonly string[];
}

/** What somebody does to a target's folder, and its state, while the session is there. */
type Touch = (target: string, stateFd: number) => unknown;

/** `look`: at the end; `meanwhile`: before the epoch with this number is sent. */
async function run(
  all: readonly Message[],
  hasLane: boolean,
  look?: Touch,
  meanwhile?: readonly [number, Touch],
): Promise<[Outcome, number]> {
  const folder = fs.mkdtempSync(join(tmpdir(), "lockstep-express-"));
  const target = join(folder, "target");
  fs.mkdirSync(target);
  const open = (path: string): number =>
    native().openPath(Buffer.from(path), Open.read | Open.directory);
  const stateFd = open(folder);
  const pair = await tlsPair(linkLimits);
  let session: TargetSession | undefined;
  const served = serveLink(pair.far, {
    world,
    files: native(),
    ...(hasLane && { express: native() }),
    spool: { files: native(), dirFd: stateFd },
    privileged: true,
    grant: () => ({
      rootFd: open(target),
      path: target,
      problems: new ProblemLog(() => {}),
      onSession: (begun: TargetSession) => void (session = begun),
    }),
  });
  const heard: string[] = [];
  const reader = new FrameReader((type, bytes, start, end) => {
    if (type === FrameType.ack) heard.push(`ack ${f64(bytes, start)}`);
    else if (type === FrameType.bye) heard.push(`bye ${decodeBye(bytes, start, end).code}`);
    else if (type === FrameType.pong) heard.push("pong");
    else if (type === FrameType.manifestEnd) heard.push("manifest");
  });
  let isClosed = false;
  const onClose = (): void => void (isClosed = true);
  pair.near.start({ onData: (bytes) => reader.push(bytes), onDrain: () => {}, onClose });
  try {
    const control = new OpWriter((piece) => void pair.near.send(piece.slice()));
    const ping = (): void => control.control(FrameType.ping, new Uint8Array(8));
    await greet(control, heard);
    let epoch = 1;
    for (const one of all) {
      epoch++;
      if (meanwhile?.[0] === epoch) meanwhile[1](target, stateFd);
      const bytes = encode(one, epoch);
      const cut = Math.min(one.cut ?? 0, bytes.length);
      const isLast = one.flip !== undefined || one.isTwice;
      const answer = isLast ? "pong" : `ack ${epoch}`;
      const isOver = (): boolean => isClosed || heard.includes(answer);
      if (cut > 0) pair.near.send(bytes.subarray(0, cut));
      // Enough for it to be read by itself, most of the time.
      for (let turn = 0; cut > 0 && turn < 5; turn++) await new Promise(setImmediate);
      pair.near.send(bytes.subarray(cut));
      for (let turn = 0; isLast && turn < 5; turn++) await new Promise(setImmediate);
      if (isLast) ping();
      // A length that is another one now makes the target wait for more, or take the ping for that.
      const isWaiting = changesLength(one, bytes);
      await until(isOver, `an answer after epoch ${epoch}`, isWaiting ? 100 : 5000).catch(
        (error: unknown) => assert.ok(isWaiting, error as Error),
      );
      if (isLast || isClosed) break;
    }
    look?.(target, stateFd);
    pair.near.close();
    await served;
    const files = names.map((name) => describe(join(target, name)));
    return [{ heard: [...new Set(heard)], files }, session?.status.epochsAhead ?? -1];
  } finally {
    pair.stop();
    native().close(stateFd);
    fs.rmSync(folder, { recursive: true });
  }
}

/** Until the target is live, with its files. */
async function greet(writer: OpWriter, heard: readonly string[]): Promise<void> {
  const asked = { intent: "send" as const, share: "", subpath: "", device: "test" };
  const hello = { protocol: protocolVersion, version: "0", features: ["origins"], ...asked };
  writer.control(FrameType.hello, encodeControl(hello));
  await until(() => heard.includes("manifest"), "the manifest");
  for (const [index, name] of names.entries()) {
    const own = firstNode + index;
    writer.create(own, 0o100644, 0, new Uint8Array(0));
    const space = writer.beginWrite(own, 0, fileBytes);
    space.bytes.fill(0, space.offset, space.offset + fileBytes);
    writer.endWrite(fileBytes);
    writer.times(own, 900, 0);
    writer.place(own, 1, Buffer.from(name));
  }
  writer.commit(1, CommitFlag.live, 5);
  await until(() => heard.includes("ack 1"), "live");
}

function describe(path: string): string {
  const { size, mode, mtimeMs } = fs.statSync(path);
  const content = fs.readFileSync(path).subarray(0, 2 * fileBytes);
  // The kernel's own time is there where TIMES was refused.
  const time = mtimeMs < 1e9 ? mtimeMs : "now";
  return `${size} ${mode} ${time} ${content.toString("hex")}`;
}

test("a target with an express lane does what one without does", async (context) => {
  let ahead = 0;
  await fc.assert(
    fc.asyncProperty(messages, async (all) => {
      const [plain, none] = await run(all, false);
      const [express, count] = await run(all, true);
      assert.deepEqual(express, plain);
      assert.equal(none, 0);
      ahead += count;
    }),
    { numRuns, examples: hostile.map((last) => [[usual, usual, usual, last]]) },
  );
  context.diagnostic(`${ahead} epochs were written ahead`);
  assert.ok(ahead >= hostile.length, `${ahead} epochs were written ahead`);
});

interface Journaled {
  /** Operations and COMMITs, as they came. */
  readonly frames: Buffer;
  readonly number: number;
  /** All records but the first, which has notes of inodes. */
  readonly records: Buffer;
}

function journaled(target: string, stateFd: number, folder: string): Journaled {
  const place = journalPlace(target, { files: native(), dirFd: stateFd }, world, "");
  const file = JournalFile.openExisting(place)!;
  const frames: Buffer[] = [];
  try {
    file.each((type, bytes, start, end) => {
      if (type < firstOperationType) return true;
      const head = Buffer.alloc(5);
      head.writeUInt32LE(end - start + 1);
      head[4] = type;
      frames.push(head, Buffer.from(bytes.subarray(start, end)));
      return true;
    });
    const all = fs.readFileSync(join(folder, place.name)).subarray(file.start, file.at);
    const first = 32 + all.readDoubleLE(8) + 24;
    return { frames: Buffer.concat(frames), number: file.number, records: all.subarray(first) };
  } finally {
    file.close();
  }
}

test("what passes the lane is in the journal, byte for byte as without it", async () => {
  const all = Array.from({ length: 12 }, (_, i) => ({
    ...usual,
    position: 50 * i,
    length: 1 + 37 * i,
    withOrigin: i % 3 > 0,
  }));
  const found: Journaled[] = [];
  for (const hasLane of [false, true]) {
    const [, ahead] = await run(all, hasLane, (target, stateFd) => {
      found.push(journaled(target, stateFd, join(target, "..")));
    });
    assert.ok(hasLane ? ahead >= 6 : ahead === 0, `${ahead} epochs were written ahead`);
  }
  const sent = Buffer.concat(all.map((one, i) => encode(one, i + 2)));
  for (const { frames, number } of found) {
    assert.ok(frames.equals(sent), "the journal has not what was sent");
    assert.equal(number, all.length);
  }
  assert.ok(found[0]!.records.equals(found[1]!.records), "the lane's records are others");
});

test("a record that cannot be stored is written in the ordinary way", async () => {
  const all = Array.from({ length: 12 }, (_, i) => ({ ...usual, position: 50 * i }));
  const fileOf = (target: string, stateFd: number): string =>
    join(target, "..", journalPlace(target, { files: native(), dirFd: stateFd }, world, "").name);
  // The lane stores into pages that the file has no more: the kernel sends SIGBUS for that.
  const empty: Touch = (target, stateFd) => fs.truncateSync(fileOf(target, stateFd), 0);
  let recorded: Buffer | undefined;
  const look: Touch = (target, stateFd) => (recorded = fs.readFileSync(fileOf(target, stateFd)));
  const [{ files }, ahead] = await run(all, true, look, [8, empty]);
  const [plain] = await run(all, false);
  assert.deepEqual(files, plain.files);
  assert.ok(ahead >= 8, `${ahead} epochs were written ahead`);
  const counts = all.map((one, i) => recorded!.includes(encode(one, i + 2)));
  // From the one on that found the file empty.
  assert.deepEqual(
    counts,
    all.map((_, i) => i + 2 >= 8),
  );
});
