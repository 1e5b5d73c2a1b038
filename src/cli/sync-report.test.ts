import assert from "node:assert/strict";
import { test } from "node:test";
import type { SourceStatus } from "../session/index.ts";
import { describeTargets, progressFields, progressLine, type TargetReport } from "./sync-report.ts";

const status: SourceStatus = {
  epochs: 4,
  fuzzyEpochs: 0,
  rounds: 5,
  operations: 6,
  rescans: 1,
  scrubPasses: 0,
  scrubbedFiles: 0,
  scrubbedBytes: 0,
  scrubDivergences: 0,
  filesScanned: 70,
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
const seeding = report("/new", { state: "seeding", status: { ...status, live: false } });

test("one target has its own line, several share one", () => {
  assert.equal(progressLine([report("/a")], 2), "live: 3 epochs, 2.0 MB, lag 1.50 ms, 3 waiting");
  assert.equal(progressLine([seeding], 2), "seeding: 70 files, 2.0 MB, 1.0 MB/s");
  assert.equal(progressLine([away], 2), undefined);
  assert.equal(
    progressLine([report("/a"), seeding, away], 2),
    "1 of 3 live, lag 1.50 ms, seeding 70 files: /new, retrying: /away",
  );
  assert.equal(progressLine([away, away], 2), "0 of 2 live, retrying: /away, retrying: /away");
});

test("progress is told of targets that are not live yet", () => {
  assert.equal(progressFields(report("/a"), 1), undefined);
  assert.equal(progressFields(away, 1), undefined);
  const expected = { target: "/new", state: "seeding", files: 70, bytes: 2_000_000, seconds: 1 };
  assert.deepEqual(progressFields(seeding, 1), expected);
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
  assert.equal(describeTargets([away, failed, seeding])["state"], "failed");
});
