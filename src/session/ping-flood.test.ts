/** A peer that says much and hears nothing does not make the other side grow. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { ProblemLog } from "../model/index.ts";
import { linkLimits, memoryLinkPair } from "../transport/index.ts";
import { Open } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { encodeControl, FrameType, OpWriter, protocolVersion } from "../wire/index.ts";
import { serveLink } from "./target-service.ts";

const pingBytes = 1_000_000;
const pingCount = 300;

for (const intent of ["send", "verify"]) {
  test(`pings are not echoed to who does not read (${intent})`, async (context) => {
    const folder = mkdtempSync(join(tmpdir(), "lockstep-pings-"));
    const files = native();
    const open = (): number => files.openPath(Buffer.from(folder), Open.read | Open.directory);
    const world = nodeWorld({ write: () => {} });
    const [near, far] = memoryLinkPair({ clock: world.clock, limits: linkLimits });
    const spoolFd = open();
    const served = serveLink(far, {
      world,
      files,
      spool: { files, dirFd: spoolFd },
      privileged: true,
      grant: () => ({ rootFd: open(), path: folder, problems: new ProblemLog(() => {}) }),
      grantVerify: () => ({ rootFd: open(), isBusy: () => false, onSession: () => {} }),
    });
    context.after(async () => {
      near.destroy();
      await served;
      files.close(spoolFd);
      rmSync(folder, { recursive: true });
    });
    near.start({ onData: () => {}, onDrain: () => {}, onClose: () => {} });
    near.pause();
    const writer = new OpWriter((piece) => near.send(piece));
    const asked = { intent, share: "", subpath: "", device: "test" };
    const hello = { protocol: protocolVersion, version: "0", features: [] };
    writer.control(FrameType.hello, encodeControl({ ...hello, ...asked }));
    let mostBytes = 0;
    for (let i = 0; i < pingCount; i++) {
      writer.control(FrameType.ping, new Uint8Array(pingBytes));
      for (let turn = 0; near.bufferedBytes > pingBytes && turn < 1000; turn++) await setTimeout(1);
      mostBytes = Math.max(mostBytes, far.bufferedBytes);
    }
    assert.ok(mostBytes < 8 * pingBytes, `${mostBytes} bytes are held for the peer`);
  });
}
