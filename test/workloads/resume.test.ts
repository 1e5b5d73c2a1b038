/**
 * A large file whose sending is interrupted goes on from where it was: the target keeps what has
 * arrived, whichever side is killed, and nothing of it is sent again. When the target equals the
 * source nothing of that is left in its folder.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { appendFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventsOf } from "../cli/program.ts";
import { runCommand } from "./commands.ts";
import { linkPair } from "./link-pair.ts";

const fileMegabytes = Number(process.env["LOCKSTEP_RESUME_MB"] ?? 96);
const megabyte = 1 << 20;
const waitMs = 30_000;

/** Bytes of the file that the target keeps, 0 if there is none. */
function keptBytes(target: string): number {
  const name = readdirSync(target).find((one) => one.startsWith(".lockstep-hold.keep-"));
  return name === undefined ? 0 : statSync(join(target, name)).size;
}

for (const victim of ["source", "target"]) {
  test(`a large file goes on where it was when the ${victim} is killed`, async (context) => {
    const { source, target, serve, sync } = await linkPair(context);
    for (let i = 0; i < fileMegabytes; i++) {
      appendFileSync(join(source, "large"), randomBytes(megabyte));
    }
    const fileBytes = fileMegabytes * megabyte;
    const stopAt = fileBytes * (0.2 + 0.6 * Math.random());
    const serving = await serve();
    const syncing = sync("--once");
    const limit = performance.now() + waitMs;
    while (keptBytes(target) < stopAt) {
      assert.ok(performance.now() < limit, "the file arrives");
      await sleep(1);
    }
    (victim === "source" ? syncing : serving).kill("SIGKILL");
    if (victim === "source") await syncing.end();
    else await serving.end();
    syncing.kill("SIGKILL");
    serving.kill("SIGKILL");
    await Promise.all([syncing.end(), serving.end()]);
    const kept = keptBytes(target);
    assert.ok(kept >= stopAt && kept <= fileBytes, `${kept} of ${fileBytes} bytes are kept`);

    const again = await serve();
    const { exit, stdout, stderr } = await sync("--once").end();
    assert.equal(exit, 0, stderr);
    const live = eventsOf(stdout).find(({ event }) => event === "live");
    const sent = Number(live!["bytes"]);
    // What was kept, but for a block at its end, is not sent again.
    assert.ok(sent <= fileBytes - kept + 2 * megabyte, `${sent} bytes sent, ${kept} were there`);
    assert.deepEqual(readdirSync(target), ["large"]);
    await runCommand("cmp", [join(target, "large"), join(source, "large")], { cwd: source });
    again.kill("SIGTERM");
    await again.end();
  });
}
