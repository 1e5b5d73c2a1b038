import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { filesystemOf, inodeIn, inodeKey, withFilesystem } from "./inode-keys.ts";

const number = fc.integer({ min: 0, max: 1023 });

test("a key says inode and filesystem, exactly, and the root's inodes are their own keys", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), number, number, (wide, filesystem, other) => {
      const ino = wide % 2 ** 43;
      const key = inodeKey(ino, filesystem);
      assert.ok(Number.isSafeInteger(key));
      assert.deepEqual([inodeIn(key), filesystemOf(key)], [ino, filesystem]);
      assert.equal(inodeKey(ino, 0), ino);
      assert.equal(withFilesystem(key, other), inodeKey(ino, other));
    }),
  );
});

test("numbers beyond 43 bits are folded within their filesystem", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2 ** 43, max: 2 ** 53 - 1 }), number, (ino, filesystem) => {
      const key = inodeKey(ino, filesystem);
      assert.ok(Number.isSafeInteger(key));
      assert.equal(filesystemOf(key), filesystem);
      assert.equal(inodeKey(ino, 0), inodeIn(key));
    }),
  );
});
