/**
 * The machine of a target loses power at random moments, and is started anew: its filesystem is
 * what its disk had, without all that had not been written out, and the kernel says that this is
 * another run. With `--durability power` what is promoted then is a sound database with every
 * transaction that was committed before the cut that `promote` names; and that cut is not older
 * than the last `flush` that had returned. With `process` promoting is refused.
 *
 * The disk is a file below a loop device; the cut is a clone of that file (FICLONE), taken while
 * everything runs. It has all that the device was given, in order: disks that lose what they have
 * not been told to keep are worse. The clone is made by XFS, in memory.
 *
 * The negative control: a target with `process` that is not told of the new start of its machine
 * takes what it finds for its own, and databases are torn.
 *
 * Variables: kill-moments.ts. Source: man 2 ioctl_ficlone, man 5 proc (boot_id).
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { runCommand, isInstalled } from "./commands.ts";
import {
  drawSeed,
  killCount,
  KillMoments,
  momentNumbers,
  onlyLarge,
  somewhat,
} from "./kill-moments.ts";
import {
  type LedgerDatabase,
  type LedgerPlace,
  sqliteLedger,
  whyNoSqlite,
} from "./ledger-database.ts";
import { postgresLedger, whyNoPostgres } from "./ledger-postgres.ts";
import { linkPair, type LinkPair } from "./link-pair.ts";
import { MountedFolders, whyNoMount } from "./mounted-folders.ts";

const busyMsMax = 500;
/** Sparse. XFS wants as much. */
const diskMebibytes = 320;
const bootIdPath = "/proc/sys/kernel/random/boot_id";

type Filesystem = "ext4" | "xfs";

/** A disk that can be had as it was at a moment, below the target and its state. */
class Disk {
  readonly #mounted: MountedFolders;
  readonly #below: MountedFolders;
  readonly #folder: string;
  #kept: readonly string[] = [];

