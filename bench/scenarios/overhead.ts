/**
 * Scenario 3: what does a running synchronizer cost the programs around it? Tight loops (see
 * bench/native/overhead.c) with nothing running, with the floor, and with Lockstep, in turn.
 *
 * The added time is formed in each round against "none" of the same round. Wall time in a loop that
 * never pauses includes the moments when the synchronizer takes one of the cores; the writer's own
 * CPU time is what the hooks in its system calls cost.
 */
import { join } from "node:path";
import { showNumber, summarize } from "../measures.ts";
import { measureOverhead, type OverheadResult } from "../programs.ts";
import { floor, lockstepLink, type Subject } from "../subjects/index.ts";
import { makeFile } from "../workspace.ts";
import { Field, type Scenario, type Settings, withSubject } from "./scenario.ts";

const fileBytes = 4096;
const loops = ["syscall", "outside", "inside"] as const;
const loopNames = {
  syscall: "getppid()",
  outside: "pwrite 128 B outside the root",
  inside: "pwrite 128 B inside the root",
} as const;

/** Nothing runs: the baseline of the added nanoseconds. */
const none: Subject = {
  name: "none",
  speed: "fast",
  configuration: "nothing runs",
  unavailable: async () => undefined,
  start: async () => ({ port: undefined, stop: async () => {} }),
};

interface Turn {
  readonly subject: string;
  readonly round: number;
  readonly cost: OverheadResult;
}

/** Runs scenario 3; see the file's header. */
export const overhead: Scenario = async (settings) => {
  const rounds = settings.rounds ?? (settings.quick ? 3 : 9);
  const field = await new Field({
    ...settings,
    takesPart: (name) => name === none.name || settings.takesPart(name),
  }).admit([none, floor, lockstepLink]);
  const turns: Turn[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const subject of field.turns(round)) {
      settings.say(`overhead: round ${round + 1} of ${rounds}, ${subject.name}`);
      const cost = await field.attempt(subject.name, () => measureTurn(settings, subject));
      if (cost !== undefined) turns.push({ subject: subject.name, round, cost });
    }
  }
  return {
    scenario: "overhead",
    title: "nanoseconds a call in a tight loop, medians",
    columns: ["loop", "running", "rounds", "wall ns", "added", "(min..max)", "cpu ns", "added"],
    rows: loops.flatMap((loop) =>
      [none, floor, lockstepLink].flatMap((subject) => rowOf(turns, loop, subject.name)),
    ),
    notes: ["Added: median of the per-round differences to `none`."],
    skipped: field.skips,
    data: { rounds, turns },
  };
};

async function measureTurn(settings: Settings, subject: Subject): Promise<OverheadResult> {
  const turn = { file: "inside.bin", bytes: fileBytes, sparse: false };
  return withSubject(settings, subject, turn, async (pair) => {
    const outside = join(pair.scratch, "outside.bin");
    await makeFile(outside, fileBytes, false);
    const files = { outside, inside: join(pair.source, turn.file) };
    return measureOverhead(files, { batches: settings.quick ? 31 : 101, calls: 5000 });
  });
}

function rowOf(turns: readonly Turn[], loop: (typeof loops)[number], subject: string): string[][] {
  const own = turns.filter((turn) => turn.subject === subject);
  if (own.length === 0) return [];
  const added = (kind: "wallNs" | "cpuNs") =>
    summarize(
      own.flatMap((turn) => {
        const base = turns.find((other) => other.subject === "none" && other.round === turn.round);
        return base === undefined ? [] : [turn.cost[loop][kind] - base.cost[loop][kind]];
      }),
    );
  const own50 = (kind: "wallNs" | "cpuNs") =>
    showNumber(summarize(own.map((turn) => turn.cost[loop][kind]))?.p50);
  const [wall, cpu] = [added("wallNs"), added("cpuNs")];
  const isBase = subject === "none";
  return [
    [
      loopNames[loop],
      subject,
      `${own.length}`,
      own50("wallNs"),
      isBase ? "" : showNumber(wall?.p50),
      isBase ? "" : `(${showNumber(wall?.min)}..${showNumber(wall?.max)})`,
      own50("cpuNs"),
      isBase ? "" : showNumber(cpu?.p50),
    ],
  ];
}
