import assert from "node:assert/strict";
import { test } from "node:test";
import { isChosen, parseChoices, UsageError } from "./arguments.ts";

const known = ["latency", "seed"];

test("no arguments choose everything", () => {
  const choices = parseChoices([], known);
  assert.deepEqual(choices.only, []);
  assert.equal(choices.quick, false);
  assert.ok(isChosen(choices, "unison"));
});

test("lists are split at commas and may be repeated", () => {
  const choices = parseChoices(["--only", "latency,seed", "--subjects", "lock"], known);
  assert.deepEqual(choices.only, ["latency", "seed"]);
  assert.ok(isChosen(choices, "lockstep link"));
  assert.ok(isChosen(choices, "floor"));
  assert.equal(isChosen(choices, "unison"), false);
});

test("what is not known is refused with a message", () => {
  for (const argv of [["--only", "latenzy"], ["--wat"], ["--rounds", "0"], ["--rounds", "x"]]) {
    assert.throws(() => parseChoices(argv, known), UsageError, argv.join(" "));
  }
});
