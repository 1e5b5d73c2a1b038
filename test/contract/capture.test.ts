/**
 * The contract of capture: each backend is shown the same real changes, made by another process on
 * a real kernel, and must tell at least what changed. Scenarios: capture-scenarios.ts; what "tell"
 * means: capture-rig.ts. ebpf and fanotify need root, and count as skipped without.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, truncateSync } from "node:fs";
import { unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { deafSink, openBackend } from "../../src/capture/index.ts";
import type { BackendName, CaptureBackend, ChangeSink } from "../../src/capture/index.ts";
import type { Files, Kernel } from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";
import { makeFolder } from "./capture-filesystems.ts";
import type { FilesystemName, TestFolder } from "./capture-filesystems.ts";
import {
  changesProgram,
  differs,
  drainAll,
  nodeKey,
  prepareFolder,
  Recorder,
  refusalOf,
  snapshotOf,
  SteppedChange,
  untold,
} from "./capture-rig.ts";
import { scenarios } from "./capture-scenarios.ts";
import type { Places, Scenario } from "./capture-scenarios.ts";

const matrix: readonly [FilesystemName, readonly BackendName[]][] = [
  ["temporary folder", ["ebpf", "fanotify", "inotify"]],
  ["tmpfs", ["ebpf", "fanotify", "inotify"]],
  ["xfs", ["ebpf", "fanotify"]],
  ["btrfs", ["ebpf", "fanotify"]],
];

/** A watched folder and its backend; `refused` says why there is none. */
class Watched {
  readonly filesystem: FilesystemName;
  readonly backendName: BackendName;
  refused: string | undefined;
  backend!: CaptureBackend;
  root = "";
  #folder: TestFolder | undefined;
  #rootFd = -1;
  #count = 0;

  constructor(filesystem: FilesystemName, backendName: BackendName) {
    this.filesystem = filesystem;
    this.backendName = backendName;
  }

  open(system: Kernel & Files = native()): void {
    const made = makeFolder(this.filesystem);
    if (typeof made === "string") {
      this.refused = made;
      return;
    }
    this.#folder = made;
    this.root = join(made.path, "watched");
    mkdirSync(this.root);
    mkdirSync(join(made.path, "elsewhere"));
    this.#rootFd = openSync(this.root, "r");
    if (this.backendName !== "inotify" && process.getuid?.() !== 0) {
      this.refused = `backend ${this.backendName} needs root`;
      return;
    }
    this.backend = openBackend(system, this.backendName, this.#rootFd).backend;
    this.watch(this.root);
  }

  close(): void {
    if (this.refused === undefined) this.backend.close();
    if (this.#rootFd >= 0) closeSync(this.#rootFd);
    this.#folder?.remove();
  }

  /** Fresh folders for one scenario. */
  places(): Places {
    const name = `case-${this.#count++}`;
    const inside = join(this.root, name);
    const outside = join(this.root, "../elsewhere", name);
    prepareFolder(inside);
    prepareFolder(outside);
    return { inside, outside };
  }

  /** Watches every folder below `path`, as the scan of the engine does. */
  watch(path: string, backend: CaptureBackend = this.backend): void {
    const [ino, gen] = nodeKey(path).split("/").map(Number);
    const fd = openSync(path, "r");
    equal(backend.watchDirectory(fd, ino!, gen!), 0);
    closeSync(fd);
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory()) this.watch(join(path, entry.name), backend);
    }
  }
}

function titleOf(scenario: Scenario): string {
  return scenario.about === undefined ? scenario.change : `${scenario.change}, ${scenario.about}`;
}

/** Runs a scenario up to its change; what differs is judged, then it may end. */
async function runScenario(t: TestContext, watched: Watched, scenario: Scenario): Promise<void> {
  const { backend } = watched;
  const at = watched.places();
  scenario.prepare?.(at);
  watched.watch(at.inside);
  const args = [scenario.change, ...(scenario.args?.(at) ?? [join(at.inside, "file")])];
  const told = new Recorder();
  let was = snapshotOf(at.inside);
  drainAll(backend, told);
  told.clear();

  let stepped: SteppedChange | undefined;
  let refusal: string | undefined;
  if ((scenario.waits ?? 0) > 0) {
    stepped = new SteppedChange(args);
    t.after(() => stepped?.kill());
    refusal = await stepped.ready();
  } else {
    const ran = spawnSync(changesProgram(), args, { encoding: "utf8" });
    refusal = refusalOf(ran.status, ran.stderr);
  }
  if (refusal === undefined && scenario.waits === 2) {
    drainAll(backend, told);
    told.clear();
    was = snapshotOf(at.inside);
    stepped?.goOn();
    refusal = await stepped?.ready();
  }
  if (refusal !== undefined) return t.skip(refusal);
  drainAll(backend, told);
  judge(t, watched, scenario, at, was, told);
  stepped?.goOn();
  await stepped?.end();
}

