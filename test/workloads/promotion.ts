/** `lockstep promote` of a target, whichever processes run, and what it says of the cut. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { runProgram } from "../cli/program.ts";
import type { LinkPair } from "./link-pair.ts";

/** What `promote --json` prints. */
export interface Promotion {
  readonly event: "promoted";
  readonly path: string;
  readonly epoch: number;
  readonly cutWallMs: number;
  /** The same, to be read. */
  readonly cut: string;
  /** The cut could not be closed: something changed while it was read. */
  readonly fuzzy: boolean;
  /** Operations of an epoch that was being applied when its process died. */
  readonly redone: number;
}

export interface Refusal {
  /** The code of what it said. */
  readonly refused: string;
  readonly told: string;
}

/** Promotes; nothing is applied to the target any more. */
export async function tryPromote(
  context: TestContext,
  { far, farPrefix, target }: LinkPair,
): Promise<Promotion | Refusal> {
  const run = await runProgram(context, ["promote", target, "--json"], {
    home: far,
    prefix: farPrefix,
  });
  const told = `promote: ${run.exit} ${run.stdout}${run.stderr}`;
  const [line = ""] = run.stdout.split("\n");
  if (run.exit === 0) {
    const said = JSON.parse(line) as Promotion;
    assert.equal(said.event, "promoted", told);
    assert.equal(said.cut, new Date(said.cutWallMs).toISOString());
    return said;
  }
  const code = /"code":"([A-Z_]+)"/.exec(run.stdout)?.[1];
  assert.ok(code !== undefined, told);
  return { refused: code, told };
}

/** A source may write to it again. */
export async function undoPromotion(context: TestContext, pair: LinkPair): Promise<void> {
  const args = ["promote", "--undo", pair.target];
  const run = await runProgram(context, args, { home: pair.far, prefix: pair.farPrefix });
  assert.equal(run.exit, 0, `promote --undo: ${run.stdout}${run.stderr}`);
}
