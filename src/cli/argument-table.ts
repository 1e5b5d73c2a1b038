/**
 * Everything that the command line accepts, as data: commands, arguments, options, their values,
 * help and examples. The parser, `--help`, `lockstep help` and man/lockstep.1 all come from here,
 * so they cannot disagree. Only what works is listed; what is planned is refused by name.
 *
 * A short text (`help`, `summary`) is one sentence without a full stop, as `--help` shows it.
 */

import { flushCommand, promoteCommand, snapshotCommand } from "./control-commands.ts";
import { backupKeep, consistencyOption, durabilityOption, minFree } from "./target-options.ts";

export interface ArgumentRow {
  /** Upper case, as shown. */
  readonly name: string;
  readonly help: string;
  readonly required: boolean;
  /** Takes all that follow. */
  readonly variadic: boolean;
}

export interface OptionRow {
  /** With the dashes, `--json`. A name that begins with `--no-` switches off what is on. */
  readonly long: string;
  /** With the dash, `-q`. */
  readonly short?: string;
  /** What the value is called in help; absent for a switch. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly default?: string;
  /** `list`: may be given several times, all values count. `count`: of a switch. */
  readonly repeat?: "list" | "count";
  /** Property names of options that it excludes. */
  readonly conflicts?: readonly string[];
  readonly help: string;
}

export interface ExampleRow {
  readonly line: string;
  readonly help: string;
}

export interface CommandRow {
  readonly name: string;
  readonly summary: string;
  /** Paragraphs. */
  readonly description: readonly string[];
  readonly arguments: readonly ArgumentRow[];
  readonly options: readonly OptionRow[];
  readonly commands: readonly CommandRow[];
  readonly examples: readonly ExampleRow[];
}

export const programName = "lockstep";
export const programSummary = "keeps a remote folder in lockstep with a local one";

export const globalOptions: readonly OptionRow[] = [
  {
    long: "--json",
    help: "Write one JSON object a line on standard output, and nothing else there",
  },
  {
    short: "-q",
    long: "--quiet",
    conflicts: ["verbose"],
    help: "Say only what was asked for, and errors",
  },
  {
    short: "-v",
    long: "--verbose",
    repeat: "count",
    help: "Say more on standard error; the same as --log-level debug",
  },
  {
    long: "--log-level",
    value: "LEVEL",
    choices: ["error", "warn", "info", "debug"],
    help: "Write log lines up to this level on standard error; info unless -q or -v is given",
  },
  { short: "-h", long: "--help", help: "Show help and end" },
  { short: "-V", long: "--version", help: "Show the version and end" },
];

const source: ArgumentRow = {
  name: "SOURCE",
  help: "The folder to mirror; nothing is ever written into it",
  required: true,
  variadic: false,
};
const peer: ArgumentRow = {
  name: "PEER",
  help: "A paired device, by its ID or its name",
  required: true,
  variadic: false,
};
const share: ArgumentRow = {
  name: "SHARE",
  help: "The name of a share of this device",
  required: true,
  variadic: false,
};
const grantOptions: readonly OptionRow[] = [
  { long: "--send", help: "The peer may send changes into the share here" },
  { long: "--receive", help: "The peer may receive the share from here" },
];
const name: OptionRow = {
  long: "--name",
  value: "NAME",
  help: "What this list calls the device; the start of its ID if absent",
};

const ignoreOptions: readonly OptionRow[] = [
  {
    long: "--ignore",
    value: "PATTERN",
    repeat: "list",
    help:
      "Leave names alone that match, as a line of .gitignore would; overrules files of patterns; " +
      "may be given several times",
  },
  {
    long: "--ignore-from",
    value: "FILE",
    repeat: "list",
    help: "Leave names alone that match a line of FILE; .lockstepignore files overrule it",
  },
  { long: "--no-ignore-files", help: "Take .lockstepignore for a file like any other" },
];

