import assert from "node:assert/strict";
import { mkdtempSync, rmSync, stat } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { publishStatus } from "./control-socket.ts";

/** Longer than a client may be silent. */
const busyMs = 400;

function publish(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-control-"));
  const log = { write: () => {} };
  const answers = { wait: (_: unknown, talk: { end: (how: string) => void }) => talk.end("done") };
  const published = publishStatus(folder, () => ({ state: "is" }), log, undefined, answers);
  context.after(() => {
    published.close();
    rmSync(folder, { recursive: true });
  });
  return join(folder, "run", `${process.pid}.sock`);
}

/** All that is answered to `request`, said when the server is busy for a while. */
async function ask(path: string, request: string): Promise<string> {
  const socket = connect(path);
  let text = "";
  socket.on("data", (part: Buffer) => (text += part.toString()));
  const ended = new Promise<void>((resolve, reject) => {
    socket.once("end", resolve);
    socket.once("error", reject);
  });
  // It has been accepted by then.
  await sleep(20);
  // Where a mirror works: after the loop's timers, and before it reads again.
  stat(path, () => {
    socket.write(request);
    const until = performance.now() + busyMs;
    while (performance.now() < until);
  });
  await ended;
  socket.destroy();
  return text;
}

test("a request is heard however long the process was busy when it came", async (context) => {
  const path = publish(context);
  assert.match(await ask(path, "wait {}\n"), /"heard":"wait"[^]*"end":"done"/);
});

test("who says nothing hears of the status", async (context) => {
  const path = publish(context);
  assert.match(await ask(path, ""), /"state":"is"/);
});