  /** To be made before the folders of the pair. */
  constructor(context: TestContext) {
    this.#mounted = new MountedFolders(context);
    this.#below = new MountedFolders(context);
    this.#folder = mkdtempSync(join(tmpdir(), "lockstep-disk-"));
    context.after(() => rmSync(this.#folder, { recursive: true, force: true }));
    this.boot();
  }

  /** Put before what runs on the machine that has the disk: it was started by itself. */
  get prefix(): readonly string[] {
    const script = `mount --bind '${this.#bootId}' ${bootIdPath} && exec "$@"`;
    return ["unshare", "--mount", "sh", "-c", script, "sh"];
  }

  /** The machine is started for the first time, or anew. */
  boot(): void {
    writeFileSync(this.#bootId, `${randomUUID()}\n`);
  }

  async put({ target, far }: LinkPair, filesystem: Filesystem): Promise<void> {
    const memory = join(this.#folder, "memory");
    this.#below.make(memory, "-t", "tmpfs", "-o", "size=1g", "tmpfs");
    const store = join(memory, "store.image");
    await this.#run("truncate", "-s", "900M", store);
    await this.#run("mkfs.xfs", "-q", "-m", "reflink=1", store);
    this.#below.make(join(this.#folder, "store"), "-o", "loop", store);
    await this.#run("truncate", "-s", `${diskMebibytes}M`, this.#image);
    await this.#run(`mkfs.${filesystem}`, "-q", this.#image);
    this.#mounted.make(this.#place, "-o", "loop", this.#image);
    this.#kept = [target, far];
    this.#mounted.put(this.#place, ...this.#kept);
    await this.sync();
  }

  /** What is to be written is written to the disk by the kernel, as it does from time to time. */
  async sync(): Promise<void> {
    await this.#run("sync", "-f", this.#place);
  }

  /** What is on the disk now is what there will be after `change`. */
  async cutPower(): Promise<void> {
    await this.#run("cp", "--reflink=always", this.#image, this.#clone);
  }

  /** To what was there at the cut. Nobody uses the disk any more. */
  change(): void {
    this.#mounted.unmount();
    renameSync(this.#clone, this.#image);
    this.#mounted.mount(this.#place, "-o", "loop", this.#image);
    this.#mounted.bind(this.#place, ...this.#kept);
  }

  get #bootId(): string {
    return join(this.#folder, "boot-id");
  }

  get #place(): string {
    return join(this.#folder, "disk");
  }

  get #image(): string {
    return join(this.#folder, "store/image");
  }

  get #clone(): string {
    return join(this.#folder, "store/clone");
  }

  async #run(command: string, ...args: string[]): Promise<string> {
    return await runCommand(command, args, { cwd: this.#folder });
  }
}

/** Why there can be none here; false if there can. */
function whyNoDisk(): string | false {
  const missing = ["mkfs.xfs", "mkfs.ext4", "unshare"].filter((name) => !isInstalled(name));
  return missing.length > 0 ? `needs ${missing.join(", ")}` : whyNoMount();
}

interface Cuts {
  readonly make: (place: LedgerPlace) => Promise<LedgerDatabase>;
  readonly filesystem: Filesystem;
  readonly durability: "process" | "power";
}

async function makeMoments(context: TestContext, cuts: Cuts): Promise<[KillMoments, Disk]> {
  const { make, filesystem, durability } = cuts;
  const disk = new Disk(context);
  const pair = await linkPair(context, { far: disk.prefix });
  await disk.put(pair, filesystem);
  const syncArgs = ["--durability", durability];
  const moments = await KillMoments.make(context, pair, make, { syncArgs });
  await moments.begin();
  return [moments, disk];
}

/** The machine is gone, and there is what its disk had. */
async function losePower({ serving }: KillMoments, disk: Disk): Promise<void> {
  await disk.cutPower();
  serving.kill("SIGKILL");
  await serving.end();
  disk.change();
}

const wal = { make: sqliteLedger("WAL"), whyNot: whyNoSqlite() };
const rollback = { make: sqliteLedger("DELETE"), whyNot: whyNoSqlite() };
const postgres = { make: postgresLedger, whyNot: whyNoPostgres() };

for (const [name, filesystem, few, { make, whyNot }] of [
  ["SQLite, WAL", "ext4", 1, wal],
  ["SQLite, WAL", "xfs", 0, wal],
  ["SQLite, rollback journal", "ext4", 0, rollback],
  ["SQLite, rollback journal", "xfs", 0, rollback],
  ["PostgreSQL", "ext4", 0, postgres],
  ["PostgreSQL", "xfs", 0, postgres],
] as const) {
  const count = killCount(few);
  const skip = count === 0 ? onlyLarge : whyNoDisk() || whyNot;
  const title = `${name} on ${filesystem}: the target loses power at ${count} random moments`;
  test(title, { skip }, async (context) => {
    const random = drawSeed(context);
    const cuts = { make, filesystem, durability: "power" } as const;
    const [moments, disk] = await makeMoments(context, cuts);
    for (const moment of momentNumbers(count)) {
      await somewhat(random, busyMsMax);
      const flushedMs = Date.now();
      await moments.flush();
      // At once, or when more has come.
      if (random.below(2) === 0) await somewhat(random, busyMsMax);
      // The kernel may be writing something out by itself.
      const syncing = random.below(3) === 0 ? disk.sync() : undefined;
      await losePower(moments, disk);
      await syncing;
      disk.boot();
      const result = await moments.look(`moment ${moment}`, () => moments.backLive());
      const cutMs = result!.promotion.cutWallMs;
      assert.ok(cutMs >= flushedMs, `moment ${moment}: ${flushedMs - cutMs} ms were flushed`);
    }
    await moments.finish();
    moments.conclude({ mayBeFuzzy: true });
  });
}

const lostCount = killCount(0);

test(
  `${lostCount} times the machine is started anew, and nothing was kept for that`,
  {
    skip: lostCount === 0 ? onlyLarge : whyNoDisk() || rollback.whyNot,
  },
  async (context) => {
    const random = drawSeed(context);
    const cuts = { make: rollback.make, filesystem: "ext4", durability: "process" } as const;
    const [moments, disk] = await makeMoments(context, cuts);
    for (const moment of momentNumbers(lostCount)) {
      await somewhat(random, busyMsMax);
      await disk.sync();
      await losePower(moments, disk);
      disk.boot();
      const back = (): Promise<void> => moments.backLive();
      await moments.look(`moment ${moment}`, back, "TARGET_INCOMPLETE");
    }
    assert.equal(moments.results.length, 0, "promoting is refused");
    await moments.finish();
  },
);

const controlCountMax = Math.max(20, killCount(0));

test(
  "negative control: what is not kept for a power cut is torn by it",
  {
    skip: killCount(0) === 0 ? onlyLarge : whyNoDisk() || rollback.whyNot,
  },
  async (context) => {
    const random = drawSeed(context);
    const cuts = { make: rollback.make, filesystem: "ext4", durability: "process" } as const;
    const [moments, disk] = await makeMoments(context, cuts);
    let problems: readonly string[] = [];
    for (let moment = 1; problems.length === 0 && moment <= controlCountMax; moment++) {
      await somewhat(random, busyMsMax);
      await disk.sync();
      // Of what is written now the kernel writes out a part.
      const syncing = disk.sync();
      await somewhat(random, 20);
      await losePower(moments, disk);
      await syncing;
      // Nobody is told that the machine was started anew.
      const back = (): Promise<void> => moments.backLive();
      const result = await moments.look(`moment ${moment}`, back, "TARGET_INCOMPLETE");
      if (result?.promotion.fuzzy === false) ({ problems } = result);
    }
    context.diagnostic(`moment ${moments.results.length}: ${problems.slice(0, 3).join("; ")}`);
    assert.ok(problems.length > 0, `${controlCountMax} moments, and nothing was found`);
  },
);