function judge(
  t: TestContext,
  watched: Watched,
  scenario: Scenario,
  at: Places,
  was: ReturnType<typeof snapshotOf>,
  told: Recorder,
): void {
  const name = watched.backendName;
  const is = snapshotOf(at.inside);
  ok(scenario.changesNothing === true || differs(was, is), "the change changed nothing");
  const late = scenario.late?.[name];
  const missing = untold(was, is, told, { closedCounts: late !== undefined });
  const unseen = scenario.unseen?.[name];
  if (unseen !== undefined) {
    t.diagnostic(`${missing.length > 0 ? "not seen" : "seen after all"}: ${unseen}`);
    return;
  }
  deepEqual(missing, []);
  if (told.overflowCount + told.unresolvedCount > 0) t.diagnostic("told as: look at everything");
  equal(told.content.has(nodeKey(join(at.inside, "bystander"))), false, "a bystander was told");
}

for (const [filesystem, backends] of matrix) {
  for (const backendName of backends) {
    describe(`capture by ${backendName} on ${filesystem}`, () => {
      const watched = new Watched(filesystem, backendName);
      before(() => {
        changesProgram();
        watched.open();
      });
      after(() => watched.close());
      for (const scenario of scenarios) {
        test(titleOf(scenario), async (t) => {
          if (watched.refused !== undefined) return t.skip(watched.refused);
          await runScenario(t, watched, scenario);
        });
      }
      generalTests(watched);
    });
  }
}

