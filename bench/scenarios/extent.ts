/**
 * Scenario 2: do 16 bytes in the middle of a 1 GiB file cost the same as in a 4 KiB file, and how
 * many bytes go over the wire for them?
 *
 * The wire is read from the kernel's own socket counters (socket-counters.ts). What a link says
 * while nothing changes (heartbeats) is measured for a second before and taken off, by time. For
 * rsync, whose connections are short, the wire is the loopback device of a network namespace.
 */
import { join } from "node:path";
import { ratioByRound, showNumber, showRatio, showUs, summarize } from "../measures.ts";
import { ProcessError, run, sleep } from "../processes.ts";
import { stopwatch } from "../programs.ts";
import {
  fastSubjects,
  floor,
  type RunningSubject,
  rsyncOptions,
  type Subject,
} from "../subjects/index.ts";
import { rsyncLoop } from "../subjects/rsync-loop.ts";
import { readWireBytes } from "../socket-counters.ts";
import { makeFile, type Pair, withPair } from "../workspace.ts";
import { Field, type Scenario, type Settings, withSubject } from "./scenario.ts";

const recordBytes = 16;
const smallBytes = 4096;
const largeBytes = 1 << 30;
const idleMs = 1000;

interface Turn {
  readonly subject: string;
  readonly fileBytes: number;
  readonly round: number;
  readonly samples: readonly number[];
  readonly lost: number;
  readonly wireBytesPerRecord: number | undefined;
}

/** Runs scenario 2; see the file's header. */
export const extent: Scenario = async (settings) => {
  const rounds = settings.rounds ?? (settings.quick ? 3 : 5);
  const subjects = [...fastSubjects, rsyncLoop];
  const field = await new Field(settings).admit(subjects);
  const turns: Turn[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const subject of field.turns(round)) {
      for (const fileBytes of [smallBytes, largeBytes]) {
        if (!field.has(subject)) continue;
        settings.say(`extent: round ${round + 1} of ${rounds}, ${subject.name}, ${fileBytes} B`);
        const turn = await field.attempt(subject.name, () =>
          measureTurn(settings, subject, fileBytes, round),
        );
        if (turn !== undefined) turns.push(turn);
      }
    }
  }
  const rsyncWire = await field.attempt("rsync on the wire", () => rsyncWireBytes(settings));
  return {
    scenario: "extent",
    title: "16 bytes in the middle of a file of 4 KiB and of 1 GiB (sparse)",
    columns: [
      ...["subject", "n", "lost", "p50 4 KiB", "p50 1 GiB", "1 GiB / 4 KiB"],
      ...["1 GiB / floor", "wire B (1 GiB)"],
    ],
    rows: subjects.flatMap((subject) => rowOf(subject, turns, rsyncWire)),
    notes: [
      "Wire: TCP payload both ways per record, TLS included, without IP and TCP headers and the",
      "idle traffic (heartbeats) of the same time.",
      "rsync's wire: bytes through lo of an own network namespace, headers included, one run.",
    ],
    skipped: field.skips,
    data: { recordBytes, smallBytes, largeBytes, rounds, turns, rsyncWireBytes: rsyncWire },
  };
};

async function measureTurn(
  settings: Settings,
  subject: Subject,
  fileBytes: number,
  round: number,
): Promise<Turn> {
  const slow = subject.speed === "slow";
  const turn = { file: "extent.bin", bytes: fileBytes, sparse: fileBytes === largeBytes };
  return withSubject(settings, subject, turn, async (pair, running) => {
    const work = () =>
      stopwatch({
        source: join(pair.source, turn.file),
        target: join(pair.target, turn.file),
        count: slow ? 3 : settings.quick ? 200 : 1000,
        warmup: slow ? 1 : 20,
        paceUs: slow ? 100_000 : 2000,
        jitterUs: slow ? 500_000 : 0,
        sizeBytes: recordBytes,
        offset: fileBytes / 2,
        timeoutMs: slow ? 60_000 : 5000,
        readyMs: 120_000,
      });
    const warmup = slow ? 1 : 20;
    const { result, wireBytes } = await countWire(running, work);
    const records = result.samples.length + result.lost + warmup;
    const wireBytesPerRecord = wireBytes === undefined ? undefined : wireBytes / records;
    return { subject: subject.name, fileBytes, round, ...result, wireBytesPerRecord };
  });
}

