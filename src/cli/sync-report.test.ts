import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SourceStatus } from "../session/index.ts";
import type { SeedProgress } from "./seed-meter.ts";
import { describeTargets, progressFields, progressLine, type TargetReport } from "./sync-report.ts";

const status: SourceStatus = {
  epochs: 4,
  fuzzyEpochs: 0,
  hotEpochs: 0,
  rounds: 5,
  operations: 6,
  rescans: 1,
  scrubPasses: 0,
  scrubbedFiles: 0,
  scrubbedBytes: 0,
  scrubDivergences: 0,
  filesScanned: 70,
  filesDone: 60,
  contentBytes: 3_000_000,
  live: true,
  sentEpoch: 4,
  ackedEpoch: 3,
  bytesSent: 2_000_000,
  bytesReceived: 500,
  bytesInFlight: 0,
  nodes: 71,
  names: 70,
  dirtyNames: 1,
  dirtyNodes: 2,
  captureDropped: 0,
  changes: 9,
  roundTripUs: 100,
  lagUs: 1500,
  epochsAhead: 0,
  ackedWallMs: 0,
};

function report(target: string, fields: Partial<TargetReport> = {}): TargetReport {
  const error = undefined;
  const none = { halts: [], problems: 0, problemKinds: [], recentProblems: [] };
  return { target, state: "live", ...none, error, status, ...fields };
}

const away = report("/away", {
  state: "retrying",
  problems: 2,
  error: { code: "PEER_UNREACHABLE", message: "nobody there" },
  status: undefined,
});
const begun: SeedProgress = {
  files: 60,
  contentBytes: 3_000_000,
  filesTotal: undefined,
  contentBytesTotal: undefined,
  isWhole: false,
  bytesPerSecond: undefined,
  secondsLeft: undefined,
};
const counting = { ...begun, filesTotal: 80, contentBytesTotal: 4_000_000, bytesPerSecond: 5e5 };
const counted = { ...counting, isWhole: true, secondsLeft: 67 };
const notLive = { ...status, live: false };

function seeding(target: string, progress: SeedProgress): TargetReport {
  return report(target, { state: "seeding", status: notLive, progress });
}

test("the line of one target tells what is known so far", () => {
  assert.equal(progressLine([report("/a")]), "live: 3 epochs, 2.0 MB, lag 1.50 ms, 3 waiting");
  assert.equal(progressLine([away]), undefined);
  assert.equal(progressLine([report("/a", { status: notLive })]), undefined);
  const lines = [begun, counting, counted].map((progress) =>
    progressLine([seeding("/n", progress)]),
  );
  assert.deepEqual(lines, [
    "seeding: 60 files, 3.0 MB",
    "seeding: 60/80+ files, 3.0/4.0+ MB, 0.5 MB/s",
    "seeding: 60/80 files, 3.0/4.0 MB, 0.5 MB/s, 1:07 left",
  ]);
});

test("units are those of the whole, and nothing looks done before it is", () => {
  const large = { ...counted, contentBytes: 99_999_999_999, contentBytesTotal: 1e11 };
  assert.equal(
    progressLine([seeding("/n", { ...large, secondsLeft: 3 * 3600 + 62 })]),
    "seeding: 60/80 files, 99.9/100.0 GB, 0.5 MB/s, 3:01:02 left",
  );
  const slow = { ...large, secondsLeft: 1e6 };
  assert.match(progressLine([seeding("/n", slow)])!, /, 11 days left$/);
});

