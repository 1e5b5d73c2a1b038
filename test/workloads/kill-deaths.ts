/** The ways in which a side of a mirror dies, as tests of any database. */
import { test } from "node:test";
import { BreakableLink, whyNoBreakableLink } from "./breakable-link.ts";
import {
  drawSeed,
  killCount,
  KillMoments,
  momentNumbers,
  onlyLarge,
  somewhat,
} from "./kill-moments.ts";
import type { LedgerDatabase, LedgerPlace } from "./ledger-database.ts";
import { linkPair } from "./link-pair.ts";

const busyMsMax = 500;

export interface Deaths {
  /** Moments in `npm test`; 0: it is for large runs. */
  readonly few: number;
  /** Why not, if not. */
  readonly whyNot: string | false;
  readonly make: (place: LedgerPlace) => Promise<LedgerDatabase>;
  /** The target shows proved moments only: none may be fuzzy. */
  readonly isStrict?: boolean;
  /** What is acknowledged is on the target's disk: `--durability power`. */
  readonly isPower?: boolean;
}

type Death = "daemon" | "daemon, database" | "database, daemon" | "link, daemon";

/** Said of a moment at which the target was perhaps just being made equal again. */
const twice = ", twice";

function argsFor({ isStrict = false, isPower = false }: Deaths): readonly string[] {
  return [
    ...(isStrict ? ["--consistency", "strict"] : []),
    ...(isPower ? ["--durability", "power"] : []),
  ];
}

/** The source's process is killed, alone or with the database, or after the network went down. */
export function sourceDies(name: string, deaths: Deaths): void {
  const { few, whyNot, make, isStrict = false } = deaths;
  const count = killCount(few);
  const skip = count === 0 ? onlyLarge : whyNot;
  test(`${name}: the source dies at ${count} random moments`, { skip }, async (context) => {
    const random = drawSeed(context);
    const whyNoLink = whyNoBreakableLink();
    const link = whyNoLink === false ? new BreakableLink(context) : undefined;
    if (whyNoLink !== false) context.diagnostic(`the link is not cut: ${whyNoLink}`);
    const place = link && {
      address: link.address,
      near: link.prefix("near"),
      far: link.prefix("far"),
    };
    const moments = await KillMoments.make(context, await linkPair(context, place), make, {
      syncArgs: argsFor(deaths),
    });
    const { database } = moments;
    await moments.begin();
    for (const moment of momentNumbers(count)) {
      const kinds: Death[] = ["daemon", "daemon, database", "database, daemon"];
      if (link !== undefined) kinds.push("link, daemon");
      const death = random.pick(kinds)!;
      await somewhat(random, busyMsMax);
      if (death === "link, daemon") {
        link!.down(random.pick(["near", "far"])!);
        await somewhat(random, busyMsMax);
      }
      if (death === "database, daemon") await database.kill();
      const killSync = async (): Promise<void> => {
        moments.syncing.kill("SIGKILL");
        await moments.syncing.end();
      };
      await killSync();
      if (death === "daemon, database") await database.kill();
      const isTwice = random.below(4) === 0;
      if (isTwice) {
        link?.heal();
        moments.startSync();
        await somewhat(random, busyMsMax);
        await killSync();
      }
      await moments.look(`moment ${moment}, ${death}${isTwice ? twice : ""}`, async () => {
        link?.heal();
        await database.start();
        await moments.sync();
      });
    }
    await moments.finish();
    moments.conclude({ mayBeFuzzy: !isStrict });
  });
}

/** The target's process is killed while changes go over, so that it mostly applies something. */
export function targetDies(name: string, deaths: Deaths): void {
  const { few, whyNot, make, isStrict = false } = deaths;
  const count = killCount(few);
  const skip = count === 0 ? onlyLarge : whyNot;
  test(`${name}: the target dies at ${count} random moments`, { skip }, async (context) => {
    const random = drawSeed(context);
    const moments = await KillMoments.make(context, await linkPair(context), make, {
      syncArgs: argsFor(deaths),
    });
    await moments.begin();
    for (const moment of momentNumbers(count)) {
      const killServe = async (): Promise<void> => {
        await somewhat(random, busyMsMax);
        moments.serving.kill("SIGKILL");
        await moments.serving.end();
      };
      await killServe();
      const isTwice = random.below(4) === 0;
      if (isTwice) {
        await moments.serve();
        await killServe();
      }
      await moments.look(`moment ${moment}${isTwice ? twice : ""}`, () => moments.backLive());
    }
    await moments.finish();
    moments.conclude({ mayBeFuzzy: !isStrict });
  });
}