const syncCommand: CommandRow = {
  name: "sync",
  summary: "Copy SOURCE to each TARGET, then mirror every change as it happens",
  description: [
    "Seeds the target, then mirrors live until interrupted. The target moves from one past " +
      "state of the source to a later one, never to a mixture. What is in the target and not " +
      "in the source is removed.",
    "TARGET is a folder of this machine, or lockstep://ID[@HOST:PORT]/SHARE[/FOLDER]: a " +
      "share of the paired device with this ID, which runs `lockstep serve`.",
    "Several targets share one capture and nothing else: one that is slow or away holds up no " +
      "other, and is compared and brought up to date when it is back. One that refuses is asked " +
      "again, too, unless it is the only one. The exit code is the worst of all.",
    "What is ignored is neither sent nor removed. A file .lockstepignore in any folder of SOURCE " +
      "says what is, by lines as in .gitignore; changes of it count while the sync runs.",
    "SIGINT and SIGTERM send what has happened so far and end with exit code 0; a second " +
      "one ends at once.",
    "It halts, leaves the target as it is, and waits for `lockstep resume` when the source's " +
      "folder is gone, emptied or another one, and before more than --max-delete of the target " +
      "goes. It also halts while the target is short of space, and then goes on by itself. Ended " +
      "while it is halted, and with --once, its exit code is 5.",
  ],
  arguments: [
    source,
    {
      name: "TARGET",
      help: "Where to: a folder, or lockstep://ID[@HOST:PORT]/SHARE[/FOLDER]",
      required: true,
      variadic: true,
    },
  ],
  options: [
    { long: "--once", help: "End as soon as every target equals the source" },
    {
      long: "--checksum",
      help:
        "At the start, read all files on both sides instead of trusting equal size and time; of " +
        "what is equal only checksums are sent, and files below 64 KiB",
    },
    {
      long: "--backend",
      value: "NAME",
      choices: ["auto", "ebpf", "fanotify", "inotify"],
      default: "auto",
      help: "How to notice changes; auto takes the best that works here and says why not a better",
    },
    {
      long: "--max-delete",
      value: "LIMIT",
      help:
        "Halt before more of the target is deleted: a count, or a percentage, such as 1000 or " +
        "20%; 100% never halts; 50% if absent, and then never for fewer than 10",
    },
    { ...minFree, help: `${minFree.help}. A remote target has its own` },
    {
      long: "--backup-dir",
      value: "FOLDER",
      help:
        "Keep what is deleted on the local target, replaced by another file, or changed before " +
        "it is live, in FOLDER/TIME/PATH; on the target's filesystem, outside of it and SOURCE",
    },
    backupKeep,
    durabilityOption,
    consistencyOption,
    ...ignoreOptions,
    {
      long: "--cross-mounts",
      help:
        "Follow filesystems that are mounted below SOURCE (ext2 to ext4, xfs, btrfs, f2fs, " +
        "tmpfs); left out, with a notice, if absent. What is unmounted later stays on the target " +
        "until it is mounted again, or `lockstep resume` says that it is gone for good",
    },
    {
      long: "--scrub-rate",
      value: "BYTES",
      help:
        "While live, compare everything with what the target really has, over and over, at so " +
        "many bytes a second, such as 500k or 20M; 4M if absent; 0 never does",
    },
  ],
  commands: [],
  examples: [
    { line: "lockstep sync /srv/data /mnt/copy", help: "Mirror one folder into another" },
    {
      line: "lockstep sync /srv/data /mnt/copy lockstep://ID@web.example:7420/data",
      help: "Mirror one folder into two, here and elsewhere",
    },
    {
      line: "lockstep sync --once ~/site lockstep://ID@web.example:7420/site",
      help: "Bring a share of a paired device up to date, then end",
    },
  ],
};

const serveCommand: CommandRow = {
  name: "serve",
  summary: "Let paired devices mirror into folders of this machine",
  description: [
    "Accepts links of paired devices only. Each may use the shares that it was granted with " +
      "`lockstep peers grant`, and reach nothing outside their folders.",
  ],
  arguments: [],
  options: [
    {
      long: "--listen",
      value: "HOST:PORT",
      help: "Where to accept links; [::]:7420, which is every address of this machine, if absent",
    },
    {
      long: "--share",
      value: "NAME=FOLDER",
      repeat: "list",
      help: "Offer the folder under this name; may be given several times",
    },
    minFree,
    {
      long: "--backup-dir",
      value: "SHARE=FOLDER",
      repeat: "list",
      help:
        "Keep what is deleted in the share, replaced by another file, or changed before it is " +
        "live, in FOLDER/TIME/PATH; on the share's filesystem, outside of every share; may be " +
        "given several times",
    },
    backupKeep,
    durabilityOption,
  ],
  commands: [],
  examples: [
    {
      line: "lockstep serve --listen [::]:7420 --share site=/srv/site",
      help: "Offer /srv/site as the share site",
    },
  ],
};

const idCommand: CommandRow = {
  name: "id",
  summary: "Print this device's ID",
  description: [
    "Prints the ID alone, so that scripts can use it. The key behind it is made at first " +
      "use and kept in the state directory, readable by its owner only.",
  ],
  arguments: [],
  options: [],
  commands: [],
  examples: [{ line: "lockstep id", help: "The ID that others add with `lockstep peers add`" }],
};

