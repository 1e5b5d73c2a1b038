/**
 * `--cross-mounts`: several filesystems below one source, in a mount namespace of the test's own.
 * Two fresh ext4 images have the same inode numbers throughout, so that whoever confuses them is
 * found out.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "../cli/program.ts";
import { MountSpace } from "./mount-space.ts";

interface Rig {
  readonly space: MountSpace;
  readonly source: string;
  readonly target: string;
  readonly home: string;
  readonly folder: string;
}

/** A source with two loop mounts of ext4, `one` and `two`, and a tmpfs in the first. */
function rigFor(t: TestContext): Rig | undefined {
  const space = MountSpace.make(t);
  if (space === undefined) return undefined;
  const folder = scratchFolder(t);
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const path of [source, target]) mkdirSync(path);
  const lines = ["one", "two"].map(
    (name) =>
      `truncate -s 16M ${name}.img; mkfs.ext4 -q ${name}.img; mkdir source/${name}; ` +
      `mount -o loop ${name}.img source/${name}; echo ${name} > source/${name}/file; ` +
      `mkdir source/${name}/folder; echo in ${name} > source/${name}/folder/inner; ` +
      `ln source/${name}/file source/${name}/link`,
  );
  space.run(
    `cd ${folder}; ${lines.join("; ")}; mkdir source/one/memory; ` +
      "mount -t tmpfs memory source/one/memory; echo memory > source/one/memory/file",
  );
  return { space, source, target, home: makeHome(folder, "home"), folder };
}

const start = (t: TestContext, rig: Rig, ...more: string[]): Running =>
  new Running(t, ["sync", rig.source, rig.target, "--cross-mounts", "--json", ...more], {
    home: rig.home,
    prefix: rig.space.prefix,
    stdin: "",
  });

const textAt = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");

/** `verify` in the namespace finds nothing. */
async function assertEqual(t: TestContext, { source, target, home, space }: Rig): Promise<void> {
  const verified = await runProgram(t, ["verify", source, target, "--cross-mounts"], {
    home,
    prefix: space.prefix,
  });
  assert.equal(verified.exit, 0, verified.stdout + verified.stderr);
}

async function statusOf(t: TestContext, { home }: Rig): Promise<Record<string, unknown>> {
  const { stdout } = await runProgram(t, ["status", "--json"], { home });
  return eventsOf(stdout)[0] ?? {};
}

for (const backend of ["ebpf", "fanotify", "inotify"]) {
  test(`filesystems below the source are mirrored live: ${backend}`, async (t) => {
    const rig = rigFor(t);
    if (rig === undefined) return;
    const { space, source, target } = rig;
    const at = (path: string): string => join(target, path);
    // Written by the same process to files of the same inode number, at once.
    const sync = start(t, rig, "--backend", backend);
    await sync.until("is live or refused", () =>
      /"event":"live"|BACKEND_UNAVAILABLE/.test(sync.stdout),
    );
    if (sync.stdout.includes("BACKEND_UNAVAILABLE")) return t.skip(`${backend} is refused here`);
    space.run(
      `cd ${source}; stat -c %i one/file two/file | uniq | wc -l | grep -qx 1; ` +
        "for i in 1 2 3; do echo 1 >> one/file; echo 22 >> two/file; echo 3 >> one/memory/file; " +
        "done; mv one/folder/inner one/moved; mv two/folder two/other; ln two/file two/third; " +
        "truncate -s 4 two/other/inner; (cd one/memory && truncate -s 3 file); " +
        "cp one/moved two/from-one; mv one/moved two/moved; touch -d 2001-01-01 one/folder",
    );
    await sync.until("mirrors what moved across", () => textAt(at("two/moved")) === "in one\n");
    if (backend === "ebpf") {
      space.run(
        `cd ${source}; python3 -c '
import mmap, time
with open("two/mapped", "w+b") as f:
    f.truncate(8192)
    m = mmap.mmap(f.fileno(), 8192)
    m[0:5] = b"first"
    time.sleep(0.5)
    m[4096:4101] = b"later"
    m.flush()
'`,
      );
      await sync.until("mirrors stores", () => textAt(at("two/mapped")).includes("later"));
    }
    await sync.until("mirrors all", () => {
      const one = textAt(at("one/file")) === "one\n1\n1\n1\n";
      return one && textAt(at("two/third")) === "two\n22\n22\n22\n";
    });
    sync.kill("SIGTERM");
    const { exit, stderr } = await sync.end();
    assert.equal(exit, 0, stderr);
    await assertEqual(t, rig);
    assert.equal(textAt(at("one/memory/file")), "mem");
  });
}

