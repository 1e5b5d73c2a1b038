import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AnswerStatus,
  AskKind,
  CommitFlag,
  decodeAnswer,
  decodeAsk,
  decodeBye,
  decodeCommit,
  decodeExpand,
  decodeExpanded,
  decodeHello,
  decodeManifestEntry,
  decodeManifestOrigin,
  decodeOperation,
  decodeProblem,
  decodeSubtree,
  decodeVerifyAnswer,
  decodeVerifyAsk,
  decodeWelcome,
  DigestFlag,
  encodeAnswer,
  encodeAsk,
  encodeControl,
  encodeDigest,
  encodeExpand,
  encodeExpanded,
  encodeManifestEntry,
  encodeManifestOrigin,
  encodeSubtree,
  encodeVerifyAnswer,
  encodeVerifyAsk,
  FrameReader,
  FrameType,
  noOrigin,
  type Operations,
  OpWriter,
  protocolVersion,
  VerifyKind,
} from "../../src/wire/index.ts";
import { goldenNames, isUpdate, readGolden, writeGolden } from "./golden-files.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const none = new Uint8Array(0);

function doubles(...values: number[]): Uint8Array {
  return new Uint8Array(new Float64Array(values).buffer);
}

function write(writer: OpWriter, node: number, position: number, bytes: Uint8Array): void {
  const space = writer.beginWrite(node, position, bytes.length);
  space.bytes.set(bytes, space.offset);
  writer.endWrite(bytes.length);
}

const attributes = Buffer.concat([
  Buffer.from([9, 0]),
  text("user.note"),
  Buffer.from([2, 0, 0, 0]),
  text("hi"),
]);

const hello = {
  protocol: protocolVersion,
  version: "0.1.0",
  features: [],
  intent: "send" as const,
  share: "photos",
  subpath: "",
  device: "AAAA",
};
const welcome = { protocol: protocolVersion, version: "0.1.0", features: [], privileged: true };
const ask = {
  kind: AskKind.signature,
  id: 9,
  node: 2,
  blockBytes: 4096,
  fileBytes: 5_000_000_000,
  salt: Uint8Array.from({ length: 16 }, (_, at) => at),
};
const digest = {
  flags: DigestFlag.content | DigestFlag.attributes,
  mode: 0o100644,
  uid: 1000,
  gid: 100,
  rdev: 0,
  size: 5_000_000_000,
  mtimeSec: 1_700_000_000,
  mtimeNsec: 123_456_789,
  count: 65536,
  content: Uint8Array.from({ length: 32 }, (_, at) => at),
  attributes: Uint8Array.from({ length: 32 }, (_, at) => 255 - at),
};
const entry = {
  node: 2,
  parent: 1,
  mode: 0o100644,
  uid: 1000,
  gid: 100,
  rdev: 0,
  size: 5_000_000_000,
  mtimeSec: 1_700_000_000,
  mtimeNsec: 123_456_789,
  name: text("a.txt"),
  symlinkTarget: none,
  attributes,
  origin: noOrigin,
};
const origin = {
  ino: 2 ** 40 + 7,
  gen: 0xfedcba98,
  ctimeSec: 1_700_000_001,
  ctimeNsec: 987_654_321,
};

/** As many bytes as a digest has. */
const letters = "abcdefghijklmnopqrstuvwxyzabcdef";
const verifyStat = { mode: 0o100644, nlink: 2, uid: 1000, gid: 100, rdev: 0, size: 5_000_000_000 };
const verifyTimes = { mtimeSec: 1_700_000_000, mtimeNsec: 123_456_789, ctimeSec: 9, ctimeNsec: 8 };
const verifyRead = { errno: 0, linkErrno: 0, link: none, attributesErrno: 0 };
const verifyEntry = {
  ...{ name: text("a.txt"), isForeign: false, blocks: 16, ino: 77, dev: 2049 },
  ...verifyStat,
  ...verifyTimes,
  ...verifyRead,
  attributes: Buffer.concat([
    Buffer.from([9, 0]),
    text("user.note"),
    Buffer.from([32, 0, 0, 0]),
    digest.content,
  ]),
};
const verifyLink = { mode: 0o120777, link: text("../b"), attributes: none, attributesErrno: 13 };
const isUnchanged = true;
const verifyRuns = [
  { end: 4_999_610_368, hash: undefined },
  { end: 5_000_000_000, hash: digest.content },
];
const ask3 = { id: 3, path: text("dir/a.txt") };