function generalTests(watched: Watched): void {
  const { backendName } = watched;

  test("what happens beside the folder is told of no node inside", (t) => {
    if (watched.refused !== undefined) return t.skip(watched.refused);
    const at = watched.places();
    watched.watch(at.inside);
    const told = new Recorder();
    drainAll(watched.backend, told);
    told.clear();
    for (const change of ["write", "chmod", "ftruncate", "append-write"]) {
      const ran = spawnSync(changesProgram(), [change, join(at.outside, "file")]);
      equal(ran.status, 0);
    }
    drainAll(watched.backend, told);
    const inside = new Set([...snapshotOf(watched.root).values()].map((entry) => entry.key));
    for (const key of [...told.content.keys(), ...told.attributed]) {
      ok(!inside.has(key), `${key} lies inside`);
    }
    for (const key of told.named.keys()) {
      ok(!inside.has(key.split("/").slice(0, 2).join("/")), `${key} lies inside`);
    }
    if (backendName === "ebpf") equal(told.content.get(fileKey(at.outside))?.ranges.length ?? 0, 0);
  });

  test("changes of the own process are told by inotify alone", (t) => {
    if (watched.refused !== undefined) return t.skip(watched.refused);
    const at = watched.places();
    watched.watch(at.inside);
    const told = new Recorder();
    drainAll(watched.backend, told);
    told.clear();
    const keys = [...snapshotOf(at.inside).values()].map((entry) => entry.key);
    writeFileSync(join(at.inside, "file"), "own");
    truncateSync(join(at.inside, "other"), 5);
    unlinkSync(join(at.inside, "bystander"));
    drainAll(watched.backend, told);
    const tells = backendName === "inotify";
    const [ino, gen] = nodeKey(at.inside).split("/");
    for (const name of ["file", "other", "bystander"]) {
      equal(told.named.has(`${ino}/${gen}/${name}`), tells, name);
    }
    if (!tells) for (const key of keys) equal(told.content.has(key), false);
  });

  test("what others do among many changes of the own process is told", async (t) => {
    if (watched.refused !== undefined) return t.skip(watched.refused);
    const at = watched.places();
    watched.watch(at.inside);
    const rootFd = openSync(watched.root, "r");
    const { backend } = openBackend(native(), backendName, rootFd);
    t.after(() => {
      backend.close();
      closeSync(rootFd);
    });
    watched.watch(watched.root, backend);
    const readable = new Promise<void>((resolve) => backend.start(() => resolve()));
    const dirFd = openSync(at.inside, "r");
    const names: string[] = [];
    for (let i = 0; i < 40; i++) {
      names.push(`by another ${i}`);
      equal(spawnSync("touch", [join(at.inside, names.at(-1)!)]).status, 0);
      // Many times what the addon lets pass before it looks (native/addon/capture.c).
      for (let own = 0; own < 20; own++) {
        equal(native().symlink(dirFd, Buffer.from("own"), Buffer.from("x")), 0);
        equal(native().unlink(dirFd, Buffer.from("own"), 0), 0);
      }
    }
    closeSync(dirFd);
    await readable;
    const told = new Recorder();
    drainAll(backend, told);
    const [ino, gen] = nodeKey(at.inside).split("/");
    for (const name of names) ok(told.named.has(`${ino}/${gen}/${name}`), name);
    equal(told.named.has(`${ino}/${gen}/own`), backendName === "inotify");
    const afterwards = new Recorder();
    drainAll(backend, afterwards);
    for (const name of names) equal(afterwards.named.has(`${ino}/${gen}/${name}`), false, name);
    drainAll(watched.backend, new Recorder());
  });

  test("one descriptor shared by threads or by processes is flagged", (t) => {
    if (watched.refused !== undefined) return t.skip(watched.refused);
    if (!watched.backend.tellsExtents) return t.skip("this backend tells no extents");
    for (const change of ["threads", "forked"]) {
      const at = watched.places();
      const told = new Recorder();
      drainAll(watched.backend, told);
      equal(spawnSync(changesProgram(), [change, join(at.inside, "file")]).status, 0);
      drainAll(watched.backend, told);
      equal(told.content.get(fileKey(at.inside))?.sharedPosition, true, change);
      const alone = watched.places();
      equal(spawnSync(changesProgram(), ["write", join(alone.inside, "file")]).status, 0);
      drainAll(watched.backend, told);
      equal(told.content.get(fileKey(alone.inside))?.sharedPosition, false, "a single writer");
    }
  });

  test("an ACL set by setfacl is told", (t) => {
    if (watched.refused !== undefined) return t.skip(watched.refused);
    const at = watched.places();
    watched.watch(at.inside);
    const told = new Recorder();
    drainAll(watched.backend, told);
    told.clear();
    const was = snapshotOf(at.inside);
    const ran = spawnSync("setfacl", ["-m", "u:1234:rw", join(at.inside, "file")]);
    if (ran.status !== 0) return t.skip("setfacl does not work here");
    drainAll(watched.backend, told);
    const is = snapshotOf(at.inside);
    ok(differs(was, is));
    deepEqual(untold(was, is, told, { closedCounts: false }), []);
  });

  test("a large file stored to through an old mapping is told page by page", async (t) => {
    if (watched.refused !== undefined) return t.skip(watched.refused);
    if (backendName !== "ebpf") return t.skip("stores through mappings raise no event");
    const at = watched.places();
    truncateSync(join(at.inside, "file"), 64 << 20);
    const change = new SteppedChange(["store-large", join(at.inside, "file")]);
    t.after(() => change.kill());
    await change.ready();
    const told = new Recorder();
    drainAll(watched.backend, told);
    told.clear();
    const mapped = told.mappedEver.has(fileKey(at.inside));
    ok(mapped, "the mapping was told");
    change.goOn();
    await change.ready();
    drainAll(watched.backend, told);
    if (watched.filesystem !== "tmpfs") {
      const ranges = told.content.get(fileKey(at.inside))?.ranges ?? [];
      for (let position = 0; position < 64 << 20; position += 64 * 4096) {
        ok(
          ranges.some(([from, to]) => from <= position && position < to),
          `byte ${position}`,
        );
      }
    }
    change.goOn();
    await change.end();
  });

  test("50,000 new names are told in order", (t) => {
    if (watched.refused !== undefined) return t.skip(watched.refused);
    if (watched.filesystem !== "tmpfs") return t.skip("once is enough");
    if (backendName === "inotify") return t.skip("its queue is shorter");
    const at = watched.places();
    watched.watch(at.inside);
    const told = new Recorder();
    drainAll(watched.backend, told);
    told.clear();
    equal(spawnSync(changesProgram(), ["create-many", at.inside, "50000"]).status, 0);
    drainAll(watched.backend, told);
    equal(told.overflowCount, 0);
    const many = [...new Set(told.namesInOrder.filter((name) => name.startsWith("many-")))];
    equal(many.length, 50_000);
    deepEqual(many, [...many].sort());
  });
}

