/**
 * Scenario 5: one large sequential write. From the first byte written until the target is equal,
 * against `cp` of the same file and against what TLS over loopback can carry at most.
 *
 * The goal is set against both in sequence: the bytes have to be written on the target and to go
 * over the link, so a subject that reaches 0.7 of what that allows takes at most 1 / 0.7 = 1.43
 * times the sum of both.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ratioByRound, showNumber, showRatio, summarize, sumOf } from "../measures.ts";
import { run } from "../processes.ts";
import { compareTrees, loadStream } from "../programs.ts";
import { fastSubjects, slowSubjects, type Subject } from "../subjects/index.ts";
import { measureTlsSeconds } from "../tls-pipe.ts";
import { withPair } from "../workspace.ts";
import { Field, type Scenario, type Settings, withSubject } from "./scenario.ts";

const file = "stream.bin";
const copyName = "cp";
const tlsName = "tls loopback";
const quickBytes = 512 * 1024 * 1024;
const fullBytes = 4 * 1024 * 1024 * 1024;
const equalMs = 600_000;

/** One measurement of one subject, or of a baseline, in one round. */
export interface StreamTurn {
  readonly subject: string;
  readonly round: number;
  readonly writeSeconds: number | undefined;
  /** From the start of the write until the target is equal; undefined if it never was. */
  readonly seconds: number | undefined;
}

/** Runs scenario 5; see the file's header. */
export const stream: Scenario = async (settings) => {
  const rounds = settings.rounds ?? (settings.quick ? 3 : 3);
  const bytes = settings.quick ? quickBytes : fullBytes;
  // Unison and Syncthing add their quiet second to a copy; the rsync loop stands for its kind.
  const subjects = [...fastSubjects, ...slowSubjects.slice(0, 1)];
  const field = await new Field(settings).admit(subjects);
  const turns: StreamTurn[] = [];
  for (let round = 0; round < rounds; round += 1) {
    settings.say(`stream: round ${round + 1} of ${rounds}, baselines`);
    turns.push(await copyTurn(settings, bytes, round));
    const tls = await field.attempt(tlsName, () => measureTlsSeconds(bytes));
    turns.push({ subject: tlsName, round, writeSeconds: undefined, seconds: tls });
    for (const subject of field.turns(round)) {
      settings.say(`stream: round ${round + 1} of ${rounds}, ${subject.name}`);
      const turn = await field.attempt(subject.name, () =>
        streamTurn(settings, subject, bytes, round),
      );
      if (turn !== undefined) turns.push(turn);
    }
  }
  const names = [copyName, tlsName, ...subjects.map((subject) => subject.name)];
  return {
    scenario: "stream",
    title: `${bytes / 1024 ** 2} MiB written sequentially, until the target is equal`,
    columns: [
      ...["subject", "rounds", "write s", "until equal s", "MB/s", "time / cp", "time / tls"],
      "time / (cp + tls)",
    ],
    rows: names.flatMap((name) => streamRow(turns, name, bytes)),
    notes: [
      "Until equal: from the first byte written to the last change of a target that is equal.",
      "cp + tls: the seconds of both, of the same round. The goal is at most 1.43: no slower than",
      "0.7 of what cp, and then the link's own throughput, allow.",
      "cp: the finished file copied on the same filesystem.",
      "tls: TLS 1.3, AES-128-GCM, two Node processes, no files.",
      "Page cache: nothing is fsynced.",
    ],
    skipped: field.skips,
    data: { bytes, rounds, turns },
  };
};

async function copyTurn(settings: Settings, bytes: number, round: number): Promise<StreamTurn> {
  return withPair(settings.folder, async (pair) => {
    const source = join(pair.source, file);
    const { seconds: writeSeconds } = await loadStream(source, bytes);
    const began = performance.now();
    // Not a reflink and not holes: the bytes themselves, as a target has to write them.
    const how = ["--reflink=never", "--sparse=never"];
    await run("cp", [...how, source, join(pair.target, file)], { timeoutMs: equalMs });
    const seconds = (performance.now() - began) / 1000;
    return { subject: copyName, round, writeSeconds, seconds };
  });
}

async function streamTurn(
  settings: Settings,
  subject: Subject,
  bytes: number,
  round: number,
): Promise<StreamTurn> {
  return withSubject(settings, subject, { file, bytes: 0, sparse: true }, async (pair) => {
    const source = join(pair.source, file);
    const { seconds: writeSeconds, endedNs } = await loadStream(source, bytes);
    const target = join(pair.target, file);
    const { equalNs } = await compareTrees(source, target, equalMs);
    const seconds =
      equalNs === undefined ? undefined : writeSeconds + Math.max(0, equalNs - endedNs) / 1e9;
    await rm(target, { force: true });
    return { subject: subject.name, round, writeSeconds, seconds };
  });
}

/** The row of `subject`, or none if it had no turn. Baselines are the turns of "cp" and of TLS. */
export function streamRow(
  turns: readonly StreamTurn[],
  subject: string,
  bytes: number,
): string[][] {
  const own = turns.filter((turn) => turn.subject === subject);
  if (own.length === 0) return [];
  const secondsOf = (name: string, round: number) =>
    turns.find((turn) => turn.subject === name && turn.round === round)?.seconds;
  const against = (...bases: readonly string[]) =>
    showRatio(
      ratioByRound(
        own.map((turn) => turn.seconds),
        own.map(({ round }) => sumOf(bases.map((base) => secondsOf(base, round)))),
      ),
    );
  const total = summarize(own.flatMap((turn) => turn.seconds ?? []))?.p50;
  const wrote = summarize(own.flatMap((turn) => turn.writeSeconds ?? []))?.p50;
  const isBase = subject === copyName || subject === tlsName;
  return [
    [
      subject,
      `${own.length}`,
      showNumber(wrote),
      total === undefined ? "never" : showNumber(total),
      total === undefined ? "-" : showNumber(bytes / total / 1e6),
      subject === copyName ? "" : against(copyName),
      subject === tlsName ? "" : against(tlsName),
      isBase ? "" : against(copyName, tlsName),
    ],
  ];
}
