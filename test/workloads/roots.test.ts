/**
 * The source's folder is taken away, or another one put in its place, while it is mirrored:
 * Lockstep must halt, not carry the new state over, and end with the code for a halt when it is
 * asked to.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const cliPath = join(dirname(fileURLToPath(import.meta.url)), "../../src/cli/main.js");
const haltedExit = 5;
const timeoutMs = 30_000;

const takings: Readonly<Record<string, (source: string) => void>> = {
  "moved away": (source) => renameSync(source, `${source}.old`),
  "replaced by another folder": (source) => {
    renameSync(source, `${source}.old`);
    mkdirSync(source);
    writeFileSync(join(source, "stranger"), "not to be mirrored");
  },
};

for (const [what, take] of Object.entries(takings)) {
  test(`a source that is ${what} halts the mirror, and the target stays`, async () => {
    const base = mkdtempSync(join(tmpdir(), "lockstep-root-"));
    const [source, target, state] = ["source", "target", "state"].map((name) => join(base, name));
    try {
      for (const folder of [source, target, state]) mkdirSync(folder!, { mode: 0o700 });
      writeFileSync(join(source!, "kept"), "kept");
      const args = [cliPath, "sync", source!, target!, "--json", "--backend", "inotify"];
      const env = { ...process.env, STATE_DIRECTORY: state };
      const child = spawn(process.execPath, args, {
        env,
        stdio: ["ignore", "pipe", "ignore"],
        timeout: timeoutMs,
        killSignal: "SIGKILL",
      });
      createInterface({ input: child.stdout }).on("line", (line) => {
        if (line.includes('"event":"live"')) take(source!);
        if (line.includes('"event":"halt"')) child.kill("SIGTERM");
      });
      const exit = await new Promise((resolve) => child.once("close", resolve));
      assert.equal(exit, haltedExit);
      assert.deepEqual(readdirSync(target!), ["kept"]);
    } finally {
      rmSync(base, { recursive: true, force: true });
    }
  });
}
