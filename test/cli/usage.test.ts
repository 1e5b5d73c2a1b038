/** Bad usage, help and version of the real program: exit codes, messages, what goes where. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  commandTable,
  globalOptions,
  helpTexts,
  parseArguments,
  plannedCommands,
  plannedOptions,
} from "../../src/cli/index.ts";
import type { CommandRow } from "../../src/cli/index.ts";
import { rootPath } from "../../tools/source-tree.ts";
import { eventsOf, makeHome, runProgram, Running, scratchFolder, stateDirOf } from "./program.ts";

/** Arguments that the parser refuses, and what the message must say. */
const badUsage: readonly (readonly [string, RegExp])[] = [
  ["", /a command is needed: sync, serve/],
  ["snyc a b", /unknown command 'snyc'\. Did you mean sync\?/],
  ["xyzzy", /unknown command 'xyzzy'$/],
  ["sync", /missing required argument 'SOURCE'/],
  ["sync a", /missing required argument 'TARGET'/],
  ["sync a b --onec", /unknown option '--onec'\. Did you mean --once\?/],
  ["sync a b --backend", /option '--backend <NAME>' argument missing/],
  ["sync a b --backend poll", /'poll' is not available in this version/],
  ["sync a b --backend ebfp", /Allowed values are auto, ebpf.*Did you mean ebpf\?/],
  ["sync a b --log-level loud", /Allowed values are error, warn, info, debug/],
  ["sync a b -q -v", /'-q, --quiet' cannot be used with option '-v, --verbose'/],
  ["sync a b --max-delete", /option '--max-delete <LIMIT>' argument missing/],
  ["sync a b --durability disk", /Allowed values are process, power/],
  ["sync a b --durability", /option '--durability <LEVEL>' argument missing/],
  ["sync a b --consistency exact", /Allowed values are bounded, strict/],
  ["serve --durability strict", /Allowed values are process, power/],
  ["promote", /missing required argument 'TARGET'/],
  ["promote a b", /one argument too many/],
  ["serve extra", /serve: one argument too many, 'extra'/],
  ["id extra", /id: one argument too many, 'extra'/],
  ["status extra", /one argument too many/],
  ["doctor a b c", /one argument too many/],
  ["verify a", /missing required argument 'TARGET'/],
  ["verify a b c", /one argument too many/],
  ["peers lsit", /unknown command 'peers lsit'/],
  ["peers ad X", /unknown command 'peers ad'\. Did you mean peers add\?/],
  ["peers add", /missing required argument 'ID'/],
  ["help snyc", /unknown command 'snyc'\. Did you mean sync\?/],
  ["help peers ad", /unknown command 'peers ad'\. Did you mean peers add\?/],
  ...plannedCommands.map((name) => [name, /is not available in this version/] as const),
  ...plannedOptions.map((name) => [`sync a b ${name} 1`, /is not available in/] as const),
];

/** A few of those, and what only the command itself can refuse. */
const badUsageOfProgram: readonly (readonly [string, RegExp])[] = [
  ["", /a command is needed/],
  ["snyc a b", /Did you mean sync\?/],
  ["sync a b --dry-run", /not available in this version/],
  ["sync . user@host:/path", /ssh are not available in this version/],
  ["sync . lockstep://nobody/share", /device ID/],
  ["sync . ../b --max-delete lots", /expected a count or a percentage/],
  ["serve", /at least one --share/],
  ["serve --share nonsense", /expected NAME=PATH/],
  ["peers add nonsense", /device ID/],
  ["peers remove nobody", /no peer "nobody"/],
  ["peers grant nobody share --send", /no peer "nobody"/],
  ["pair nonsense", /not a pairing ticket/],
  ["pair --expires never", /expected a time such as 90s/],
  ["pair --grant site", /expected SHARE:send or SHARE:receive/],
  ["pair --listen nowhere", /not an address/],
];

const atOnceCount = 3;

/** Runs `work` on each item, a few at a time. */
async function forEachAtOnce<T>(items: readonly T[], work: (item: T) => Promise<void>) {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: atOnceCount }, worker));
}

function wordsOf(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}

test("bad usage is refused by the parser, with what was probably meant", async () => {
  for (const [line, message] of badUsage) {
    await assert.rejects(parseArguments(wordsOf(line)), { code: "USAGE", message }, line);
  }
});

