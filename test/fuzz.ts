/**
 * The fuzzers, for longer than the tests run them: `npm run fuzz -- --seconds 60 [--seed N]`.
 *
 * In: a first seed (drawn and printed when absent) and a time. Out: one line for each fuzzer with
 * its runs; the first failure names its seed and ends the program with code 1. Each takes its turn,
 * in slices, so that a short run has tried all. Seeds that failed are kept beside the code, where
 * the tests run them for ever (src/wire/fuzz-seeds.txt).
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { fuzzApplier } from "../src/apply/applier.fuzz.ts";
import { fuzzCutter } from "../src/cut/cutter.fuzz.ts";
import { fuzz as fuzzDecoder } from "../src/wire/decoder.fuzz.ts";

const decoderRunsPerSlice = 5000;
const applierSteps = 400;
const cutterRounds = 8;
const secondsMax = 86400;

/** One slice from a seed on; throws at a finding. */
const fuzzers: Readonly<Record<string, (seed: number) => void | Promise<unknown>>> = {
  decoder: (seed) => void fuzzDecoder(seed * decoderRunsPerSlice, decoderRunsPerSlice),
  applier: (seed) => void fuzzApplier(seed, applierSteps),
  cutter: (seed) => fuzzCutter(seed, cutterRounds),
};

function whole(text: string, name: string, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  process.stderr.write(`--${name} takes a whole number from 0 to ${max}, not "${text}"\n`);
  process.exit(2);
}

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "60" }, seed: { type: "string" } },
});
const seconds = whole(values.seconds, "seconds", secondsMax);
const first = whole(values.seed ?? String(randomInt(1_000_000)), "seed", 1_000_000_000);
const end = performance.now() + seconds * 1000;
process.stdout.write(`first seed ${first}, ${seconds} s\n`);
let slices = 0;
do {
  for (const [name, run] of Object.entries(fuzzers)) {
    const seed = first + slices;
    try {
      await run(seed);
    } catch (error) {
      process.stderr.write(`${name}: seed ${seed} (npm run fuzz -- --seconds 0 --seed ${seed})\n`);
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
      process.exit(1);
    }
  }
  slices += 1;
} while (performance.now() < end);
process.stdout.write(`${Object.keys(fuzzers).join(", ")}: ${slices} slices each, nothing found\n`);
