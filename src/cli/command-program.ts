/**
 * The parser: turns the argument table into a commander program, and arguments into an invocation.
 *
 * In: the arguments after the program's name. Out: which command, its arguments and options; or the
 * request for help or the version; or a SyncError USAGE whose message says what is wrong, what was
 * probably meant, and whether the thing is planned and not built. Prints nothing itself.
 */
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { SyncError } from "../base/index.ts";
import {
  commandTable,
  globalOptions,
  plannedCommands,
  plannedOptions,
  plannedValues,
  programName,
  programSummary,
} from "./argument-table.ts";
import type { CommandRow, OptionRow } from "./argument-table.ts";
import { closestWord } from "./closest-word.ts";

export interface GlobalOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: number;
  readonly logLevel: "error" | "warn" | "info" | "debug" | undefined;
}

export type OptionValue = string | boolean | readonly string[] | undefined;

export interface Invocation {
  readonly kind: "command";
  /** Names from the top, `peers add`. */
  readonly command: string;
  readonly arguments: readonly string[];
  readonly options: Readonly<Record<string, OptionValue>>;
  readonly global: GlobalOptions;
}

export type Parsed =
  | Invocation
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version" };

class VersionRequested extends Error {}

/** Parses arguments. Errors: USAGE. */
export async function parseArguments(args: readonly string[]): Promise<Parsed> {
  let found: Invocation | undefined;
  let helpText = "";
  const root = buildProgram((command, options) => {
    found = {
      kind: "command",
      command: pathOf(command),
      arguments: command.args,
      options,
      global: command.optsWithGlobals<GlobalOptions>(),
    };
  });
  forEachCommand(root, (command) => {
    command.exitOverride();
    command.configureOutput({ writeOut: (text) => (helpText += text), writeErr: () => {} });
  });
  try {
    await root.parseAsync(args, { from: "user" });
  } catch (error) {
    if (error instanceof VersionRequested) return { kind: "version" };
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === "commander.helpDisplayed") return { kind: "help", text: helpText };
    throw usageError(error, root);
  }
  if (found === undefined) throw new SyncError("USAGE", "no command");
  return found.command === "help" ? { kind: "help", text: helpOn(root, found) } : found;
}

/** The help of each command, by its path; the program's own is under the empty one. */
export function helpTexts(): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  forEachCommand(
    buildProgram(() => {}),
    (command) => texts.set(pathOf(command), helpOf(command)),
  );
  return texts;
}

type Found = (command: Command, options: Record<string, OptionValue>) => void;

function buildProgram(found: Found): Command {
  const root = new Command(programName).helpCommand(false);
  root.description(`Lockstep ${programSummary}.`);
  root.helpOption("-h, --help", optionRow("--help").help);
  for (const row of globalOptions) {
    if (row.long !== "--help") root.addOption(makeOption(row));
  }
  root.on("option:version", () => {
    throw new VersionRequested();
  });
  for (const row of commandTable) root.addCommand(makeCommand(row, found));
  root.addHelpText("after", "\n`lockstep help COMMAND` says more. Manual page: man lockstep");
  return root;
}

function makeCommand(row: CommandRow, found: Found): Command {
  const command = new Command(row.name).helpCommand(false).summary(row.summary);
  command.description([`${row.summary}.`, ...row.description].join("\n\n"));
  command.helpOption("-h, --help", optionRow("--help").help);
  command.configureHelp({ showGlobalOptions: true });
  for (const argument of row.arguments) {
    const text = argument.variadic ? `${argument.name}...` : argument.name;
    command.addArgument(new Argument(argument.required ? `<${text}>` : `[${text}]`, argument.help));
  }
  for (const option of row.options) command.addOption(makeOption(option));
  for (const below of row.commands) command.addCommand(makeCommand(below, found));
  // What is surplus is judged in the action, as it may be planned or a mistyped command.
  command.allowExcessArguments(true);
  command.action((...values: unknown[]) => {
    checkSurplus(row, command);
    found(command, values.at(-2) as Record<string, OptionValue>);
  });
  if (row.examples.length > 0) {
    const lines = row.examples.map(({ line, help }) => `  ${line}${help && `\n      ${help}`}`);
    command.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
  }
  return command;
}

