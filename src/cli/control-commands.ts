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

export const snapshotCommand: CommandRow = {
  name: "snapshot",
  summary: "Pin the state of a target, as it is at one cut of its source",
  description: [
    "Run on the target's side, while `lockstep serve`, or a sync with a local target, is live. " +
      "The whole folder is copied to TARGET.snapshots/NAME beside it, with all that a mirror " +
      "keeps; TARGET.snapshots/NAME.json says which cut it is: the epoch, and the source's time. " +
      "Where the filesystem can share content (btrfs, xfs), that takes moments and no space; " +
      "elsewhere content is copied. No hard links are made: a mirror writes in place, and they " +
      "would change.",
    "While it is copied nothing is applied to the target: changes wait, on the target up to " +
      "32 MiB, then at the source, and are applied afterwards.",
    "With --list and --remove, which need nothing to run, the only argument is TARGET.",
  ],
  arguments: [
    {
      name: "NAME",
      help: "What it is called: letters, digits and . _ : @ + -",
      required: false,
      variadic: false,
    },
    {
      name: "TARGET",
      help: "The folder that is mirrored into; needed when there are several",
      required: false,
      variadic: false,
    },
  ],
  options: [
    {
      long: "--to",
      value: "FOLDER",
      help: "Keep it in FOLDER, apart from what is mirrored; on another filesystem it is copied",
    },
    { long: "--list", help: "Show the snapshots" },
    { long: "--remove", value: "NAME", help: "Remove a snapshot" },
  ],
  commands: [],
  examples: [
    { line: "lockstep snapshot before-upgrade", help: "Pin what the only target has now" },
    { line: "lockstep snapshot --list /srv/copy", help: "What there is of this target" },
  ],
};

export const promoteCommand: CommandRow = {
  name: "promote",
  summary: "End mirroring into a target, at its last whole cut, to work with it",
  description: [
    "Run on the target's side, by the user who mirrors into it, whether or not anything runs " +
      "there. What a crash has left half applied is finished from the target's journal; all is " +
      "written to disk; and the moment of the source that the folder shows is printed: what a " +
      "disk would hold had the source lost its power then.",
    "From then on no source writes there: a sync that still runs halts. With --undo sources may " +
      "again, and the next one makes the folder equal to itself.",
    "A folder that is of no one moment, because its source was just making it equal, is refused; " +
      "--force promotes it all the same.",
  ],
  arguments: [
    {
      name: "TARGET",
      help: "The folder that is mirrored into",
      required: true,
      variadic: false,
    },
  ],
  options: [
    { long: "--undo", help: "Let sources write into it again" },
    { long: "--force", help: "Also when the folder is of no one moment" },
  ],
  commands: [],
  examples: [
    {
      line: "lockstep promote /srv/copy && systemctl start postgresql",
      help: "The source is dead",
    },
    { line: "lockstep promote --undo /srv/copy", help: "It is to be a mirror again" },
  ],
};