/** Keeps the thread busy. */
function spin(durationUs: number): void {
  const until = process.hrtime.bigint() + BigInt(durationUs) * 1000n;
  while (process.hrtime.bigint() < until);
}

function fileKey(folder: string): string {
  return nodeKey(join(folder, "file"));
}

function maxQueuedEvents(): number {
  return Number(readFileSync("/proc/sys/fs/inotify/max_queued_events", "utf8"));
}

/** The kernel with a small ring and a small buffer for each drain. */
function cramped(ringBytes: number, drainBytes: number): Kernel & Files {
  const system = native();
  const small: Partial<Kernel> = {
    captureOpen: (mode, rootFd) => system.captureOpen(mode, rootFd, ringBytes),
    captureDrain: (handle, out) => system.captureDrain(handle, out.subarray(0, drainBytes)),
  };
  return Object.assign(Object.create(system) as Kernel & Files, small);
}

for (const backendName of ["ebpf", "fanotify"] as const) {
  test(`${backendName}: a drain into a tiny buffer says that more waits`, (t) => {
    const watched = new Watched("temporary folder", backendName);
    t.after(() => watched.close());
    // The longest record, with a path of 1,023 bytes, must still fit.
    watched.open(cramped(1 << 20, 1200));
    if (watched.refused !== undefined) return t.skip(watched.refused);
    const at = watched.places();
    equal(spawnSync(changesProgram(), ["burst", at.inside, "40", "50"]).status, 0);
    const told = new Recorder();
    let drains = 1;
    while (watched.backend.drain(told) && drains < 100_000) drains++;
    ok(drains > 3 && drains < 100_000, `${drains} drains`);
    const directory = nodeKey(at.inside);
    for (const name of ["burst-0", "burst-20", "burst-39"]) {
      ok(told.named.has(`${directory}/${name}`), name);
      const content = told.content.get(nodeKey(join(at.inside, name)));
      if (backendName === "ebpf") equal(content?.ranges.length, 50);
      else equal(content?.everything, true);
    }
    equal(watched.backend.droppedCount, 0);
  });
}

/**
 * Appends bursts of 16 bytes to a file; the next burst begins when a byte arrives. The pauses
 * within a burst make writes fall into every moment of the reader's loop.
 */
const burstWriter = `
const { openSync, readSync, writeSync } = require("node:fs");
const fd = openSync(process.argv[1], "w");
for (let round = 0; readSync(0, Buffer.alloc(1)) === 1; round++) {
  for (let i = 0; i <= round % 4; i++) {
    const until = process.hrtime.bigint() + BigInt((round * 7919 * (i + 1)) % 60000);
    while (process.hrtime.bigint() < until);
    writeSync(fd, "0123456789abcdef");
  }
}`;

