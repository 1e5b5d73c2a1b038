import assert from "node:assert/strict";
import { test } from "node:test";
import { exists, ProcessError, run, start } from "./processes.ts";

const soonMs = 20_000;

test("run returns what was printed and refuses a failing program with its complaint", async () => {
  assert.equal(await run("sh", ["-c", "echo one; echo two"], { timeoutMs: soonMs }), "one\ntwo");
  await assert.rejects(
    run("sh", ["-c", "echo why >&2; exit 3"], { timeoutMs: soonMs }),
    (error) => error instanceof ProcessError && /ended with 3: why/.test(error.message),
  );
  assert.equal(
    await run("sh", ["-c", "echo x; exit 1"], { timeoutMs: soonMs, exitCodes: [0, 1] }),
    "x",
  );
});

test("run gives up at its deadline and leaves no process", async () => {
  await assert.rejects(run("sleep", ["60"], { timeoutMs: 50 }), ProcessError);
});

test("waitFor resolves with the accepted line and rejects when it ends first", async () => {
  const child = start("sh", ["-c", "echo no; echo port 7; exec sleep 60"]);
  const port = await child.waitFor((line) => /^port (\d+)$/.exec(line)?.[1], soonMs);
  assert.equal(port, "7");
  await child.end();
  const brief = start("sh", ["-c", "exit 4"]);
  await assert.rejects(
    brief.waitFor(() => true, soonMs),
    /ended with 4/,
  );
});

test("end takes the whole group along", async () => {
  const child = start("sh", ["-c", "sleep 60 & echo $!; wait"]);
  const grandchild = Number(await child.waitFor((line) => line, soonMs));
  await child.end();
  // Signal 0 asks whether it is there; a zombie that init has yet to reap still is.
  for (let attempt = 0; attempt < 100 && isRunning(grandchild); attempt += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(isRunning(grandchild), false);
});

test("exists tells a missing program from one that fails", async () => {
  assert.equal(await exists("false", []), true);
  assert.equal(await exists("no-such-program-here", []), false);
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
