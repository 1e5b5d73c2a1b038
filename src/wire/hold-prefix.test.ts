import assert from "node:assert/strict";
import { test } from "node:test";
import { holdPrefix, isHoldName } from "./hold-prefix.ts";

test("a name that begins like the target's own is reserved, others are not", () => {
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
  assert.equal(isHoldName(encode(".lockstep-hold.7")), true);
  assert.equal(isHoldName(encode(".lockstep-hold.my-file")), true);
  assert.equal(isHoldName(holdPrefix), false);
  assert.equal(isHoldName(encode(".lockstep-hol")), false);
  assert.equal(isHoldName(encode("a.lockstep-hold.7")), false);
});
