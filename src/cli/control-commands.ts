/** Rows of the argument table: commands that ask running ones for something. */
import type { CommandRow } from "./argument-table.ts";

export const flushCommand: CommandRow = {
  name: "flush",
  summary: "Wait until everything written so far is at the targets",
  description: [
    "Returns when all that was written below the source before the call is applied at every " +
      "target of every running sync of this user, or at those that are named: what `sleep 2` was " +
      "in a script. It hurries nothing, and on an idle mirror it returns at once.",
    "While a target is being made equal, out of reach or halted it waits, and says which one and " +
      "why. The exit code is 0 when everything is there, 1 when --timeout has passed, 3 when no " +
      "such sync is running, and 4 when the sync, or its target, ended meanwhile.",
    "Without eBPF nobody tells of stores through shared mappings: files that processes of this " +
      "user (with root: all) have mapped are compared whole then.",
  ],
  arguments: [
    {
      name: "TARGET",
      help: "A target, as `lockstep status` shows it; all if absent",
      required: false,
      variadic: true,
    },
  ],
  options: [
    { long: "--source", value: "FOLDER", help: "Only the sync with this source" },
    { long: "--timeout", value: "SECONDS", help: "Give up after so long; never if absent" },
  ],
  commands: [],
  examples: [
    { line: "lockstep flush && ssh web.example nginx -s reload", help: "What I wrote is there" },
    { line: "lockstep flush --timeout 30 /mnt/copy", help: "At this target, within half a minute" },
  ],
};
