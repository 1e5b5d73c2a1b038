/**
 * The target's filesystem is filled up at random moments by a file of the test's own, while SQLite
 * or PostgreSQL is written at the source, and freed again: with space kept free, so that the mirror
 * waits in time (TARGET_LOW), and without, so that an epoch finds no space in its middle
 * (TARGET_FULL). Meanwhile the target is promoted, its process running or killed: what is promoted
 * is sound, or promoting is refused for lack of space. When the file has gone the mirror goes on by
 * itself, and is equal in the end.
 *
 * The state directory, with the journal, is on the same filesystem as the target or on another one.
 * Variables: kill-moments.ts.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { rmSync, statfsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  drawSeed,
  killCount,
  KillMoments,
  momentNumbers,
  onlyLarge,
  somewhat,
} from "./kill-moments.ts";
import {
  Children,
  type LedgerDatabase,
  type LedgerPlace,
  sqliteLedger,
  whyNoSqlite,
} from "./ledger-database.ts";
import { postgresLedger, whyNoPostgres } from "./ledger-postgres.ts";
import { linkPair, type LinkPair } from "./link-pair.ts";
import { MountedFolders, whyNoMount } from "./mounted-folders.ts";

/** Less than is to stay free (`--min-free 4M`), more than comes between two looks at it. */
const lowLeftBytes = 3_500_000;
const fullLeftBytes = 16384;
const busyMsMax = 400;
const haltMsMax = 20_000;

/** Makes a file grow, and begins anew: what needs space at the target. Argument: the file. */
const grower = `
while :; do
  : > "$1"
  for step in $(seq 40); do head -c 65536 /dev/urandom >> "$1"; sleep 0.02; done
done`;

/** A small filesystem below the target, and below the target's state if that `isShared`. */
class Disk {
  readonly #mounted: MountedFolders;
  #folder = "";

  /** To be made before the folders. */
  constructor(context: TestContext) {
    this.#mounted = new MountedFolders(context);
  }

  put({ target, far }: LinkPair, of: { isShared: boolean; mebibytes: number }): void {
    this.#folder = join(dirname(target), "disk");
    this.#mounted.make(this.#folder, "-t", "tmpfs", "-o", `size=${of.mebibytes}m`, "tmpfs");
    this.#mounted.put(this.#folder, ...(of.isShared ? [target, far] : [target]));
  }

  get #filler(): string {
    return join(this.#folder, "filler");
  }

  /** All but this much. */
  fill(leftBytes: number): void {
    const { bavail, bsize } = statfsSync(this.#folder);
    const has = statSync(this.#filler, { throwIfNoEntry: false })?.size ?? 0;
    const bytes = has + Math.max(1, bavail - Math.ceil(leftBytes / bsize)) * bsize;
    // What is written meanwhile may take it first.
    execFileSync("sh", ["-c", `fallocate -l ${bytes} '${this.#filler}' || :`], { stdio: "ignore" });
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }
}

const count = killCount(1);
/** In `npm test` a promise is seen in one of two ways each. */
const isSmall = killCount(0) === 0;

interface Fill {
  readonly make: (place: LedgerPlace) => Promise<LedgerDatabase>;
  /** Of the target's filesystem. */
  readonly mebibytes: number;
  readonly minFree: string;
  /** What the mirror says then. */
  readonly code: string;
  /** The state directory is on the same filesystem. */
  readonly isShared: boolean;
}

async function fillUp(context: TestContext, fill: Fill): Promise<void> {
  const { make, mebibytes, minFree, code, isShared } = fill;
  const random = drawSeed(context);
  const disk = new Disk(context);
  const pair = await linkPair(context);
  disk.put(pair, { isShared, mebibytes });
  const serveArgs = ["--min-free", minFree];
  const moments = await KillMoments.make(context, pair, make, { serveArgs });
  const growing = new Children(context);
  await moments.begin();
  for (const moment of momentNumbers(count)) {
    growing.start("bash", ["-c", grower, "grower", join(pair.source, "growing")]);
    await somewhat(random, busyMsMax);
    const before = haltCount(moments, code);
    const limit = performance.now() + haltMsMax;
    while (haltCount(moments, code) === before) {
      assert.ok(performance.now() < limit, `never ${code}: ${moments.syncing.stdout}`);
      // What is taken at once and whole is not seen in time: that is the other case.
      disk.fill(code === "TARGET_LOW" ? lowLeftBytes : fullLeftBytes);
      await sleep(20);
    }
    disk.fill(fullLeftBytes);
    await somewhat(random, busyMsMax);
    const isKilled = random.below(2) === 0;
    if (isKilled) {
      moments.serving.kill("SIGKILL");
      await moments.serving.end();
    }
    const how = `moment ${moment}, ${isKilled ? "killed" : "running"}`;
    const isPromoted = await moments.look(`${how}, full`, async () => {}, "TARGET_FULL");
    disk.free();
    await growing.kill();
    // What was refused for lack of space is no longer, and nothing is left half done.
    if (isPromoted === undefined) await moments.look(`${how}, freed`);
    if (isKilled) await moments.serve();
    await moments.untilEqual();
  }
  await moments.finish();
  moments.conclude({ mayBeFuzzy: true });
}

for (const [database, mebibytes, make, whyNot] of [
  ["SQLite", 48, sqliteLedger("DELETE"), whyNoSqlite()],
  ["PostgreSQL", 192, postgresLedger, isSmall ? onlyLarge : whyNoPostgres()],
] as const) {
  for (const [what, minFree, code] of [
    ["waits before it is full", "4M", "TARGET_LOW"],
    ["is full in the middle of an epoch", "0", "TARGET_FULL"],
  ] as const) {
    for (const isShared of [false, true]) {
      const where = isShared ? "with its state" : "and its state elsewhere";
      const isLeftOut = isSmall && isShared === (code === "TARGET_FULL");
      test(
        `${database}: the target ${what}, ${where}, ${count} times, and goes on by itself`,
        { skip: isLeftOut ? onlyLarge : whyNoMount() || whyNot },
        (context) => fillUp(context, { make, mebibytes, minFree, code, isShared }),
      );
    }
  }
}

function haltCount({ syncing }: KillMoments, code: string): number {
  const lines = syncing.stdout.split("\n");
  return lines.filter((line) => line.includes('"event":"halt"') && line.includes(code)).length;
}