const pairCommand: CommandRow = {
  name: "pair",
  summary: "Make two devices know each other, by a one-time ticket",
  description: [
    "Without TICKET: prints a ticket and waits for the other device. With TICKET: joins the " +
      "device that printed it. Afterwards each is in the other's list of peers.",
    "A ticket is a secret, works once and expires. Give `-` as TICKET to read it from " +
      "standard input, where other users of this machine cannot see it.",
  ],
  arguments: [
    {
      name: "TICKET",
      help: "What `lockstep pair` printed on the other device, or - for standard input",
      required: false,
      variadic: false,
    },
  ],
  options: [
    {
      long: "--listen",
      value: "HOST:PORT",
      help: "Where to wait for the other device; port 7421 of every address if absent",
    },
    {
      long: "--expires",
      value: "TIME",
      help: "How long the ticket is valid, such as 90s, 10m or 2h; 10m if absent",
    },
    {
      long: "--address",
      value: "HOST:PORT",
      repeat: "list",
      help:
        "Without TICKET: an address to write into it, when others reach this device elsewhere " +
        "than where it listens. With TICKET: where the other device is",
    },
    {
      long: "--name",
      value: "NAME",
      help: "What this device calls itself; its host name if absent",
    },
    {
      long: "--grant",
      value: "SHARE:RIGHT",
      repeat: "list",
      help: "Grant the other device `send` or `receive` on a share here, as `peers grant` does",
    },
  ],
  commands: [],
  examples: [
    { line: "lockstep pair --grant site:send", help: "On the target: invite, and let it send" },
    { line: "lockstep pair TICKET", help: "On the source: join" },
  ],
};

const peersCommand: CommandRow = {
  name: "peers",
  summary: "List the paired devices, or change the list",
  description: [
    "Without a command, lists the devices with their addresses and grants. A device that is " +
      "not in the list gets no link. Changes count at once, also for running commands.",
  ],
  arguments: [],
  options: [],
  commands: [
    {
      name: "add",
      summary: "Add a device by its ID, or give a known one a new address",
      description: [
        "Both devices must add each other; `lockstep pair` does that with a ticket. Grants stay.",
      ],
      arguments: [
        {
          name: "ID",
          help: "What `lockstep id` prints on the other device",
          required: true,
          variadic: false,
        },
      ],
      options: [
        name,
        {
          long: "--address",
          value: "HOST:PORT",
          repeat: "list",
          help: "Where the device listens; may be given several times",
        },
      ],
      commands: [],
      examples: [],
    },
    {
      name: "remove",
      summary: "Forget a device and its grants",
      description: [],
      arguments: [peer],
      options: [],
      commands: [],
      examples: [],
    },
    {
      name: "rename",
      summary: "Change what this list calls a device",
      description: [],
      arguments: [peer, { name: "NAME", help: "The new name", required: true, variadic: false }],
      options: [],
      commands: [],
      examples: [],
    },
    {
      name: "grant",
      summary: "Give a device a right on a share of this device",
      description: ["At least one of --send and --receive is needed."],
      arguments: [peer, share],
      options: grantOptions,
      commands: [],
      examples: [],
    },
    {
      name: "revoke",
      summary: "Take rights on a share back; both if none is named",
      description: [],
      arguments: [peer, share],
      options: [
        { long: "--send", help: "The peer may no longer send into the share" },
        { long: "--receive", help: "The peer may no longer receive the share" },
      ],
      commands: [],
      examples: [],
    },
  ],
  examples: [
    { line: "lockstep peers", help: "Who may connect, and to what" },
    {
      line: "lockstep peers grant laptop site --send",
      help: "Let laptop mirror into this device's share site",
    },
  ],
};

const statusCommand: CommandRow = {
  name: "status",
  summary: "Show every running sync and serve of this user",
  description: [
    "Lag: how long the newest epoch took. Cut: the age of its moment. Fuzzy: not of one moment.",
  ],
  arguments: [],
  options: [],
  commands: [],
  examples: [{ line: "lockstep status --json", help: "One JSON object for each process" }],
};