test("filesystems come and go while the source is mirrored", async (t) => {
  const rig = rigFor(t);
  if (rig === undefined) return;
  const { space, source, target, home } = rig;
  const sync = start(t, rig);
  await sync.said(/"event":"live"/);
  space.run(
    `cd ${source}; mkdir -p deep/new; mount -t tmpfs new deep/new; echo new > deep/new/file`,
  );
  await sync.until("follows", () => textAt(join(target, "deep/new/file")) === "new\n");
  space.run(`echo more >> ${source}/deep/new/file`);
  await sync.until("mirrors it", () => textAt(join(target, "deep/new/file")) === "new\nmore\n");

  // What is unmounted stays, also while other names and a folder above change.
  space.unmount(`${source}/two`);
  await sync.said(/"event":"halt".*MOUNT_GONE/);
  space.unmount(`${source}/deep/new`);
  space.run(
    `cd ${source}; echo x > beside; echo y > two/hidden; mv deep moved; echo z > moved/file`,
  );
  await sync.until("mirrors the rest", () => textAt(join(target, "moved/file")) === "z\n");
  assert.equal(textAt(join(target, "two/file")), "two\n");
  assert.equal(textAt(join(target, "moved/new/file")), "new\nmore\n");
  const status = await statusOf(t, rig);
  assert.deepEqual(status["followed"], ["one", "one/memory"].sort());
  assert.deepEqual([...(status["gone"] as string[])].sort(), ["moved/new", "two"]);

  // It comes back with a change, and is compared: what is equal is not sent again.
  const before = Number((await statusOf(t, rig))["bytesSent"]);
  space.run(
    `cd ${source}/..; mkdir aside; mount -o loop two.img aside; echo offline >> aside/file; ` +
      "head -c 2000000 /dev/zero | tr '\\0' a > aside/large; umount aside; " +
      "mount -o loop two.img source/two",
  );
  await sync.until("has the change", () => textAt(join(target, "two/file")) === "two\noffline\n");
  await sync.until("has the file", () => textAt(join(target, "two/large")).length === 2_000_000);
  space.unmount(`${source}/two`);
  await sync.until("hears it", () => sync.stdout.split("MOUNT_GONE").length > 3);
  space.run(`cd ${source}/..; mount -o loop two.img source/two; echo back >> source/two/file`);
  await sync.until("is back", () => textAt(join(target, "two/file")).endsWith("back\n"));
  const sent = Number((await statusOf(t, rig))["bytesSent"]) - before;
  assert.ok(sent < 3_000_000, `${sent} bytes were sent, the large file more than once`);

  // A person says that the other one is gone for good.
  const resumed = await runProgram(t, ["resume", "--json"], { home });
  assert.equal(resumed.exit, 0, resumed.stderr);
  await sync.until("takes it away", () => !existsSync(join(target, "moved/new/file")));
  sync.kill("SIGTERM");
  assert.equal((await sync.end()).exit, 0);
  await assertEqual(t, rig);
});

