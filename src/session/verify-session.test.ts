/** How a verified target shares its thread with others, by a clock of its own. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { linkLimits, memoryLinkPair } from "../transport/index.ts";
import { type Clock, Open, type World } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { pingMs } from "./limits.ts";
import { serveLink } from "./target-service.ts";
import { openVerifyLink } from "./verify-link.ts";

const partCount = 16;
const partBytes = 262_144;
/** Time that passes whenever somebody looks at the clock. */
const lookUs = 100;

/** Has a file read by a verifier; what the target waited for, and how often it let others work. */
async function readFile(
  context: TestContext,
  { rate, isBusy }: { rate: number; isBusy: boolean },
): Promise<{ restsMs: number[]; workUs: number; turnCount: number }> {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-verify-session-"));
  writeFileSync(join(folder, "file"), Buffer.alloc(partCount * partBytes, 7));
  const files = native();
  const real = nodeWorld({ write: () => {} });
  const restsMs: number[] = [];
  let [nowUs, workUs, turnCount] = [0, 0, 0];
  const clock: Clock = {
    monotonicUs: () => {
      workUs += lookUs;
      return (nowUs += lookUs);
    },
    wallMs: () => 0,
    after: (delayMs, fire) => {
      if (delayMs < pingMs) {
        restsMs.push(delayMs);
        setImmediate(() => {
          nowUs += delayMs * 1000;
          fire();
        });
      }
      return { cancel: () => {} };
    },
    defer: (fire) => {
      turnCount += 1;
      setImmediate(fire);
    },
  };
  const world: World = { ...real, clock };
  const [near, far] = memoryLinkPair({ clock: real.clock, limits: linkLimits });
  const served = serveLink(far, {
    world,
    files,
    spool: { files, dirFd: -1 },
    privileged: true,
    grant: () => assert.fail("nothing is sent"),
    grantVerify: () => ({
      rootFd: files.openPath(Buffer.from(folder), Open.read | Open.directory),
      isBusy: () => isBusy,
      onSession: () => {},
    }),
  });
  context.after(() => rmSync(folder, { recursive: true }));
  const place = { share: "", subpath: "", device: "test", rate };
  const remote = await openVerifyLink({ world: real, link: near, ...place });
  for (let from = 0; from < partCount * partBytes;) {
    const parts = await remote.parts(Buffer.from("file"), from, partBytes);
    assert.ok(typeof parts === "object");
    from = parts.runs.at(-1)!.end;
  }
  remote.close();
  await served;
  return { restsMs, workUs, turnCount };
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

test("alone it does not rest", async (t) => {
  const { restsMs } = await readFile(t, { rate: 0, isBusy: false });
  assert.deepEqual(restsMs, []);
});

test("beside a mirror it rests at least as long as it works, in small steps", async (t) => {
  const { restsMs, workUs, turnCount } = await readFile(t, { rate: 0, isBusy: true });
  assert.ok(sum(restsMs) * 1000 >= workUs * 0.8, `${sum(restsMs)} ms for ${workUs} µs`);
  assert.ok(
    restsMs.every((ms) => ms <= 2),
    restsMs.join(),
  );
  assert.ok(turnCount >= restsMs.length && restsMs.length >= partCount / 4);
});

test("it keeps to the rate that it is asked for", async (t) => {
  const { restsMs } = await readFile(t, { rate: partBytes, isBusy: false });
  const seconds = sum(restsMs) / 1000;
  assert.ok(seconds > partCount - 2 && seconds < partCount + 1, `${seconds} s`);
});
