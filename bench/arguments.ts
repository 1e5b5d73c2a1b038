/**
 * The bench's command line: `node dist/bench/main.js [--only A,B] [--subjects A,B] [--quick] …`.
 * In: argv. Out: typed choices or a message for the user. Pure.
 */
import { parseArgs } from "node:util";

export interface Choices {
  /** Scenario names; empty means all. */
  readonly only: readonly string[];
  /** Parts of subject names; empty means all. */
  readonly subjects: readonly string[];
  /** Parts of names of loads, of the scenario that has several; empty means all. */
  readonly loads: readonly string[];
  readonly quick: boolean;
  readonly json: boolean;
  readonly help: boolean;
  readonly folder: string | undefined;
  readonly rounds: number | undefined;
}

/** What the user got wrong, in words for the user. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const roundsMax = 1000;

/** Parses `argv` (without node and script). `known` are the scenario names. Throws UsageError. */
export function parseChoices(argv: readonly string[], known: readonly string[]): Choices {
  const values = parse(argv);
  const only = listOf(values.only);
  for (const name of only) {
    if (!known.includes(name)) {
      throw new UsageError(`no scenario "${name}"; there are: ${known.join(", ")}`);
    }
  }
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0 && rounds <= roundsMax)) {
    throw new UsageError(`--rounds takes a number from 1 to ${roundsMax}`);
  }
  return {
    only,
    subjects: listOf(values.subjects),
    loads: listOf(values.loads),
    quick: values.quick ?? false,
    json: values.json ?? false,
    help: values.help ?? false,
    folder: values.dir,
    rounds,
  };
}

/** Whether a subject of `name` was asked for: the floor always is, for the ratios. */
export function isChosen(choices: Choices, name: string): boolean {
  if (choices.subjects.length === 0 || name === "floor") return true;
  return choices.subjects.some((part) => name.includes(part));
}

/** Whether a load of `name` was asked for. */
export function isLoadChosen({ loads }: Choices, name: string): boolean {
  return loads.length === 0 || loads.some((part) => name.includes(part));
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        only: { type: "string", multiple: true },
        subjects: { type: "string", multiple: true },
        loads: { type: "string", multiple: true },
        quick: { type: "boolean" },
        json: { type: "boolean" },
        help: { type: "boolean", short: "h" },
        dir: { type: "string" },
        rounds: { type: "string" },
      },
    }).values;
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message);
    throw error;
  }
}

function listOf(values: readonly string[] | undefined): string[] {
  return (values ?? []).flatMap((value) => value.split(",")).filter((part) => part !== "");
}
