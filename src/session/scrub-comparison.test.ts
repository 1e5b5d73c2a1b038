import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { blankDigest, type Digest, DigestFlag, type Sha256 } from "../wire/index.ts";
import { Mode, Stat, statSlots } from "../world/index.ts";
import { differencesOf, type Own } from "./scrub-comparison.ts";

const sha256: Sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const salt = new Uint8Array(16);
const none = new Uint8Array(0);

function own(mode: number): Own {
  const stat = new Float64Array(statSlots);
  stat[Stat.mode] = mode;
  stat[Stat.uid] = 5;
  stat[Stat.mtimeSec] = 100;
  stat[Stat.mtimeNsec] = 123_456_789;
  return { stat, attributes: none, hash: sha256(salt), count: 0 };
}

function theirs(mode: number, changes: Partial<Digest> = {}): Digest {
  return {
    ...blankDigest(),
    flags: DigestFlag.content | DigestFlag.attributes,
    mode,
    uid: 5,
    mtimeSec: 100,
    mtimeNsec: 123_456_789,
    content: sha256(salt),
    attributes: sha256(salt, none),
    ...changes,
  };
}

function differ(mode: number, digest: Digest, privileged = true): readonly string[] {
  return differencesOf(own(mode), digest, { privileged, salt, sha256 });
}

const file = Mode.regular | 0o644;

test("equal is equal, and each difference has its name", () => {
  const other = sha256(Buffer.from("other"));
  assert.deepEqual(differ(file, theirs(file)), []);
  assert.deepEqual(differ(file, blankDigest()), ["missing"]);
  assert.deepEqual(differ(file, theirs(Mode.fifo | 0o644)), ["kind"]);
  assert.deepEqual(differ(file, theirs(file, { mode: Mode.regular | 0o600 })), ["mode"]);
  assert.deepEqual(differ(file, theirs(file, { uid: 6 })), ["owner"]);
  assert.deepEqual(differ(file, theirs(file, { mtimeNsec: 5 })), ["times"]);
  assert.deepEqual(differ(file, theirs(file, { attributes: other })), ["attributes"]);
  assert.deepEqual(differ(file, theirs(file, { content: other })), ["content"]);
  assert.deepEqual(differ(file, theirs(file, { size: 1, count: 1 })), ["size", "content"]);
  const directory = Mode.directory | 0o755;
  assert.deepEqual(differ(directory, theirs(directory, { count: 1 })), ["names"]);
  const link = Mode.symlink | 0o777;
  assert.deepEqual(differ(link, theirs(link, { content: other })), ["link"]);
  const device = Mode.characterDevice | 0o600;
  assert.deepEqual(differ(device, theirs(device, { rdev: 9 })), ["device"]);
});

test("what was not looked at is no difference", () => {
  const other = sha256(Buffer.from("other"));
  const blind = { flags: 0, content: other, attributes: other };
  assert.deepEqual(differ(file, theirs(file, blind)), []);
});

test("what a target without privilege cannot set is no difference", () => {
  const setId = Mode.regular | 0o6755;
  assert.deepEqual(differ(setId, theirs(Mode.regular | 0o755)), ["mode"]);
  assert.deepEqual(differ(setId, theirs(Mode.regular | 0o755), false), []);
  assert.deepEqual(differ(setId, theirs(Mode.regular | 0o750), false), ["mode"]);
  assert.deepEqual(differ(file, theirs(file, { uid: 6, gid: 7 }), false), []);
  const device = Mode.blockDevice | 0o600;
  assert.deepEqual(differ(device, theirs(Mode.regular | 0o600)), ["kind"]);
  assert.deepEqual(differ(device, theirs(Mode.regular | 0o600), false), []);
});

test("a filesystem that keeps whole seconds is not at fault", () => {
  assert.deepEqual(differ(file, theirs(file, { mtimeNsec: 0 })), []);
  assert.deepEqual(differ(file, theirs(file, { mtimeSec: 99, mtimeNsec: 0 })), ["times"]);
});
