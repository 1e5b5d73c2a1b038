/**
 * Fuzzes whatever reads bytes of a peer: FrameReader, operations, commit, manifest, control
 * messages.
 *
 * In: a seed and golden frames to start from. Mutants (bits, bytes, lengths, numbers that mean
 * something, cuts, joins) and random bytes go in, in pieces of any size. The only outcomes allowed
 * are success and SyncError PEER_MALFORMED; a reader may keep at most one frame.
 *
 * By hand: `node dist/src/wire/decoder.fuzz.js --seed N --runs M`; a seed that fails goes to
 * fuzz-seeds.txt for ever. Source: STYLE B6.
 */
import { SyncError } from "../base/index.ts";
import { goldenNames, readGolden } from "../../test/golden/golden-files.ts";
import { AskKind, decodeAnswer, decodeAsk } from "./ask.ts";
import { comparableAttributes, decodeDigest } from "./digest.ts";
import { decodeBye, decodeHello, decodeProblem, decodeWelcome } from "./control.ts";
import { FrameReader } from "./frame-reader.ts";
import { decodeManifestEntry, decodeManifestOrigin } from "./manifest.ts";
import { decodeCommit, decodeOperation, type Operations } from "./op-decoder.ts";
import type { Origin } from "./origin.ts";
import { frameBytesMax, FrameType } from "./protocol.ts";
import { decodeExpand, decodeExpanded, decodeSubtree } from "./subtree.ts";
import { decodeVerifyAnswer, decodeVerifyAsk, type VerifyAnswer, VerifyKind } from "./verify.ts";

export interface FuzzCounts {
  runs: number;
  accepted: number;
  refused: number;
}

/** A decoder under test: throws PEER_MALFORMED or nothing. */
export type Consume = (type: number, bytes: Uint8Array, start: number, end: number) => void;

