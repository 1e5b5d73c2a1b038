import assert from "node:assert/strict";
import { test } from "node:test";
import { Heartbeat } from "./heartbeat.ts";
import { pingMs, silenceMsMax } from "./limits.ts";

test("a peer is lost when it has been silent for longer than it may, and not before", () => {
  const heartbeat = new Heartbeat();
  for (let round = 0; round < 3; round++) {
    let silentLooks = 0;
    while (!heartbeat.isLost()) silentLooks++;
    assert.equal(silentLooks * pingMs, silenceMsMax);
    heartbeat.heard();
  }
});
