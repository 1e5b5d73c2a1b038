/** Rows of the argument table: how a target is kept. */
import type { OptionRow } from "./argument-table.ts";

export const durabilityOption: OptionRow = {
  long: "--durability",
  value: "LEVEL",
  choices: ["process", "power"],
  help:
    "What an acknowledged change survives at the target: the death of the process, or a loss of " +
    "power, too (each change waits for the disk then); process if absent",
};

export const consistencyOption: OptionRow = {
  long: "--consistency",
  value: "LEVEL",
  choices: ["bounded", "strict"],
  help:
    "With strict the target shows proved moments of the source only, however long it has to wait " +
    "for one; with bounded a state that could not be proved is shown after some tries, and " +
    "counted as fuzzy; bounded if absent",
};

export const minFree: OptionRow = {
  long: "--min-free",
  value: "SPACE",
  help:
    "Halt before less of the target's filesystem is free: bytes with K, M, G or T, or a " +
    "percentage, such as 2G or 5%; 0 never halts; the smaller of 1% and 256M if absent",
};
export const backupKeep: OptionRow = {
  long: "--backup-keep",
  value: "DAYS",
  help: "Remove a session's folder of --backup-dir after so many days; 30 if absent",
};