/** Small numbers that look random; the same for the same seed. */
export function sequence(seed: number): (below: number) => number {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** Checks what a decoder may not let through: names that lead elsewhere, numbers that are none. */
const checks: Operations = {
  create: (_node, _mode, rdev) => wholes(rdev),
  write: (_node, position, bytes, start, end) => {
    wholes(position);
    expect(start >= 0 && start < end && end <= bytes.length, "a write outside of its frame");
  },
  zero: (_node, position, length) => wholes(position, length),
  truncate: (_node, size) => wholes(size),
  clone: (_node, position, from, length) => wholes(position, from.position, length),
  place: (_node, _parent, name) => expectName(name),
  rename: (_fromParent, fromName, _toParent, toName) => {
    expectName(fromName);
    expectName(toName);
  },
  link: (_node, _parent, name) => expectName(name),
  unlink: (_parent, name) => expectName(name),
  keep: (_node, key) => expectName(key),
  remove: () => {},
  detach: () => {},
  meta: () => {},
  times: (_node, sec, nsec, ctimeSec, ctimeNsec) => {
    expect(Number.isSafeInteger(sec) && nsec < 1e9, "a strange time");
    expect(Number.isSafeInteger(ctimeSec) && ctimeNsec < 1e9, "a strange time");
  },
  attributes: () => {},
  origin: (_node, origin) => expectOrigin(origin),
};

function expectOrigin({ ino, ctimeSec, ctimeNsec }: Origin): void {
  wholes(ino);
  expect(Number.isSafeInteger(ctimeSec) && ctimeNsec < 1e9, "a strange time");
}

/** The part of an answer, for whoever has asked for a digest. */
function digests(part: Uint8Array): void {
  comparableAttributes(part, false);
  const { rdev, size, count, mtimeNsec } = decodeDigest(part);
  wholes(rdev, size, count);
  expect(mtimeNsec < 1e9, "a strange time");
}

function verifyAnswers(answer: VerifyAnswer): void {
  const entries = answer.kind === "list" ? answer.entries : [];
  for (const { name, size, mtimeSec, mtimeNsec } of entries) {
    expectName(name);
    wholes(size);
    expect(Number.isSafeInteger(mtimeSec) && mtimeNsec < 1e9, "a strange time");
  }
  if (answer.kind === "parts")
    wholes(answer.parts.size, ...answer.parts.runs.map(({ end }) => end));
}

/** The decoders as the sessions use them, and each control decoder on what is no frame of its. */
export const decodeAny: Consume = (type, bytes, start, end) => {
  switch (type) {
    case FrameType.hello:
      return void decodeHello(bytes, start, end);
    case FrameType.welcome:
      return void decodeWelcome(bytes, start, end);
    case FrameType.bye:
      return void decodeBye(bytes, start, end);
    case FrameType.problem:
      return void decodeProblem(bytes, start, end);
    case FrameType.manifestEntry: {
      const entry = decodeManifestEntry(bytes, start, end);
      if (entry.name.length > 0) expectName(entry.name);
      return;
    }
    case FrameType.manifestOrigin: {
      const entry = decodeManifestOrigin(bytes, start, end);
      if (entry.name.length > 0) expectName(entry.name);
      return expectOrigin(entry.origin);
    }
    case FrameType.ask: {
      const ask = decodeAsk(bytes, start, end);
      return ask.kind === AskKind.digest
        ? wholes(ask.from, ask.length, ask.from + ask.length)
        : wholes(ask.fileBytes);
    }
    case FrameType.answer:
      return digests(decodeAnswer(bytes, start, end).part);
    case FrameType.subtree:
      return void decodeSubtree(bytes, start, end);
    case FrameType.expand:
      return expect(decodeExpand(bytes, start, end).directories.length > 0, "nothing to expand");
    case FrameType.expanded:
      return void decodeExpanded(bytes, start, end);
    case FrameType.verifyAsk: {
      const ask = decodeVerifyAsk(bytes, start, end);
      for (const name of Buffer.from(ask.path).toString("latin1").split("/")) {
        if (ask.path.length > 0) expectName(Buffer.from(name, "latin1"));
      }
      return ask.kind === VerifyKind.parts ? wholes(ask.from) : undefined;
    }
    case FrameType.verifyAnswer:
      return verifyAnswers(decodeVerifyAnswer(bytes, start, end));
    case FrameType.commit:
      wholes(decodeCommit(bytes, start, end).epoch);
      return;
    default:
      return decodeOperation(type, bytes, start, end, checks);
  }
};

/**
 * One run: a stream made from the seed goes through a reader. Throws on any outcome not allowed.
 */
export function fuzzOnce(
  seed: number,
  golden: readonly Uint8Array[],
  consume: Consume,
  counts: FuzzCounts,
): void {
  counts.runs++;
  const pick = sequence(seed);
  const stream = pick(8) === 0 ? noise(pick) : mutant(pick, golden);
  let bytesSeen = 0;
  const reader = new FrameReader((type, bytes, start, end) => {
    expect(end - start < frameBytesMax && start >= 5 && end <= bytes.length, "a strange frame");
    bytesSeen += end - start + 5;
    try {
      consume(type, bytes, start, end);
      counts.accepted++;
    } catch (error) {
      refused(error);
      counts.refused++;
    }
  });
  try {
    for (let at = 0; at < stream.length;) {
      const size = 1 + pick(pick(4) === 0 ? 3 : 200);
      // A copy of its own, as a socket gives it: what is kept of it must not be a view.
      const piece = stream.slice(at, at + size);
      reader.push(piece);
      piece.fill(0xff);
      at += size;
    }
  } catch (error) {
    refused(error);
    counts.refused++;
  }
  expect(bytesSeen <= stream.length, "frames are longer than what was pushed");
}

/** Runs `runs` seeds from `seed` on. */
export function fuzz(seed: number, runs: number, consume: Consume = decodeAny): FuzzCounts {
  const golden = goldenNames().map((name) => readGolden(name).bytes);
  expect(golden.length > 0, "there are golden frames to start from");
  const counts: FuzzCounts = { runs: 0, accepted: 0, refused: 0 };
  for (let at = seed; at < seed + runs; at++) {
    try {
      fuzzOnce(at, golden, consume, counts);
    } catch (cause) {
      throw new Error(`decoder fuzz, seed ${at}: ${String(cause)}`, { cause });
    }
  }
  return counts;
}

type Pick = (below: number) => number;

function noise(pick: Pick): Uint8Array {
  const bytes = new Uint8Array(5 + pick(400));
  for (let at = 0; at < bytes.length; at++) bytes[at] = pick(256);
  // Lengths are small most of the time, or the reader would refuse all of it at once.
  if (pick(4) > 0) bytes.set([pick(bytes.length), 0, 0, 0, pick(64)]);
  return bytes;
}

const numbers: readonly number[] = [
  0,
  -0,
  -1,
  0.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** 31,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  1e308,
  5e-324,
];

function mutant(pick: Pick, golden: readonly Uint8Array[]): Uint8Array {
  const frames = Array.from({ length: 1 + pick(4) }, () => golden[pick(golden.length)]!.slice());
  for (let times = pick(5); times > 0; times--) {
    const at = pick(frames.length);
    frames[at] = new Uint8Array(mutate(pick, frames[at]!));
  }
  return new Uint8Array(Buffer.concat(frames));
}

function mutate(pick: Pick, frame: Uint8Array): Uint8Array {
  const at = pick(frame.length);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  switch (pick(9)) {
    case 0:
      frame[at]! ^= 1 << pick(8);
      return frame;
    case 1:
      frame[at] = pick(256);
      return frame;
    case 2:
      if (at + 8 <= frame.length) view.setFloat64(at, numbers[pick(numbers.length)]!, true);
      return frame;
    case 3:
      if (at + 4 <= frame.length) view.setUint32(at, 0xffffffff - pick(2), true);
      return frame;
    case 4:
      return frame.slice(0, at + 1);
    case 5:
      // Cut or stretched, with a length that says so: the payload is what does not fit.
      return sized(frame.slice(0, 5 + pick(frame.length)));
    case 6:
      return sized(Buffer.concat([frame, new Uint8Array(1 + pick(300)).fill(pick(256))]));
    case 7:
      if (frame.length > 4) frame[4] = pick(64);
      return frame;
    default:
      frame[at] = [0, 46, 47, 255][pick(4)]!;
      return frame;
  }
}

function sized(frame: Uint8Array): Uint8Array {
  const copy = new Uint8Array(frame);
  if (copy.length < 5) return copy;
  new DataView(copy.buffer).setUint32(0, copy.length - 4, true);
  return copy;
}

function refused(error: unknown): void {
  if (error instanceof SyncError && error.code === "PEER_MALFORMED") return;
  throw error;
}

function expectName(name: Uint8Array): void {
  const value = Buffer.from(name).toString("latin1");
  const leads = value === "" || value === "." || value === ".." || /[/\0]/.test(value);
  expect(!leads && name.length <= 255, `the name ${JSON.stringify(value)} was let through`);
}

function wholes(...values: readonly number[]): void {
  for (const value of values) {
    expect(Number.isSafeInteger(value) && value >= 0, `the number ${value} was let through`);
  }
}

function expect(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}

function main(): void {
  const option = (name: string, otherwise: number): number => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? otherwise : Number(process.argv[at + 1]);
  };
  const seed = option("seed", 1);
  const counts = fuzz(seed, option("runs", 100_000));
  console.log(`decoder fuzz from seed ${seed}: ${JSON.stringify(counts)}`);
}

if (process.argv[1]?.endsWith("/wire/decoder.fuzz.js")) main();