/** Every frame of the protocol, and the cases of those that have several. */
const frames: Record<string, (writer: OpWriter) => void> = {
  hello: (w) => w.control(FrameType.hello, encodeControl(hello)),
  welcome: (w) => w.control(FrameType.welcome, encodeControl(welcome)),
  bye: (w) => w.control(FrameType.bye, encodeControl({ code: "TARGET_FULL", message: "write a" })),
  ping: (w) => w.control(FrameType.ping, doubles(1234567)),
  pong: (w) => w.control(FrameType.pong, doubles(1234567)),
  ack: (w) => w.control(FrameType.ack, doubles(7, 4096)),
  "manifest-root": (w) =>
    w.control(
      FrameType.manifestEntry,
      encodeManifestEntry({ ...entry, node: 1, parent: 0, mode: 0o040755, name: none }),
    ),
  "manifest-file": (w) => w.control(FrameType.manifestEntry, encodeManifestEntry(entry)),
  "manifest-symlink": (w) =>
    w.control(
      FrameType.manifestEntry,
      encodeManifestEntry({ ...entry, mode: 0o120777, symlinkTarget: text("../b") }),
    ),
  "manifest-origin": (w) =>
    w.control(FrameType.manifestOrigin, encodeManifestOrigin({ ...entry, origin })),
  "manifest-end": (w) => w.control(FrameType.manifestEnd, none),
  problem: (w) =>
    w.control(
      FrameType.problem,
      encodeControl({ path: "a/é", operation: "chown", errno: "EPERM" }),
    ),
  halt: (w) => w.control(FrameType.halt, encodeControl({ code: "TARGET_LOW", message: "full" })),
  resume: (w) => w.control(FrameType.resume, none),
  subtree: (w) =>
    w.control(
      FrameType.subtree,
      encodeSubtree({ directory: 5, first: 70_000, count: 3_000_000_000, digest: text(letters) }),
    ),
  "subtree-without-digest": (w) =>
    w.control(FrameType.subtree, encodeSubtree({ directory: 5, first: 7, count: 3, digest: none })),
  expand: (w) =>
    w.control(FrameType.expand, encodeExpand({ isDeep: false, directories: [1, 65_537] })),
  "expand-deep": (w) =>
    w.control(FrameType.expand, encodeExpand({ isDeep: true, directories: [5] })),
  expanded: (w) => w.control(FrameType.expanded, encodeExpanded(65_537)),
  ask: (w) => w.control(FrameType.ask, encodeAsk(ask)),
  "ask-digest": (w) =>
    w.control(
      FrameType.ask,
      encodeAsk({
        kind: AskKind.digest,
        id: 10,
        node: 2,
        length: 65536,
        from: 5_000_000_000,
        salt: ask.salt,
      }),
    ),
  answer: (w) =>
    w.control(FrameType.answer, encodeAnswer(9, AnswerStatus.end, Buffer.from([1, 2, 255]))),
  "answer-digest": (w) =>
    w.control(FrameType.answer, encodeAnswer(10, AnswerStatus.end, encodeDigest(digest))),
  "answer-refused": (w) => w.control(FrameType.answer, encodeAnswer(9, AnswerStatus.refused, none)),
  "hello-verify": (w) =>
    w.control(
      FrameType.hello,
      encodeControl({ ...hello, intent: "verify", verify: { salt: "00".repeat(16), rate: 0 } }),
    ),
  "verify-ask-list": (w) =>
    w.control(
      FrameType.verifyAsk,
      encodeVerifyAsk({ kind: VerifyKind.list, ...ask3, path: text("dir"), after: text("a") }),
    ),
  "verify-ask-look": (w) =>
    w.control(FrameType.verifyAsk, encodeVerifyAsk({ kind: VerifyKind.look, ...ask3 })),
  "verify-ask-parts": (w) =>
    w.control(
      FrameType.verifyAsk,
      encodeVerifyAsk({ kind: VerifyKind.parts, ...ask3, from: 2 ** 33, partBytes: 262_144 }),
    ),
  "verify-answer-failed": (w) =>
    w.control(FrameType.verifyAnswer, encodeVerifyAnswer({ kind: "failed", id: 3, errno: 2 })),
  "verify-answer-list": (w) =>
    w.control(
      FrameType.verifyAnswer,
      encodeVerifyAnswer({
        ...{ kind: "list", id: 3, wallMs: 1_700_000_000_000, hasMore: true },
        entries: [verifyEntry, { ...verifyEntry, ...verifyLink, name: text("b") }],
      }),
    ),
  "verify-answer-look": (w) =>
    w.control(
      FrameType.verifyAnswer,
      encodeVerifyAnswer({
        ...{ kind: "look", id: 3, wallMs: 1_700_000_000_000 },
        entry: { ...verifyEntry, name: none, isForeign: true },
      }),
    ),
  "verify-answer-parts": (w) =>
    w.control(
      FrameType.verifyAnswer,
      encodeVerifyAnswer({
        ...{ kind: "parts", id: 3 },
        parts: { ...verifyStat, ...verifyTimes, ino: 77, dev: 2049, isUnchanged, runs: verifyRuns },
      }),
    ),
  "create-file": (w) => w.create(2, 0o100644, 0, none),
  "create-symlink": (w) => w.create(3, 0o120777, 0, text("../else/where")),
  "create-device": (w) => w.create(4, 0o020600, 1 * 2 ** 20 + 3, none),
  write: (w) => write(w, 2, 2 ** 33 + 5, text("hello")),
  zero: (w) => w.zero(2, 4096, 2 ** 40),
  truncate: (w) => w.truncate(2, 3_000_000_000),
  clone: (w) => w.clone(2, 65_536, { node: 7, position: 2 ** 33 }, 8192),
  place: (w) => w.place(2, 1, text("a.txt")),
  "place-not-utf8": (w) => w.place(2, 1, Buffer.from([0xff, 0xfe, 0x41])),
  rename: (w) => w.rename(1, text("a.txt"), 5, text("b.txt"), 0),
  exchange: (w) => w.rename(1, text("a.txt"), 5, text("b.txt"), 1),
  link: (w) => w.link(2, 5, text("c.txt")),
  unlink: (w) => w.unlink(5, text("c.txt")),
  keep: (w) => w.keep(2, text("1f3.9")),
  "manifest-kept": (w) =>
    w.control(
      FrameType.manifestEntry,
      encodeManifestEntry({ ...entry, node: 9, parent: 0, name: text("1f3.9") }),
    ),
  remove: (w) => w.remove(5),
  detach: (w) => w.detach(5),
  meta: (w) => w.meta(2, 0o104755, 1000, 100),
  times: (w) => w.times(2, -1, 999_999_999),
  "times-origin": (w) => w.timesWithOrigin(2, -1, 999_999_999, 1_700_000_001, 987_654_321),
  origin: (w) => w.origin(2, origin.ino, origin.gen, origin.ctimeSec, origin.ctimeNsec),
  attributes: (w) => w.attributes(2, attributes),
  "attributes-none": (w) => w.attributes(2, none),
  commit: (w) => {
    w.truncate(2, 0);
    w.unlink(1, text("a"));
    w.commit(12, CommitFlag.fuzzy | CommitFlag.live, 1_700_000_000_000);
  },
};

