import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { native } from "../world/node/index.ts";
import {
  blockBytesOf,
  DeltaSearch,
  type Runs,
  type Signature,
  signatureBytesOf,
  SignatureReader,
  SignatureWriter,
} from "./index.ts";

const files = native();
const folder = mkdtempSync(join(tmpdir(), "lockstep-delta-"));
after(() => rmSync(folder, { recursive: true }));

function withFile<T>(bytes: Uint8Array, use: (fd: number) => T): T {
  const path = join(folder, "file");
  writeFileSync(path, bytes);
  const fd = openSync(path, "r");
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function piecesOf(basis: Uint8Array, blockBytes = blockBytesOf(basis.length)): Uint8Array[] {
  return withFile(basis, (fd) => {
    const salt = randomBytes(16);
    const writer = new SignatureWriter(files, fd, { blockBytes, fileBytes: basis.length, salt });
    const pieces: Uint8Array[] = [];
    for (;;) {
      const piece = writer.step();
      assert.ok(typeof piece !== "number");
      if (piece === undefined) return pieces;
      pieces.push(piece);
    }
  });
}

function signatureOf(basis: Uint8Array): Signature {
  const reader = new SignatureReader();
  for (const piece of piecesOf(basis)) reader.push(piece);
  return reader.take();
}

function search(signature: Signature, file: Uint8Array): Runs {
  return withFile(file, (fd) => {
    const found = new DeltaSearch(files, fd, file.length, signature);
    for (let done = found.step(); done !== true; done = found.step()) assert.equal(done, false);
    return found.runs;
  });
}

/** The new file, from the basis and the literal bytes of the new file. */
function patch(runs: Runs, basis: Uint8Array, file: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  let end = 0;
  for (let i = 0; i < runs.count; i++) {
    const [at, length, from] = [runs.at(i), runs.length(i), runs.basis(i)];
    assert.equal(at, end, "runs leave no gap");
    assert.ok(length > 0);
    if (from >= 0) assert.ok(from + length <= basis.length);
    const [bytes, start] = from < 0 ? [file, at] : [basis, from];
    parts.push(bytes.subarray(start, start + length));
    end = at + length;
  }
  return Buffer.concat(parts);
}

test("a file with an insertion is patched together from its basis and few literal bytes", () => {
  const basis = randomBytes(300_000);
  const at = 123_456;
  const file = Buffer.concat([basis.subarray(0, at), Buffer.from("new"), basis.subarray(at)]);
  const runs = search(signatureOf(basis), file);
  assert.deepEqual(Buffer.from(patch(runs, basis, file)), file);
  assert.ok(runs.literalBytes <= blockBytesOf(basis.length) + 3);
  const bytes = piecesOf(basis).reduce((sum, piece) => sum + piece.length, 0);
  assert.equal(bytes, signatureBytesOf(basis.length));
});