test("a filesystem that is not mounted when a sync begins is not taken for empty", async (t) => {
  const rig = rigFor(t);
  if (rig === undefined) return;
  const { space, source, target, home, folder } = rig;
  const killed = start(t, rig);
  await killed.said(/"event":"live"/);
  killed.kill("SIGKILL");
  await killed.end();
  space.unmount(`${source}/two`);
  const once = await start(t, rig, "--once", "--max-delete", "100%").end();
  assert.equal(once.exit, 5, once.stderr);
  assert.match(once.stderr, /source\/two is not mounted any more/);
  assert.equal(textAt(join(target, "two/file")), "two\n");
  // Restarted again, halted again, until it is mounted: then all is as it was.
  space.run(`cd ${folder}; mount -o loop two.img source/two; echo changed >> source/two/file`);
  const again = await start(t, rig, "--once").end();
  assert.equal(again.exit, 0, again.stderr);
  assert.equal(textAt(join(target, "two/link")), "two\nchanged\n");
  await assertEqual(t, rig);
  space.unmount(`${source}/two`);
  const sync = start(t, rig);
  await sync.said(/"event":"live"/);
  assert.equal(textAt(join(target, "two/file")), "two\nchanged\n");
  const resumed = await runProgram(t, ["resume"], { home });
  assert.equal(resumed.exit, 0, resumed.stderr);
  await sync.until("takes it away", () => readdirSync(join(target, "two")).length === 0);
  sync.kill("SIGTERM");
  assert.equal((await sync.end()).exit, 0);
  await assertEqual(t, rig);
});

test("bind mounts, loops and foreign kinds are left out, each with its reason", async (t) => {
  const rig = rigFor(t);
  if (rig === undefined) return;
  const { space, source, target, home } = rig;
  writeFileSync(join(source, "file"), "");
  const binds = { loop: source, twin: `${source}/two`, copy: target };
  for (const [name, path] of Object.entries(binds)) {
    space.run(`mkdir ${source}/${name}; mount --bind ${path} ${source}/${name}`);
  }
  space.run(`mkdir ${source}/two/above; mount --bind ${source}/one ${source}/two/above`);
  space.run(`mkdir ${source}/proc; mount -t proc proc ${source}/proc`);
  space.run(`mount --bind ${source}/one/file ${source}/file`);
  const { exit, stdout, stderr } = await start(t, rig, "--once").end();
  assert.equal(exit, 0, stderr);
  const told = new Map(
    eventsOf(stdout).flatMap(({ notice, path, why }): [unknown, unknown][] =>
      notice === "mount" ? [[path, why]] : [],
    ),
  );
  const bind = /bind mount/;
  assert.match(String(told.get(`${source}/loop`)), bind);
  assert.match(String(told.get(`${source}/twin`)), bind);
  assert.match(String(told.get(`${source}/copy`)), bind);
  assert.match(String(told.get(`${source}/two/above`)), bind);
  assert.match(String(told.get(`${source}/file`)), bind);
  assert.match(String(told.get(`${source}/proc`)), /proc shows the kernel's own state/);
  assert.equal(told.size, 6, stdout);
  assert.deepEqual(readdirSync(target).sort(), ["one", "two"]);
  await assertEqual(t, rig);
  const doctor = await runProgram(t, ["doctor", source], { home, prefix: space.prefix });
  assert.match(doctor.stdout, /mount .*\/two: ext4; followed with --cross-mounts/);
  assert.match(doctor.stdout, /mount .*\/proc: proc; left out: proc shows/);
});

test("a filesystem that a target is on is not copied into itself", async (t) => {
  const rig = rigFor(t);
  if (rig === undefined) return;
  const { space, source, folder } = rig;
  space.run(`mkdir ${folder}/other; mount --bind ${source}/two ${folder}/other`);
  space.run(`mkdir ${folder}/other/copy`);
  const target = join(folder, "other/copy");
  const { exit, stdout } = await start(t, { ...rig, target }, "--once").end();
  assert.equal(exit, 0, stdout);
  assert.match(stdout, /source\/two","why":"a target or a backup folder is on that filesystem/);
  assert.equal(space.run(`ls ${target}`), "one\n");
});