test("bad usage ends with code 2, says why on standard error, and nothing else", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  await forEachAtOnce(badUsageOfProgram, async ([line, message]) => {
    const { exit, stdout, stderr } = await runProgram(t, wordsOf(line), { home });
    assert.equal(exit, 2, `${line}: ${stdout}${stderr}`);
    assert.match(stderr, /^lockstep: USAGE: .+\n {2}see `lockstep help`\n$/, line);
    assert.match(stderr, message, line);
    assert.equal(stdout, "", line);
  });
});

test("nothing planned is in the table of what works", () => {
  const names = (rows: readonly CommandRow[]): string[] =>
    rows.flatMap((row) => [
      row.name,
      ...row.options.map(({ long }) => long),
      ...names(row.commands),
    ]);
  const working = new Set([...names(commandTable), ...globalOptions.map(({ long }) => long)]);
  for (const name of [...plannedCommands, ...plannedOptions]) assert.ok(!working.has(name), name);
});

test("an error with --json is one event on standard output, wherever --json stands", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  for (const args of [
    ["--json", "snyc"],
    ["sync", "a", "--json"],
    ["verify", "/nowhere/at/all", "/", "--json"],
  ]) {
    const { exit, stdout, stderr } = await runProgram(t, args, { home });
    const [event, ...more] = eventsOf(stdout);
    assert.equal(more.length, 0);
    assert.equal(event?.["event"], "end");
    assert.equal(event?.["exit"], exit);
    assert.ok(stderr.includes(`lockstep: ${String(event?.["code"])}: `), stderr);
  }
});

test("help names every option, argument and command", async () => {
  const visit = async (path: readonly string[], row: CommandRow): Promise<void> => {
    const parsed = await parseArguments(["help", ...path]);
    assert.ok(parsed.kind === "help");
    const wanted = [
      `lockstep ${path.join(" ")}`,
      ...[...row.options, ...globalOptions].map(({ long }) => long),
      ...row.arguments.map(({ name }) => name),
      ...row.commands.map(({ name }) => name),
      ...row.examples.map(({ line }) => line),
    ];
    for (const text of wanted) assert.ok(parsed.text.includes(text), `${path.join(" ")}: ${text}`);
    assert.deepEqual(await parseArguments([...path, "--help"]), parsed);
    assert.equal(helpTexts().get(path.join(" ")), parsed.text);
    for (const below of row.commands) await visit([...path, below.name], below);
  };
  for (const row of commandTable) await visit([row.name], row);
});

test("--help lists every command and global option", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  const { exit, stdout, stderr } = await runProgram(t, ["--help"], { home });
  assert.deepEqual([exit, stderr], [0, ""]);
  for (const { name } of commandTable) assert.match(stdout, new RegExp(`^ +${name}\\b`, "m"));
  for (const { long } of globalOptions) assert.ok(stdout.includes(long), long);
});

test("--version is that of package.json", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  const manifest = JSON.parse(readFileSync(join(rootPath, "package.json"), "utf8")) as {
    version: string;
  };
  const outcome = await runProgram(t, ["--version"], { home });
  assert.deepEqual(outcome, { exit: 0, stdout: `${manifest.version}\n`, stderr: "" });
  assert.deepEqual(await parseArguments(["-V"]), { kind: "version" });
});

test("a reader of the output that goes away is no error, and ends a sync", async (t) => {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  mkdirSync(source);
  for (const args of [["help"], ["sync", source, target, "--json", "--backend", "inotify"]]) {
    const running = new Running(t, args, { home, stdin: "" });
    running.dropOutput();
    const { exit, stderr } = await running.end();
    assert.deepEqual([exit, stderr], [0, ""], args.join(" "));
  }
});

test("a signal ends a command that has nothing to drain, with its own code", async (t) => {
  const folder = scratchFolder(t);
  for (const [signal, exit] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    const home = makeHome(folder, signal);
    // Waits for its standard input, which stays open; makes its key just before.
    const running = new Running(t, ["pair", "-"], { home });
    await running.until("made its key", () => existsSync(join(stateDirOf(home), "key")));
    running.kill(signal);
    assert.equal((await running.end()).exit, exit);
  }
});
