/** What the target answers to who asks what it has, on real files; and to who asks for too much. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { rootId, Tree } from "../tree/index.ts";
import { type Digest, type DigestAsk, DigestFlag, NamesHash, type Sha256 } from "../wire/index.ts";
import { Mode, Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { DigestReader } from "./digest-reader.ts";
import { TargetScan } from "./target-scan.ts";

const sha256: Sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const salt = Buffer.alloc(16, 7);

interface Place {
  readonly root: string;
  readonly tree: Tree;
  readonly node: (path: string) => number;
  readonly ask: (changes: Partial<DigestAsk>) => Digest | "refused";
}

function place(t: TestContext): Place {
  const root = mkdtempSync(join(tmpdir(), "lockstep-digest-"));
  mkdirSync(join(root, "folder"));
  writeFileSync(join(root, "folder/file"), "0123456789");
  writeFileSync(join(root, "folder/other"), "");
  symlinkSync("folder/file", join(root, "link"));
  const files = native();
  const rootFd = files.openPath(Buffer.from(root), Open.read | Open.directory);
  const tree = new Tree();
  const scan = new TargetScan({ files, rootFd, tree });
  while (scan.step());
  const reader = new DigestReader({ files, rootFd, tree, sha256, privileged: true });
  t.after(() => {
    reader.close();
    files.close(rootFd);
    rmSync(root, { recursive: true });
  });
  const node = (path: string): number =>
    path.split("/").reduce((at, name) => tree.child(at, Buffer.from(name)), rootId);
  const ask = (changes: Partial<DigestAsk>): Digest | "refused" => {
    const whole: DigestAsk = { kind: 2, id: 1, node: rootId, length: 0, from: 0, salt, ...changes };
    for (let step = 0; step < 1000; step++) {
      const answer = reader.step(whole);
      if (answer !== "more") return answer;
    }
    throw new Error("no end");
  };
  return { root, tree, node, ask };
}

function digestOf(answer: Digest | "refused"): Digest {
  assert.notEqual(answer, "refused");
  return answer as Digest;
}

test("a range is hashed as it is on the disk, a short one up to the end", (t) => {
  const { root, node, ask } = place(t);
  const file = node("folder/file");
  const middle = digestOf(ask({ node: file, from: 2, length: 4 }));
  assert.equal(middle.count, 4);
  assert.deepEqual(Buffer.from(middle.content), sha256(salt, Buffer.from("2345")));
  writeFileSync(join(root, "folder/file"), "01x3456789");
  const changed = digestOf(ask({ node: file, from: 2, length: 4 }));
  assert.notDeepEqual(changed.content, middle.content);
  truncateSync(join(root, "folder/file"), 3);
  const short = digestOf(ask({ node: file, from: 2, length: 4 }));
  assert.equal(short.size, 3);
  assert.equal(short.count, 1);
  assert.deepEqual(Buffer.from(short.content), sha256(salt, Buffer.from("x")));
  chmodSync(join(root, "folder/file"), 0o600);
  assert.equal(digestOf(ask({ node: file })).mode, Mode.regular | 0o600);
});

test("ranges beyond the end are empty, and longer ones than may be asked for are cut", (t) => {
  const { node, ask } = place(t);
  const beyond = digestOf(ask({ node: node("folder/file"), from: 2 ** 50, length: 100 }));
  assert.equal(beyond.count, 0);
  assert.deepEqual(Buffer.from(beyond.content), sha256(salt));
  const long = digestOf(ask({ node: node("folder/file"), length: 2 ** 32 - 1 }));
  assert.equal(long.count, 10);
});

test("what is missing, or below a missing folder, is told as nothing", (t) => {
  const { root, node, ask } = place(t);
  const [file, folder] = [node("folder/file"), node("folder")];
  rmSync(join(root, "folder/file"));
  assert.equal(digestOf(ask({ node: file })).mode, 0);
  renameSync(join(root, "folder"), join(root, "moved"));
  assert.equal(digestOf(ask({ node: folder })).mode, 0);
  assert.equal(digestOf(ask({ node: node("folder/other") })).mode, 0);
});

test("a link in the place of a file or a folder is not followed", (t) => {
  const { root, node, ask } = place(t);
  const file = node("folder/file");
  rmSync(join(root, "folder/file"));
  symlinkSync("/etc/passwd", join(root, "folder/file"));
  const instead = digestOf(ask({ node: file, length: 100 }));
  assert.equal(instead.mode & Mode.typeMask, Mode.symlink);
  assert.equal(instead.flags & DigestFlag.content, 0);
  rmSync(join(root, "folder"), { recursive: true });
  symlinkSync("/etc", join(root, "folder"));
  assert.equal(digestOf(ask({ node: node("folder/other") })).mode, 0);
});

test("a directory tells its names, a link its target, whatever range is asked for", (t) => {
  const { root, node, ask } = place(t);
  const names = (...all: string[]): Uint8Array => {
    const hash = new NamesHash(sha256, salt);
    for (const name of all) hash.add(Buffer.from(name));
    return hash.value();
  };
  const folder = node("folder");
  const before = digestOf(ask({ node: folder, from: 5, length: 100 }));
  assert.deepEqual(before.content, names("file", "other"));
  writeFileSync(join(root, "folder/extra"), "");
  const after = digestOf(ask({ node: folder }));
  assert.equal(after.count, 3);
  assert.deepEqual(after.content, names("other", "extra", "file"));
  writeFileSync(join(root, ".lockstep-hold.7"), "");
  assert.equal(digestOf(ask({ node: rootId })).count, 2, "what it keeps for itself is no name");
  const link = digestOf(ask({ node: node("link"), length: 3 }));
  assert.deepEqual(Buffer.from(link.content), sha256(salt, Buffer.from("folder/file")));
});

test("nodes that are none, or have no name, are refused", (t) => {
  const { tree, ask } = place(t);
  for (const node of [0, 4711, 2 ** 32 - 1]) assert.equal(ask({ node }), "refused");
  const staged = tree.addNode(Mode.regular);
  assert.equal(ask({ node: staged, length: 10 }), "refused");
});