test("the line of one target fits 80 columns, whatever the numbers", () => {
  const numbers = fc.double({ min: 0, max: 1e18, noNaN: true }).map(Math.floor);
  const progress = fc.record({
    files: numbers,
    contentBytes: numbers,
    filesTotal: fc.constantFrom(9_999_999, 1e9, 1e12),
    contentBytesTotal: fc.constantFrom(1, 999_999_999, 999_999_999_999_999, 1e18),
    isWhole: fc.boolean(),
    bytesPerSecond: fc.constantFrom(0, 999_999_999, 1e12),
    secondsLeft: fc.constantFrom(0, 2 * 86_400 - 1, 1e15),
  });
  fc.assert(
    fc.property(progress, (each) => {
      const limited = { ...each, files: Math.min(each.files, each.filesTotal) };
      const line = progressLine([seeding("/n", limited)])!;
      assert.ok(line.length < 80, `${line.length}: ${line}`);
    }),
  );
});

test("several targets share a line, with the share of each and the longest time left", () => {
  assert.equal(
    progressLine([report("/a"), seeding("/new", begun), away]),
    "1 of 3 live, lag 1.50 ms, seeding 60 files: /new, retrying: /away",
  );
  const later = { ...counted, contentBytes: 3_999_999, secondsLeft: 5 };
  assert.equal(
    progressLine([seeding("/a", later), seeding("/b", counted)]),
    "0 of 2 live, 1:07 left, seeding 99%: /a, seeding 75%: /b",
  );
  const empty = { ...counted, contentBytes: 0, contentBytesTotal: 0 };
  assert.match(progressLine([seeding("/a", empty), away])!, /seeding 75%: \/a/);
  assert.equal(progressLine([away, away]), "0 of 2 live, retrying: /away, retrying: /away");
});

test("an event tells the same, and totals when they are known", () => {
  assert.equal(progressFields(report("/a"), undefined, 1), undefined);
  assert.equal(progressFields(away, counted, 1), undefined);
  const told = [begun, counting, counted].map((progress) => {
    const fields = progressFields(seeding("/new", progress), progress, 1);
    return JSON.parse(JSON.stringify(fields)) as unknown;
  });
  const all = { target: "/new", state: "seeding", bytes: 2_000_000, seconds: 1 };
  const done = { ...all, files: 60, contentBytes: 3_000_000 };
  const totals = { filesTotal: 80, contentBytesTotal: 4_000_000, secondsLeft: 67 };
  const bytesPerSecond = 500_000;
  assert.deepEqual(told, [
    done,
    { ...done, bytesPerSecond },
    { ...done, ...totals, bytesPerSecond },
  ]);
  const [first] = describeTargets([seeding("/new", counted)])["targets"] as [object];
  const { files, contentBytes } = done;
  const shown = { files, contentBytes, ...totals, bytesPerSecond };
  assert.deepEqual((first as { progress?: object }).progress, shown);
});

test("a single target's fields stand beside the list, as programs know them", () => {
  const told = describeTargets([report("/a", { problems: 1 })]);
  assert.deepEqual(
    [told["target"], told["state"], told["problems"], told["ackedEpoch"], told["lagUs"]],
    ["/a", "live", 1, 3, 1500],
  );
  const { targets, ...fields } = told;
  assert.deepEqual(targets, [fields]);
});

test("several targets have the worst state, the longest lag and the sum of the rest", () => {
  const told = describeTargets([report("/a"), away, report("/b", { problems: 3 })]);
  const { targets, ...whole } = told;
  assert.deepEqual(whole, {
    target: "/a, /away, /b",
    state: "retrying",
    halts: [],
    problems: 5,
    bytesSent: 4_000_000,
    lagUs: 1500,
  });
  assert.deepEqual((targets as { error?: unknown }[])[1]?.error, away.error);
  const gone = { code: "ROOT_REPLACED", message: "it is gone" };
  const many = { code: "TOO_MANY_DELETES", message: "9 of 10" };
  const halted = [
    report("/h", { state: "halted", halts: [gone] }),
    report("/i", { state: "halted", halts: [gone, many] }),
  ];
  assert.deepEqual(describeTargets(halted)["halts"], [gone, { ...many, message: "/i: 9 of 10" }]);
  const failed = report("/x", { state: "failed" });
  assert.equal(describeTargets([away, failed, seeding("/s", begun)])["state"], "failed");
});
