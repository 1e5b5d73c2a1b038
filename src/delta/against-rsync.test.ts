/**
 * Bytes that a delta costs, beside those of rsync's for the same pair of files: literal bytes and
 * the sums of blocks. Timings are no part of it.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createCipheriv } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, utimesSync } from "node:fs";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { native } from "../world/node/index.ts";
import { blockBytesOf, DeltaSearch, SignatureReader, SignatureWriter } from "./index.ts";

const basisBytes = 8 * 1024 * 1024;
const missing = spawnSync("rsync", ["--version"]).status === 0 ? false : "rsync is not installed";

/** Bytes without a pattern, the same for the same name. */
function noise(name: string, bytes: number): Buffer {
  const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, name), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(bytes));
}

/** Positions and lengths without a pattern. */
function* numbers(name: string): Generator<number> {
  const bytes = noise(name, 4 * 65536);
  for (let i = 0; i < 65536; i++) yield bytes.readUInt32LE(4 * i) / 2 ** 32;
}

function scattered(basis: Buffer): Buffer {
  const file = Buffer.from(basis);
  const random = numbers("places");
  const next = (): number => Number(random.next().value);
  for (let changed = 0; changed < basis.length / 100;) {
    const bytes = 64 + Math.floor(next() * (4096 - 64));
    const at = Math.floor(next() * (basis.length - bytes));
    noise(`change ${changed}`, bytes).copy(file, at);
    changed += bytes;
  }
  return file;
}

function inserted(basis: Buffer, count: number): Buffer {
  const random = numbers("insertions");
  const next = (): number => Number(random.next().value);
  const places = Array.from({ length: count }, () => Math.floor(next() * basis.length));
  places.sort((one, other) => one - other);
  const parts: Buffer[] = [];
  for (const [i, at] of places.entries()) {
    parts.push(basis.subarray(places[i - 1] ?? 0, at), noise(`new ${i}`, 1 + (at % 300)));
  }
  return Buffer.concat([...parts, basis.subarray(places.at(-1) ?? 0)]);
}

/** Literal bytes and bytes of the signature. */
function ourBytes(oldPath: string, newPath: string): number {
  const files = native();
  const [basis, file] = [readFileSync(oldPath), readFileSync(newPath)];
  const [oldFd, newFd] = [openSync(oldPath, "r"), openSync(newPath, "r")];
  const writer = new SignatureWriter(files, oldFd, {
    blockBytes: blockBytesOf(basis.length),
    fileBytes: basis.length,
    salt: noise("salt", 16),
  });
  const reader = new SignatureReader();
  let bytes = 0;
  for (let piece = writer.step(); piece !== undefined; piece = writer.step()) {
    assert.ok(typeof piece !== "number");
    bytes += piece.length;
    reader.push(piece);
  }
  const search = new DeltaSearch(files, newFd, file.length, reader.take());
  for (let done = search.step(); done !== true; done = search.step()) assert.equal(done, false);
  closeSync(oldFd);
  closeSync(newFd);
  const { runs } = search;
  for (let i = 0; i < runs.count; i++) {
    const [at, length, from] = [runs.at(i), runs.length(i), runs.basis(i)];
    if (from >= 0) assert.equal(file.compare(basis, from, from + length, at, at + length), 0);
  }
  return bytes + runs.literalBytes;
}

/** The same of rsync: what its receiver sent is the sums. */
function rsyncBytes(oldFolder: string, newFolder: string): number {
  const args = ["-a", "--no-whole-file", "--stats", `${newFolder}/`, `${oldFolder}/`];
  const told = execFileSync("rsync", args, { env: { ...process.env, LC_ALL: "C" } }).toString();
  const number = (name: string): number => {
    const match = new RegExp(`${name}: ([\\d,.]+)`).exec(told);
    assert.ok(match, told);
    return Number(match[1]!.replaceAll(/[,.]/g, ""));
  };
  return number("Literal data") + number("Total bytes received");
}

const changes: Record<string, (basis: Buffer) => Buffer> = {
  "1 % changed in scattered places": scattered,
  "100 insertions": (basis) => inserted(basis, 100),
  "an insertion at the start and an end of its own": (basis) =>
    Buffer.concat([noise("start", 99), basis, noise("end", 300_000)]),
};

for (const [name, change] of Object.entries(changes)) {
  test(`a delta costs at most 1.3 times the bytes of rsync's: ${name}`, { skip: missing }, (t) => {
    const folder = mkdtempSync(join(tmpdir(), "lockstep-rsync-"));
    try {
      const [oldFolder, newFolder] = [join(folder, "old"), join(folder, "new")];
      mkdirSync(oldFolder);
      mkdirSync(newFolder);
      const basis = noise("basis", basisBytes);
      writeFileSync(join(oldFolder, "file"), basis);
      writeFileSync(join(newFolder, "file"), change(basis));
      // Else rsync may take two files of one size and second for the same.
      utimesSync(join(oldFolder, "file"), 1, 1);
      const ours = ourBytes(join(oldFolder, "file"), join(newFolder, "file"));
      const theirs = rsyncBytes(oldFolder, newFolder);
      t.diagnostic(`${ours} bytes; rsync ${theirs}; ${(ours / theirs).toFixed(3)}`);
      assert.ok(ours <= 1.3 * theirs, `${ours} bytes, rsync ${theirs}`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