test("every type of frame that is in use has a golden frame", () => {
  const covered = new Set<number>();
  for (const name of goldenNames()) {
    new FrameReader((type) => covered.add(type)).push(readGolden(name).bytes);
  }
  // Reserved numbers, which no program sends yet.
  const reserved: readonly number[] = [FrameType.credit];
  for (const [name, type] of Object.entries(FrameType)) {
    assert.equal(covered.has(type), !reserved.includes(type), name);
  }
});

test("the golden frames on file are those that are made here", () => {
  if (isUpdate) {
    for (const [name, make] of Object.entries(frames)) {
      const bytes = encoded(make);
      writeGolden(name, bytes, meaning(bytes));
    }
  }
  assert.deepEqual(goldenNames(), Object.keys(frames).sort());
});

for (const [name, make] of Object.entries(frames)) {
  test(`the frame ${name} is on the wire as it always was`, () => {
    const golden = readGolden(name);
    assert.equal(
      Buffer.from(encoded(make)).toString("hex"),
      Buffer.from(golden.bytes).toString("hex"),
    );
    assert.equal(meaning(golden.bytes), golden.meaning);
  });
}

function encoded(make: (writer: OpWriter) => void): Uint8Array {
  const pieces: Uint8Array[] = [];
  const writer = new OpWriter((piece) => pieces.push(piece));
  make(writer);
  writer.flush();
  return Buffer.concat(pieces);
}

