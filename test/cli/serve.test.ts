/** `lockstep serve` and a source that mirrors into it over the network, as two devices. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { eventsOf, makeHome, programPath, runProgram, Running, scratchFolder } from "./program.ts";

const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

const whyNotNobody = ((): string | false => {
  if (process.getuid?.() !== 0) return "needs root, to become another user";
  const readable = spawnSync(nobody[0]!, [...nobody.slice(1), "test", "-r", programPath]);
  return readable.status === 0 ? false : "setpriv is missing, or others cannot read this checkout";
})();

async function succeed(t: TestContext, home: string, line: string): Promise<string> {
  const { exit, stdout, stderr } = await runProgram(t, line.split(" "), { home });
  assert.equal(exit, 0, `${line}: ${stderr}`);
  return stdout.trim();
}

test(
  "what a target without privileges cannot set is told at the source, once a kind",
  { skip: whyNotNobody },
  async (t) => {
    const folder = scratchFolder(t);
    chmodSync(folder, 0o755);
    const [home, otherHome] = [makeHome(folder, "source"), makeHome(folder, "target")];
    const [source, share] = [join(folder, "a"), join(folder, "b")];
    for (const path of [source, share]) mkdirSync(path);
    for (const name of ["one", "two", "three"]) {
      writeFileSync(join(source, name), name);
      chownSync(join(source, name), 1234, 1234);
    }
    const [id, otherId] = [await succeed(t, home, "id"), await succeed(t, otherHome, "id")];
    await succeed(t, home, `peers add ${otherId} --name target`);
    await succeed(t, otherHome, `peers add ${id} --name source`);
    await succeed(t, otherHome, `peers grant ${id} site --send`);
    // From here on the target is nobody's.
    spawnSync("chown", ["-R", "65534:65534", otherHome, share]);
    const place = `127.0.0.1:${33_000 + (process.pid % 2_000)}`;
    const serveArgs = ["serve", "--listen", place, "--share", `site=${share}`, "--json"];
    const serve = new Running(t, serveArgs, { home: otherHome, prefix: nobody, stdin: "" });
    await serve.said(/"event":"listening"/);
    const target = `lockstep://${otherId}@${place}/site`;
    const sync = new Running(t, ["sync", source, target, "--json"], { home, stdin: "" });
    await sync.said(/"event":"live"/);
    assert.equal(readFileSync(join(share, "two"), "utf8"), "two");
    sync.kill("SIGTERM");
    const events = eventsOf((await sync.end()).stdout);
    const told = events.filter(({ event }) => event === "problem");
    serve.kill("SIGTERM");
    await serve.end();
    assert.deepEqual(
      told.map(({ side, operation, errno }) => [side, operation, errno]),
      [["target", "chown", "EPERM"]],
    );
    // The three files, and the folder itself.
    const { path } = told[0]!;
    const kind = { side: "target", path, operation: "chown", errno: "EPERM", count: 4 };
    assert.deepEqual(events.at(-1)?.["problemKinds"], [kind]);
    assert.ok([".", "one", "two", "three"].includes(String(path)), String(path));
  },
);