/** Runs `work` between two readings of the link's counters, less what an idle second says. */
async function countWire<T>(
  running: RunningSubject,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly wireBytes: number | undefined }> {
  const read = async () => {
    const bytes = running.port === undefined ? undefined : await readWireBytes(running.port);
    return bytes && bytes.connections > 0 ? bytes.sentBytes + bytes.receivedBytes : undefined;
  };
  const idleBefore = await read();
  await sleep(idleMs);
  const before = await read();
  const began = performance.now();
  const result = await work();
  const tookMs = performance.now() - began;
  const after = await read();
  if (idleBefore === undefined || before === undefined || after === undefined) {
    return { result, wireBytes: undefined };
  }
  const idleBytes = ((before - idleBefore) * tookMs) / idleMs;
  return { result, wireBytes: Math.max(0, after - before - idleBytes) };
}

function rowOf(subject: Subject, turns: readonly Turn[], rsyncWire: number | undefined) {
  const own = turns.filter((turn) => turn.subject === subject.name);
  const small = own.filter((turn) => turn.fileBytes === smallBytes);
  const large = own.filter((turn) => turn.fileBytes === largeBytes);
  if (own.length === 0) return [];
  const p50 = (turn: Turn | undefined) => turn && summarize(turn.samples)?.p50;
  const inRound = (list: readonly Turn[], round: number) =>
    p50(list.find((turn) => turn.round === round));
  const floorLarge = turns.filter(
    (turn) => turn.subject === floor.name && turn.fileBytes === largeBytes,
  );
  const wire =
    subject === rsyncLoop
      ? rsyncWire
      : summarize(large.flatMap((turn) => turn.wireBytesPerRecord ?? []))?.p50;
  const pool = (list: readonly Turn[]) => summarize(list.flatMap((turn) => turn.samples));
  return [
    [
      subject.name,
      `${(pool(small)?.n ?? 0) + (pool(large)?.n ?? 0)}`,
      `${own.reduce((sum, turn) => sum + turn.lost, 0)}`,
      showUs(pool(small)?.p50),
      showUs(pool(large)?.p50),
      showRatio(
        ratioByRound(
          large.map(p50),
          large.map((turn) => inRound(small, turn.round)),
        ),
      ),
      showRatio(
        ratioByRound(
          large.map(p50),
          large.map((turn) => inRound(floorLarge, turn.round)),
        ),
      ),
      showNumber(wire),
    ],
  ];
}

/** $1 folder with source/ and target/, $2 file, rest: rsync's options. Prints bytes through lo. */
const namespaceScript = `
set -e
ip link set lo up
root=$1; file=$2; shift 2
printf '%s\\n' address=127.0.0.1 port=7873 "use chroot=no" uid=0 gid=0 "[b]" "path=$root/target" \\
  "read only=no" >"$root/scratch/d.conf"
rsync --daemon --no-detach --config="$root/scratch/d.conf" & daemon=$!
trap 'kill $daemon' EXIT
for i in 1 2 3 4 5 6 7 8 9 10; do
  rsync "$@" "$root/source/" rsync://127.0.0.1:7873/b/ && break
  sleep 0.2
done
lo() { awk '$1=="lo:"{print $2}' /proc/net/dev; }
printf 0123456789abcdef | dd of="$root/source/$file" bs=16 seek=33554432 conv=notrunc status=none
before=$(lo)
rsync "$@" "$root/source/" rsync://127.0.0.1:7873/b/
echo "bytes $(($(lo) - before))"
`;

async function rsyncWireBytes(settings: Settings): Promise<number | undefined> {
  if (process.getuid?.() !== 0 || (await rsyncLoop.unavailable()) !== undefined) return undefined;
  if (!settings.takesPart(rsyncLoop.name)) return undefined;
  return withPair(settings.folder, async (pair: Pair) => {
    await makeFile(join(pair.source, "extent.bin"), largeBytes, true);
    const printed = await run(
      "unshare",
      ["-n", "bash", "-c", namespaceScript, "wire", pair.root, "extent.bin", ...rsyncOptions],
      { timeoutMs: 300_000 },
    );
    const bytes = /^bytes (\d+)$/m.exec(printed)?.[1];
    if (bytes === undefined) throw new ProcessError("unshare -n: no counter was printed");
    return Number(bytes);
  });
}
