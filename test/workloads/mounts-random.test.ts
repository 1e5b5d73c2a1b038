/**
 * `--cross-mounts` under random changes: several filesystems that are unmounted and mounted while
 * they are changed, a sync that is killed meanwhile, and records that are lost.
 */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { makeHome, runProgram, Running, scratchFolder } from "../cli/program.ts";
import { MountSpace } from "./mount-space.ts";
import { runPython } from "./python.ts";

const runsAll = process.env["LOCKSTEP_WORKLOADS"] === "all";
const verifyMs = 20_000;

interface Rig {
  readonly space: MountSpace;
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly home: string;
}

function rigFor(t: TestContext): Rig | undefined {
  const space = MountSpace.make(t);
  if (space === undefined) return undefined;
  const folder = scratchFolder(t);
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  mkdirSync(target);
  const lines = ["one", "two", "deep/three"].map((place) => {
    const image = `${place.split("/").at(-1)}.img`;
    return (
      `truncate -s 32M ${image}; mkfs.ext4 -q ${image}; mkdir -p source/${place}; ` +
      `mount -o loop ${image} source/${place}`
    );
  });
  space.run(`cd ${folder}; ${lines.join("; ")}`);
  return { space, folder, source, target, home: makeHome(folder, "home") };
}

const start = (t: TestContext, rig: Rig, backend: string): Running =>
  new Running(
    t,
    ["sync", rig.source, rig.target, "--cross-mounts", "--json", "--max-delete", "100%"].concat([
      "--backend",
      backend,
    ]),
    { home: rig.home, prefix: rig.space.prefix, stdin: "" },
  );

/** The target equals the source within some time. */
async function assertConverges(t: TestContext, rig: Rig): Promise<void> {
  const limit = performance.now() + verifyMs;
  for (;;) {
    const verified = await runProgram(t, ["verify", rig.source, rig.target, "--cross-mounts"], {
      home: rig.home,
      prefix: rig.space.prefix,
    });
    if (verified.exit === 0) return;
    assert.ok(performance.now() < limit, verified.stdout + verified.stderr);
    await sleep(200);
  }
}

async function isRefused(sync: Running): Promise<boolean> {
  const pattern = /"event":"live"|BACKEND_UNAVAILABLE/;
  await sync.until("is live or refused", () => pattern.test(sync.stdout));
  return sync.stdout.includes("BACKEND_UNAVAILABLE");
}

const seeds = runsAll ? [1, 2, 3, 4, 5, 6] : [Math.floor(Math.random() * 1e6)];
const backends = runsAll ? ["ebpf", "fanotify", "inotify"] : ["auto"];
for (const seed of seeds) {
  for (const backend of backends) {
    test(`filesystems are changed, unmounted and mounted: seed ${seed}, ${backend}`, async (t) => {
      const rig = rigFor(t);
      if (rig === undefined) return;
      let sync = start(t, rig, backend);
      if (await isRefused(sync)) return t.skip(`${backend} is refused here`);
      const seconds = runsAll ? 8 : 3;
      const args = [rig.source, rig.folder, String(seed), String(seconds)];
      const { prefix } = rig.space;
      const changed = runPython("mounts-random.py", args, { prefix, cwd: rig.folder });
      for (let killed = 0; killed < seconds - 1; killed += 2) {
        await sleep(900);
        sync.kill("SIGKILL");
        await sync.end();
        sync = start(t, rig, backend);
      }
      assert.match(await changed, /^[1-9]/);
      await sync.said(/"event":"live"/);
      await assertConverges(t, rig);
      sync.kill("SIGTERM");
      const { exit, stderr } = await sync.end();
      assert.equal(exit, 0, stderr);
    });
  }
}

for (const backend of ["ebpf", "inotify"]) {
  test(`records lost on followed filesystems are made good: ${backend}`, async (t) => {
    const rig = rigFor(t);
    if (rig === undefined) return;
    // Files with the same inode number on two filesystems, and more changes than are kept.
    rig.space.run(`cd ${rig.source}; for m in one two; do echo $m > $m/file; done`);
    const sync = start(t, rig, backend);
    if (await isRefused(sync)) return t.skip(`${backend} is refused here`);
    sync.kill("SIGSTOP");
    rig.space.run(
      `cd ${rig.source}; python3 -c '
import os
for place in ("one", "two"):
    fd = os.open(place + "/file", os.O_WRONLY)
    for i in range(160000 if "${backend}" == "ebpf" else 1): os.pwrite(fd, b"x", i % 4000)
    os.pwrite(fd, place.encode(), 100)
    if "${backend}" == "inotify":
        os.mkdir(place + "/many")
        for i in range(10000):
            os.close(os.open(place + "/" + str(i % 10), os.O_WRONLY | os.O_CREAT))
            os.unlink(place + "/" + str(i % 10))
'`,
    );
    sync.kill("SIGCONT");
    await assertConverges(t, rig);
    const { stdout } = await runProgram(t, ["status", "--json"], { home: rig.home });
    assert.match(stdout, /"captureDropped":[1-9]/);
    sync.kill("SIGTERM");
    assert.equal((await sync.end()).exit, 0);
  });
}