test("ebpf: no write waits for a later event before it is told", async (t) => {
  const watched = new Watched("temporary folder", "ebpf");
  t.after(() => watched.close());
  watched.open();
  if (watched.refused !== undefined) return t.skip(watched.refused);
  const path = join(watched.places().inside, "bursts");
  const writer = spawn(process.execPath, ["-e", burstWriter, path], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  t.after(() => writer.kill());
  const ended = new Promise<string>((resolve) => {
    writer.on("close", () => resolve("the writer ended"));
  });
  const roundCount = 8000;
  let round = 0;
  let wantedBytes = 0;
  let toldBytes = 0;
  const sink: ChangeSink = {
    ...deafSink,
    written: (_ino, _gen, _from, to) => {
      toldBytes = Math.max(toldBytes, to);
    },
  };
  const look = (): boolean => {
    while (watched.backend.drain(sink));
    if (toldBytes !== wantedBytes) return false;
    next();
    return true;
  };
  // The reader is awake for a while for other reasons, a little longer in each round, then sleeps.
  const stayAwake = (turnCount: number): void => {
    if (look()) return;
    spin((round * 31) % 23);
    if (turnCount > 0) setImmediate(stayAwake, turnCount - 1);
  };
  const next = (): void => {
    wantedBytes += 16 * ((round++ % 4) + 1);
    if (round > roundCount) return void writer.stdin.end();
    writer.stdin.write("x");
    setImmediate(stayAwake, round % 8);
  };
  watched.backend.start(look);
  next();
  const late = delay(20_000, "too late", { signal: t.signal, ref: false });
  const end = await Promise.race([ended, late]);
  equal(end, "the writer ended", `round ${round}: ${toldBytes} of ${wantedBytes} bytes told`);
  equal(round, roundCount + 1);
});

test("ebpf: the ring's reader never sleeps while a record waits", (t) => {
  if (process.getuid?.() !== 0) return t.skip("loading the program needs root");
  const made = makeFolder("temporary folder");
  if (typeof made === "string") return t.skip(made);
  t.after(() => made.remove());
  const wakeups = join(dirname(changesProgram()), "wakeups");
  const ran = spawnSync(wakeups, [made.path, "30000"], { encoding: "utf8", timeout: 60_000 });
  const refusal = ran.status === 77 ? ran.stderr.trim() : undefined;
  if (refusal !== undefined) return t.skip(refusal);
  equal(ran.status, 0, `${ran.stdout} ${ran.stderr}`);
});

test("ebpf: a reader of the ring knows of records that others hide", () => {
  const ran = spawnSync(join(dirname(changesProgram()), "hidden"), { encoding: "utf8" });
  equal(ran.status, 0, `${ran.stdout} ${ran.stderr}`);
});

test("ebpf: a ring that is full tells which files were lost, and counts", (t) => {
  const watched = new Watched("temporary folder", "ebpf");
  t.after(() => watched.close());
  watched.open(cramped(4096, 1 << 20));
  if (watched.refused !== undefined) return t.skip(watched.refused);
  const at = watched.places();
  const folders = ["a", "b", "c"].map((name) => join(at.inside, name));
  for (const folder of folders) mkdirSync(folder);
  const burst = folders.map((folder) => `"${changesProgram()}" burst "${folder}" 20 100 &`);
  equal(spawnSync("sh", ["-c", `${burst.join(" ")} wait`]).status, 0);
  const told = new Recorder();
  drainAll(watched.backend, told);
  ok(watched.backend.droppedCount > 0);
  ok(told.lostCount > 0 || told.overflowCount > 0);
  for (const folder of folders) {
    for (let file = 0; file < 20; file++) {
      const content = told.content.get(nodeKey(join(folder, `burst-${file}`)));
      const whole = content?.everything === true || (content?.ranges.length ?? 0) >= 100;
      ok(whole || told.overflowCount > 0, `${folder}/burst-${file} is incomplete and not told`);
    }
  }
  told.clear();
  equal(spawnSync(changesProgram(), ["write", join(at.inside, "file")]).status, 0);
  drainAll(watched.backend, told);
  equal(told.content.get(fileKey(at.inside))?.ranges.length, 1, "it goes on after the loss");
});

test("ebpf: more lost files than can be remembered become an overflow", (t) => {
  const watched = new Watched("tmpfs", "ebpf");
  t.after(() => watched.close());
  watched.open(cramped(4096, 1 << 20));
  if (watched.refused !== undefined) return t.skip(watched.refused);
  const at = watched.places();
  equal(spawnSync(changesProgram(), ["burst", at.inside, "5000", "1"]).status, 0);
  const told = new Recorder();
  drainAll(watched.backend, told);
  ok(told.overflowCount > 0);
  ok(watched.backend.droppedCount > 4096);
});

test("inotify: a queue that is full is told as overflow, and counts", (t) => {
  const watched = new Watched("tmpfs", "inotify");
  t.after(() => watched.close());
  watched.open();
  if (watched.refused !== undefined) return t.skip(watched.refused);
  const limit = maxQueuedEvents();
  if (limit > 100_000) return t.skip(`fs.inotify.max_queued_events is ${limit}: too many to fill`);
  const at = watched.places();
  watched.watch(at.inside);
  // Each file made raises two events.
  const count = String(Math.ceil(limit / 2) + 100);
  equal(spawnSync(changesProgram(), ["create-many", at.inside, count]).status, 0);
  const told = new Recorder();
  drainAll(watched.backend, told);
  equal(told.overflowCount, 1);
  equal(watched.backend.droppedCount, 1);
  told.clear();
  equal(spawnSync(changesProgram(), ["write", join(at.inside, "file")]).status, 0);
  drainAll(watched.backend, told);
  ok(told.named.has(`${nodeKey(at.inside)}/file`), "it goes on after the loss");
});

for (const kind of ["loop device", "overlay"] as const) {
  test(`ebpf: what the kernel writes by itself is told as a store: ${kind}`, (t) => {
    const watched = new Watched("temporary folder", "ebpf");
    let mounted = "";
    t.after(() => {
      if (mounted !== "") spawnSync("umount", [mounted]);
      watched.close();
    });
    watched.open();
    if (watched.refused !== undefined) return t.skip(watched.refused);
    const at = watched.places();
    mounted = join(at.outside, "mounted");
    mkdirSync(mounted);
    const refusal = kind === "overlay" ? mountOverlay(at, mounted) : mountImage(at, mounted);
    if (refusal !== undefined) return t.skip(refusal);
    const told = new Recorder();
    spawnSync("sync", ["-f", at.inside]);
    const was = snapshotOf(at.inside);
    drainAll(watched.backend, told);
    told.clear();
    const written = join(mounted, kind === "overlay" ? "file" : "born");
    const change = kind === "overlay" ? "pwrite" : "create";
    equal(spawnSync(changesProgram(), [change, written]).status, 0);
    spawnSync("sync", ["-f", mounted]);
    drainAll(watched.backend, told);
    const is = snapshotOf(at.inside);
    ok(differs(was, is), "the change changed nothing");
    deepEqual(untold(was, is, told, { closedCounts: false }), []);
  });
}

/** The watched folder is the upper layer of an overlay, so that `file` is written through it. */
function mountOverlay(at: Places, mounted: string): string | undefined {
  const work = join(at.outside, "work");
  const lower = join(at.outside, "lower");
  mkdirSync(work);
  mkdirSync(lower);
  const layers = `lowerdir=${lower},upperdir=${at.inside},workdir=${work}`;
  const ran = spawnSync("mount", ["-t", "overlay", "overlay", "-o", layers, mounted], {
    encoding: "utf8",
  });
  return ran.status === 0 ? undefined : ran.stderr.trim();
}

/** `file` holds a filesystem that is mounted. */
function mountImage(at: Places, mounted: string): string | undefined {
  const image = join(at.inside, "file");
  truncateSync(image, 4 << 20);
  for (const [command, ...args] of [
    ["mkfs.ext4", "-q", "-F", image],
    ["mount", "-o", "loop", image, mounted],
  ] as const) {
    const ran = spawnSync(command, args, { encoding: "utf8" });
    if (ran.status !== 0) return `${command}: ${ran.error?.message ?? ran.stderr.trim()}`;
  }
  return undefined;
}

test("a mapping older than the capture: stores to its clean pages are told by ebpf", async (t) => {
  const outer = makeFolder("temporary folder");
  if (typeof outer === "string") return t.skip(outer);
  t.after(() => outer.remove());
  if (process.getuid?.() !== 0) return t.skip("backend ebpf needs root");
  prepareFolder(outer.path);
  const change = new SteppedChange(["store", join(outer.path, "file")]);
  t.after(() => change.kill());
  await change.ready();
  const rootFd = openSync(outer.path, "r");
  const { backend } = openBackend(native(), "ebpf", rootFd);
  t.after(() => {
    backend.close();
    closeSync(rootFd);
  });
  const was = snapshotOf(outer.path);
  change.goOn();
  await change.ready();
  const told = new Recorder();
  drainAll(backend, told);
  equal(told.mappedEver.size, 0);
  deepEqual(untold(was, snapshotOf(outer.path), told, { closedCounts: false }), []);
  change.goOn();
  await change.end();
});

test("the callback of start comes for each backend, and none after close", async (t) => {
  for (const backendName of ["ebpf", "fanotify", "inotify"] as const) {
    const watched = new Watched("temporary folder", backendName);
    watched.open();
    if (watched.refused !== undefined) {
      t.diagnostic(watched.refused);
      watched.close();
      continue;
    }
    const at = watched.places();
    watched.watch(at.inside);
    let calls = 0;
    const called = new Promise<void>((resolve) => {
      watched.backend.start(() => {
        calls++;
        drainAll(watched.backend, new Recorder());
        resolve();
      });
    });
    spawnSync(changesProgram(), ["write", join(at.inside, "file")]);
    await called;
    watched.close();
    const seen = calls;
    await new Promise((resolve) => setImmediate(resolve));
    equal(calls, seen);
  }
});
