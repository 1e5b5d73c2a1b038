/** What a target answers to questions that no honest verifier asks, or not in this order. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Errno, type Files, Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { partBytesMax, partBytesMin } from "./part-hasher.ts";
import { TreeReader } from "./tree-reader.ts";

const salt = Buffer.from("salt");

interface Fixture {
  readonly root: string;
  readonly reader: TreeReader;
  /** Names that were opened to be read. */
  readonly opened: string[];
}

function makeFixture(context: TestContext): Fixture {
  const base = fs.mkdtempSync(join(tmpdir(), "lockstep-tree-reader-"));
  const root = join(base, "root");
  fs.mkdirSync(join(root, "dir"), { recursive: true });
  fs.mkdirSync(join(base, "outside"));
  fs.writeFileSync(join(base, "outside/file"), "secret");
  fs.writeFileSync(join(root, "dir/file"), "content");
  fs.symlinkSync("../outside", join(root, "away"));
  fs.symlinkSync("../../outside/file", join(root, "dir/away"));
  execFileSync("mkfifo", [join(root, "pipe")]);
  const opened: string[] = [];
  const files: Files = {
    ...native(),
    openBeneath: (dirfd, path, flags, mode) => {
      if ((flags & (Open.path | Open.directory)) === 0) opened.push(Buffer.from(path).toString());
      return native().openBeneath(dirfd, path, flags, mode);
    },
  };
  const rootFd = files.openPath(Buffer.from(root), Open.read | Open.directory);
  context.after(() => {
    files.close(rootFd);
    fs.rmSync(base, { recursive: true });
  });
  const sha256 = (...parts: readonly Uint8Array[]): Uint8Array =>
    createHash("sha256").update(Buffer.concat(parts)).digest();
  const pause = (): Promise<boolean> => Promise.resolve(false);
  return {
    root,
    reader: new TreeReader(files, rootFd, { sha256, salt, nowUs: () => 0, pause }),
    opened,
  };
}

const bytes = (text: string): Uint8Array => Buffer.from(text);

test("nothing outside of the root is looked at, listed or read", async (t) => {
  const { reader, opened } = makeFixture(t);
  for (const path of ["..", "../outside", "dir/../..", "/", "/etc", "dir//file", ".", "dir/."]) {
    for (const asked of [bytes(path), bytes(`${path}/file`)]) {
      const answers = [
        reader.list(asked, ""),
        reader.look(asked),
        reader.parts(asked, 0, partBytesMax),
      ];
      for (const answer of await Promise.all(answers)) assert.equal(typeof answer, "number", path);
    }
  }
  for (const asked of ["away", "away/file", "dir/away", "dir/away/file"].map(bytes)) {
    assert.equal(typeof (await reader.list(asked, "")), "number");
    assert.equal(typeof (await reader.parts(asked, 0, partBytesMax)), "number");
  }
  // The link itself is an entry, what is behind it is none.
  const link = await reader.look(bytes("away"));
  assert.ok(
    typeof link === "object" && Buffer.from(link.link as Uint8Array).equals(bytes("../outside")),
  );
  assert.equal(typeof (await reader.look(bytes("away/file"))), "number");
  assert.deepEqual(opened, []);
});

test("only regular files are opened, and only parts of a proper size are hashed", async (t) => {
  const { reader, opened } = makeFixture(t);
  for (const path of ["pipe", "dir", "none", ""]) {
    assert.equal(await reader.parts(bytes(path), 0, partBytesMax), -Errno.ENOENT, path);
  }
  for (const [from, partBytes] of [
    [0, 1],
    [0, partBytesMin - 1],
    [0, partBytesMax + 1],
    [0, 0],
    [1, partBytesMin],
  ] as const) {
    assert.equal(await reader.parts(bytes("dir/file"), from, partBytes), -Errno.EINVAL);
  }
  assert.deepEqual(opened, []);
  const parts = await reader.parts(bytes("dir/file"), 0, partBytesMin);
  const hash = createHash("sha256").update("saltcontent").digest();
  assert.ok(typeof parts === "object");
  assert.deepEqual(
    parts.runs.map((run) => [run.end, Buffer.from(run.hash ?? [])]),
    [[7, hash]],
  );
  const beyond = await reader.parts(bytes("dir/file"), 2 ** 40, partBytesMin);
  assert.ok(typeof beyond === "object" && beyond.runs.length === 0);
});

test("pages of many directories in turn, from anywhere, have every name once", async (t) => {
  const { root, reader } = makeFixture(t);
  const wanted = Array.from({ length: 1000 }, (_, i) => `name ${i}`).sort();
  const folders = ["a", "b", "c", "d", "e", "f"];
  for (const folder of folders) {
    fs.mkdirSync(join(root, folder));
    for (const name of wanted) fs.writeFileSync(join(root, folder, name), "");
  }
  const got = new Map<string, string[]>(folders.map((folder) => [folder, []]));
  const open = new Set(folders);
  for (let turn = 0; open.size > 0; turn++) {
    for (const folder of [...open]) {
      const names = got.get(folder)!;
      const page = await reader.list(bytes(folder), names.at(-1) ?? "");
      assert.ok(typeof page === "object");
      names.push(...page.entries.map(({ name }) => name));
      if (!page.hasMore) open.delete(folder);
    }
    assert.ok(turn < 100);
  }
  for (const folder of folders) assert.deepEqual(got.get(folder), wanted);
  const rest = await reader.list(bytes("a"), "name 998");
  assert.ok(typeof rest === "object");
  assert.deepEqual(
    rest.entries.map(({ name }) => name),
    ["name 999"],
  );
});
