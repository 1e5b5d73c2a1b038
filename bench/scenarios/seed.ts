/**
 * Scenario 6: the first copy of many small files, and a restart when nothing has changed, against
 * `rsync -a` to a daemon on loopback.
 *
 * Lockstep's time runs from the start of the process to its "live"; the bench then compares all
 * bytes, and a "live" before equality is counted as an error. rsync's runs from start to exit.
 * Both have the source in the page cache; neither fsyncs.
 */
import { ratioByRound, showNumber, showRatio, summarize } from "../measures.ts";
import { run } from "../processes.ts";
import { compareTrees, makeTree } from "../programs.ts";
import {
  lockstepLink,
  lockstepLocal,
  prepareLink,
  rsyncOptions,
  startRsyncDaemon,
  type Subject,
  syncLocal,
} from "../subjects/index.ts";
import { rsyncLoop } from "../subjects/rsync-loop.ts";
import { type Pair, withPair } from "../workspace.ts";
import { Field, type Scenario } from "./scenario.ts";

const fileBytesMax = 8192;
const rsyncMs = 900_000;

interface Timing {
  readonly seedSeconds: number;
  readonly restartSeconds: number;
  /** Files that differed although the product had said that it was done. */
  readonly different: number;
}

interface Turn extends Timing {
  readonly subject: string;
  readonly round: number;
}

interface Seeder {
  readonly subject: Subject;
  readonly name: string;
  readonly seed: (pair: Pair) => Promise<Timing>;
}

const seeders: readonly Seeder[] = [
  { subject: rsyncLoop, name: "rsync -a (daemon)", seed: seedRsync },
  { subject: lockstepLink, name: lockstepLink.name, seed: seedLink },
  { subject: lockstepLocal, name: lockstepLocal.name, seed: seedLocal },
];

/** Runs scenario 6; see the file's header. */
export const seed: Scenario = async (settings) => {
  const rounds = settings.rounds ?? 3;
  const files = settings.quick ? 5000 : 100_000;
  const field = await new Field(settings).admit(seeders.map(({ subject }) => subject));
  const turns: Turn[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const subject of field.turns(round)) {
      const seeder = seeders.find((candidate) => candidate.subject === subject);
      if (seeder === undefined) continue;
      settings.say(`seed: round ${round + 1} of ${rounds}, ${seeder.name}`);
      const timing = await field.attempt(subject.name, () =>
        withPair(settings.folder, async (pair) => {
          await makeTree(pair.source, { files, bytes: fileBytesMax, mixed: true });
          return seeder.seed(pair);
        }),
      );
      if (timing !== undefined) turns.push({ subject: seeder.name, round, ...timing });
    }
  }
  return {
    scenario: "seed",
    title: `first copy of ${files} files of 0 to ${fileBytesMax} B, and a no-change restart`,
    columns: [
      ...["subject", "rounds", "seed s", "files/s", "time / rsync"],
      ...["restart s", "time / rsync", "wrong files"],
    ],
    rows: seeders.flatMap(({ name }) => rowOf(turns, name, files)),
    notes: ["Warm page cache, no fsync. Lockstep includes the start of its process."],
    skipped: field.skips,
    data: { files, fileBytesMax, rounds, turns },
  };
};

async function seedRsync(pair: Pair): Promise<Timing> {
  const daemon = await startRsyncDaemon(pair);
  const once = async () => {
    const began = performance.now();
    await run("rsync", [...rsyncOptions, `${pair.source}/`, daemon.url], { timeoutMs: rsyncMs });
    return (performance.now() - began) / 1000;
  };
  try {
    const seedSeconds = await once();
    const restartSeconds = await once();
    const { different } = await compareTrees(pair.source, pair.target, 0);
    return { seedSeconds, restartSeconds, different };
  } finally {
    await daemon.process.end();
  }
}

async function seedLink(pair: Pair): Promise<Timing> {
  const link = await prepareLink(pair);
  try {
    return await seedTwice(pair, () => link.sync());
  } finally {
    await link.stop();
  }
}

function seedLocal(pair: Pair): Promise<Timing> {
  return seedTwice(pair, () => syncLocal(pair));
}

async function seedTwice(pair: Pair, sync: () => ReturnType<typeof syncLocal>): Promise<Timing> {
  const first = await sync();
  const { different } = await compareTrees(pair.source, pair.target, 0);
  await first.end();
  const second = await sync();
  await second.end();
  return {
    seedSeconds: first.liveMs / 1000,
    restartSeconds: second.liveMs / 1000,
    different,
  };
}

function rowOf(turns: readonly Turn[], name: string, files: number): string[][] {
  const own = turns.filter((turn) => turn.subject === name);
  if (own.length === 0) return [];
  const base = seeders[0]?.name;
  const against = (pick: (turn: Turn) => number) =>
    ratioByRound(
      own.map(pick),
      own.map(({ round }) => {
        const found = turns.find((turn) => turn.subject === base && turn.round === round);
        return found && pick(found);
      }),
    );
  const seedP50 = summarize(own.map((turn) => turn.seedSeconds))?.p50;
  const isBase = name === base;
  return [
    [
      name,
      `${own.length}`,
      showNumber(seedP50),
      seedP50 === undefined ? "-" : showNumber(files / seedP50),
      isBase ? "" : showRatio(against((turn) => turn.seedSeconds)),
      showNumber(summarize(own.map((turn) => turn.restartSeconds))?.p50),
      isBase ? "" : showRatio(against((turn) => turn.restartSeconds)),
      `${own.reduce((sum, turn) => sum + turn.different, 0)}`,
    ],
  ];
}