const verifyCommand: CommandRow = {
  name: "verify",
  summary: "Compare two folders, or a folder and a share, completely",
  description: [
    "Compares names, kinds, content, modes, owners, times, extended attributes, links and " +
      "holes, by code of its own. Works on a live pair: what is changing is looked at again.",
    "TARGET is a folder of this machine, or a share of another device: " +
      "lockstep://DEVICE[@HOST:PORT]/SHARE[/FOLDER]. A share is compared by hashes, not by " +
      "sending what it has; the device needs the grant to send into it, and a mirror to it may " +
      "be running. Exit code 4 when the link is lost: --resume goes on.",
    "What a sync from SOURCE with the same options would ignore is not compared.",
    "How far it came is kept in the state directory, so that --resume can go on. It looks at " +
      "nothing again, and does not see hard links between what it compared before and after.",
    "The exit code is 0 when nothing differs, 1 when something differs, could not be read, " +
      "or the comparison was interrupted.",
  ],
  arguments: [
    { ...source, help: "One folder" },
    {
      name: "TARGET",
      help: "The folder or share to compare it with",
      required: true,
      variadic: false,
    },
  ],
  options: [
    { long: "--no-content", help: "Compare everything but the bytes of files" },
    {
      long: "--rate",
      value: "BYTES",
      help: "Read at most so many bytes of files a second on each side, such as 500k or 20M",
    },
    {
      long: "--resume",
      help: "Go on where the last comparison of the two, with the same options, was interrupted",
    },
    ...ignoreOptions,
    {
      long: "--cross-mounts",
      help: "Compare filesystems mounted below SOURCE, too, as a sync with it follows them",
    },
  ],
  commands: [],
  examples: [
    { line: "lockstep verify /srv/data /mnt/copy", help: "Is the copy a copy?" },
    {
      line: "lockstep verify /srv/data lockstep://DEVICE@10.0.0.2:7420/site",
      help: "And the share?",
    },
  ],
};

const doctorCommand: CommandRow = {
  name: "doctor",
  summary: "Check whether and how well a sync would work here",
  description: [
    "Tries each way to notice changes on SOURCE, and looks at the kernel, privileges, " +
      "filesystems, limits and paired devices. Every line says OK, WARN or FAIL, and what to " +
      "do. Nothing is written into SOURCE. The exit code is 0 when a sync would work and 1 " +
      "when not.",
  ],
  arguments: [
    {
      name: "SOURCE",
      help: "The folder to mirror; the current one if absent",
      required: false,
      variadic: false,
    },
    {
      name: "TARGET",
      help: "Where to, as for `lockstep sync`",
      required: false,
      variadic: false,
    },
  ],
  options: [],
  commands: [],
  examples: [{ line: "lockstep doctor /srv/data /mnt/copy", help: "Would this sync work?" }],
};

const resumeCommand: CommandRow = {
  name: "resume",
  summary: "Let halted syncs go on, after a look at what halted them",
  description: [
    "A sync halts when the source's folder is gone, emptied or another one, and before it " +
      "deletes more than --max-delete; `lockstep status` says why. This command says that you " +
      "have looked: what was to be deleted is deleted then, and the folder that is there now is " +
      "the source. An empty one is asked about once more. A target short of space is filled " +
      "further.",
    "Everything that is halted goes on, or with --source that sync alone. When nothing is " +
      "halted the exit code is 1.",
  ],
  arguments: [],
  options: [{ long: "--source", value: "FOLDER", help: "Only the sync with this source" }],
  commands: [],
  examples: [{ line: "lockstep resume", help: "Yes, it was meant" }],
};

const helpCommand: CommandRow = {
  name: "help",
  summary: "Show help on Lockstep or on a command",
  description: [],
  arguments: [{ name: "COMMAND", help: "The command", required: false, variadic: true }],
  options: [],
  commands: [],
  examples: [{ line: "lockstep help peers add", help: "" }],
};

export const commandTable: readonly CommandRow[] = [
  syncCommand,
  serveCommand,
  idCommand,
  pairCommand,
  peersCommand,
  statusCommand,
  flushCommand,
  snapshotCommand,
  promoteCommand,
  resumeCommand,
  verifyCommand,
  doctorCommand,
  helpCommand,
];

/** Planned and not built: refused by name, so that nobody takes a typing mistake for the cause. */
export const plannedCommands: readonly string[] = ["rendezvous", "top", "pause", "config", "bench"];
export const plannedOptions: readonly string[] = [
  "--compress",
  "--bwlimit",
  "--dry-run",
  "--install-remote",
  "--stdio",
];
/** Values of options with choices. */
export const plannedValues: readonly string[] = ["poll"];

export interface VariableRow {
  readonly name: string;
  readonly help: string;
}

export const variableTable: readonly VariableRow[] = [
  { name: "STATE_DIRECTORY", help: "The state directory; systemd sets it for a service" },
  { name: "XDG_STATE_HOME", help: "Otherwise the state directory is `lockstep` in here" },
  { name: "HOME", help: "Otherwise it is `.local/state/lockstep` in here" },
  {
    name: "CREDENTIALS_DIRECTORY",
    help: "Where systemd puts credentials; one called `key` is this device's key",
  },
];

export const fileTable: readonly VariableRow[] = [
  { name: "key", help: "This device's private key, in the state directory; never copy it" },
  { name: "peers.json", help: "The paired devices and their grants" },
  { name: "run/PID.sock", help: "Where `lockstep status`, `flush` and `resume` ask a process" },
];
