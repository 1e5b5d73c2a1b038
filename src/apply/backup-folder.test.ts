import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { folderName, folderTimeMs } from "./backup-folder.ts";

test("a folder's name is the time in UTC, and says it again", () => {
  const last = Date.UTC(9999, 11, 31, 23, 59, 59);
  fc.assert(
    fc.property(fc.integer({ min: -62_167_219_200, max: last / 1000 }), (seconds) => {
      const iso = new Date(seconds * 1000).toISOString();
      const name = folderName(seconds * 1000 + 999);
      assert.equal(name, iso.replaceAll(":", "-").replace(".000Z", "Z"));
      assert.equal(folderTimeMs(name), seconds * 1000);
    }),
  );
});

test("no other name is taken for a time", () => {
  const names = [
    "2026-02-29T00-00-00Z",
    "2026-13-01T00-00-00Z",
    "2026-00-01T00-00-00Z",
    "2026-01-00T00-00-00Z",
    "2026-01-01T24-00-00Z",
    "2026-01-01T00-60-00Z",
    "2026-01-01T00-00-60Z",
    "2026-01-01T00-00-00",
    "2026-01-01T00-00-00Z.1",
    " 2026-01-01T00-00-00Z",
    "2026-01-01T00:00:00Z",
    "2026-01-01",
    "",
  ];
  for (const name of names) assert.equal(folderTimeMs(name), undefined, name);
});