function makeOption(row: OptionRow): Option {
  const head = row.short === undefined ? row.long : `${row.short}, ${row.long}`;
  const option = new Option(row.value === undefined ? head : `${head} <${row.value}>`, row.help);
  // Without its own `choices`, whose message knows neither suggestions nor what is planned.
  const { choices } = row;
  if (choices !== undefined) {
    option.argChoices = [...choices];
    option.argParser((value) => checkChoice(value, choices));
  }
  if (row.repeat === "count") {
    option.default(0).argParser((_value, before: number) => before + 1);
  }
  if (row.repeat === "list") {
    option.argParser((value, before: readonly string[] | undefined) => [...(before ?? []), value]);
  }
  if (row.default !== undefined) option.default(row.default);
  if (row.conflicts !== undefined) option.conflicts([...row.conflicts]);
  return option;
}

function checkChoice(value: string, choices: readonly string[]): string {
  if (choices.includes(value)) return value;
  if (plannedValues.includes(value)) {
    throw new InvalidArgumentError(`'${value}' is not available in this version.`);
  }
  const meant = closestWord(value, choices);
  const hint = meant === undefined ? "" : ` Did you mean ${meant}?`;
  throw new InvalidArgumentError(`Allowed values are ${choices.join(", ")}.${hint}`);
}

function checkSurplus(row: CommandRow, command: Command): void {
  const { args } = command;
  const isOpen = row.arguments.some(({ variadic }) => variadic);
  const surplus = args[row.arguments.length];
  if (isOpen || surplus === undefined) return;
  if (row.commands.length > 0) throw unknownCommand(surplus, namesOf(row.commands), `${row.name} `);
  throw new SyncError("USAGE", `${pathOf(command)}: one argument too many, '${surplus}'`);
}

function namesOf(rows: readonly CommandRow[]): string[] {
  return rows.map((row) => row.name);
}

/** Commander's complaint in this program's words. */
function usageError(error: CommanderError, root: Command): SyncError {
  if (error.code === "commander.help") {
    return new SyncError("USAGE", `a command is needed: ${namesOf(commandTable).join(", ")}`);
  }
  const quoted = /'([^']*)'/.exec(error.message)?.[1] ?? "";
  if (error.code === "commander.unknownCommand") {
    return unknownCommand(root.args[0] ?? quoted, namesOf(commandTable), "");
  }
  if (error.code === "commander.unknownOption") {
    const long = quoted.split("=")[0] ?? "";
    if (plannedOptions.includes(long)) {
      return new SyncError("USAGE", `option ${long} is not available in this version`);
    }
  }
  const text = error.message.replace(/^error: /, "").replace(/\n\((.*)\)$/, ". $1");
  return new SyncError("USAGE", text);
}

function unknownCommand(word: string, known: readonly string[], path: string): SyncError {
  if (plannedCommands.includes(word) && path === "") {
    return new SyncError("USAGE", `command ${word} is not available in this version`);
  }
  const meant = closestWord(word, known);
  const hint = meant === undefined ? "" : `. Did you mean ${path}${meant}?`;
  return new SyncError("USAGE", `unknown command '${path}${word}'${hint}`);
}

function helpOn(root: Command, { arguments: names }: Invocation): string {
  let command = root;
  const path: string[] = [];
  for (const name of names) {
    const next = command.commands.find((below) => below.name() === name);
    if (next === undefined) {
      const known = command.commands.map((below) => below.name());
      throw unknownCommand(name, known, path.map((part) => `${part} `).join(""));
    }
    path.push(name);
    command = next;
  }
  return helpOf(command);
}

/** With what addHelpText adds, which helpInformation alone leaves out. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

function pathOf(command: Command): string {
  const names: string[] = [];
  for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name());
  return names.join(" ");
}

function forEachCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const below of command.commands) forEachCommand(below, visit);
}

function optionRow(long: string): OptionRow {
  const row = globalOptions.find((option) => option.long === long);
  if (row === undefined) throw new Error(`no option ${long}`);
  return row;
}