/** What decoding tells, one line a frame. */
function meaning(bytes: Uint8Array): string {
  const lines: string[] = [];
  const reader = new FrameReader((type, frame, start, end) => {
    const name = Object.entries(FrameType).find(([, value]) => value === type)?.[0] ?? "?";
    lines.push(`${name} (${type}), payload ${end - start} bytes: ${told(type, frame, start, end)}`);
  });
  reader.push(bytes);
  return `${lines.join("\n")}\n`;
}

function told(type: number, bytes: Uint8Array, start: number, end: number): string {
  switch (type) {
    case FrameType.hello:
      return readable(decodeHello(bytes, start, end));
    case FrameType.welcome:
      return readable(decodeWelcome(bytes, start, end));
    case FrameType.bye:
    case FrameType.halt:
      return readable(decodeBye(bytes, start, end));
    case FrameType.problem:
      return readable(decodeProblem(bytes, start, end));
    case FrameType.manifestEntry: {
      const { origin: unknown, ...own } = decodeManifestEntry(bytes, start, end);
      assert.equal(unknown, noOrigin);
      return readable(own);
    }
    case FrameType.manifestOrigin:
      return readable(decodeManifestOrigin(bytes, start, end));
    case FrameType.ask:
      return readable(decodeAsk(bytes, start, end));
    case FrameType.answer:
      return readable(decodeAnswer(bytes, start, end));
    case FrameType.subtree:
      return readable(decodeSubtree(bytes, start, end));
    case FrameType.expand:
      return readable(decodeExpand(bytes, start, end));
    case FrameType.expanded:
      return readable(decodeExpanded(bytes, start, end));
    case FrameType.verifyAsk:
      return readable(decodeVerifyAsk(bytes, start, end));
    case FrameType.verifyAnswer:
      return readable(decodeVerifyAnswer(bytes, start, end));
    case FrameType.commit:
      return readable(decodeCommit(bytes, start, end));
    case FrameType.ping:
    case FrameType.pong:
    case FrameType.ack:
    case FrameType.resume:
    case FrameType.manifestEnd: {
      const payload = new Uint8Array(bytes.subarray(start, end));
      return readable([...new Float64Array(payload.buffer)]);
    }
    default: {
      let line = "";
      const note =
        (name: string) =>
        (...values: unknown[]): void => {
          line = `${name} ${readable(values)}`;
        };
      const names = [
        "create",
        "zero",
        "truncate",
        "clone",
        "place",
        "rename",
        "link",
        "unlink",
        "keep",
        "remove",
        "detach",
        "meta",
        "times",
        "attributes",
        "origin",
      ];
      const notes = Object.fromEntries(names.map((name) => [name, note(name)]));
      const operations = {
        ...notes,
        write: (node, position, data, from, to) =>
          note("write")(node, position, data.subarray(from, to)),
      } as Operations;
      decodeOperation(type, bytes, start, end, operations);
      return line;
    }
  }
}

/** JSON, with bytes as text where they are printable and as hex where not. */
function readable(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key) {
    // Through `this`: a Buffer has made an object of itself by the time it comes as the value.
    const one = this[key];
    if (!(one instanceof Uint8Array)) return one;
    const bytes = Buffer.from(one);
    const isText = one.every((byte) => byte >= 32 && byte < 127);
    return isText ? bytes.toString("latin1") : `hex ${bytes.toString("hex")}`;
  });
}
