/**
 * Writes man/lockstep.1, the manual page, from the argument table and the exit codes.
 *
 * In: src/cli's table, ExitCode with its meanings. Out: troff of the man macros, without a date, so
 * that the same table gives the same bytes; test/cli/manual.test.ts compares what is committed.
 * Source: man(7), man-pages(7).
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ExitCode } from "../src/base/index.ts";
import {
  commandTable,
  fileTable,
  globalOptions,
  programName,
  programSummary,
  variableTable,
} from "../src/cli/index.ts";
import type { ArgumentRow, CommandRow, OptionRow, VariableRow } from "../src/cli/index.ts";
import { renderExitTable } from "./gen-all.ts";
import { isMain, rootPath } from "./source-tree.ts";

export const manPath: string = join(rootPath, "man/lockstep.1");

/** The whole page. */
export function renderManPage(version: string): string {
  const lines = [
    '.\\" Generated: npm run gen. Edit src/cli/argument-table.ts instead.',
    `.TH LOCKSTEP 1 "" "lockstep ${version}" "User Commands"`,
    // Names of options and addresses must not be broken into two lines.
    ".nh",
    ".ad l",
    ".SH NAME",
    `${programName} \\- ${escape(programSummary)}`,
    ".SH SYNOPSIS",
    ...commandTable.flatMap((row) => synopses(row, programName)),
    ".SH DESCRIPTION",
    escape(
      "Lockstep mirrors a folder into another one, on the same machine or on a paired one, " +
        "with the smallest possible delay. The kernel tells it which bytes were just written, " +
        "and it sends exactly those. Each state of the target is one that the source has had.",
    ),
    ".SH COMMANDS",
    ...commandTable.flatMap((row) => commandLines(row, programName)),
    ".SH GLOBAL OPTIONS",
    ...globalOptions.flatMap(optionLines),
    ".SH EXIT STATUS",
    ...exitLines(),
    ".SH ENVIRONMENT",
    ...variableTable.flatMap(variableLines),
    ".SH FILES",
    "In the state directory:",
    ...fileTable.flatMap(variableLines),
    ".SH SEE ALSO",
    ".BR fanotify (7),",
    ".BR inotify (7),",
    ".BR capabilities (7)",
  ];
  return `${lines.join("\n")}\n`;
}

function synopses(row: CommandRow, path: string): string[] {
  const name = `${path} ${row.name}`;
  const options = row.options.map((option) => `[${optionHead(option).replace(/^.*, /, "")}]`);
  const words = [bold(name), ...options, ...row.arguments.map(argumentHead)];
  return [words.join(" "), ".br", ...row.commands.flatMap((below) => synopses(below, name))];
}

function commandLines(row: CommandRow, path: string): string[] {
  const name = `${path} ${row.name}`;
  const words = [name, ...row.arguments.map(plainArgument)];
  const paragraphs = [`${row.summary}.`, ...row.description];
  return [
    `.SS ${escape(words.join(" "))}`,
    ...paragraphs.flatMap((text, index) => [...(index === 0 ? [] : [".PP"]), escape(text)]),
    ...row.arguments.flatMap(argumentLines),
    ...row.options.flatMap(optionLines),
    ...row.examples.flatMap(({ line, help }) => [
      ".PP",
      escape(help === "" ? "Example:" : `Example: ${help}`),
      ".PP",
      ".in +4n",
      ".EX",
      escape(line),
      ".EE",
      ".in",
    ]),
    ...row.commands.flatMap((below) => commandLines(below, name)),
  ];
}

function argumentLines(row: ArgumentRow): string[] {
  return [".TP", `\\fI${escape(row.name)}\\fR`, `${escape(row.help)}.`];
}

function plainArgument(row: ArgumentRow): string {
  const text = row.variadic ? `${row.name}...` : row.name;
  return row.required ? text : `[${text}]`;
}

function argumentHead(row: ArgumentRow): string {
  const text = `\\fI${escape(row.name)}\\fR${row.variadic ? "..." : ""}`;
  return row.required ? text : `[${text}]`;
}

function optionLines(row: OptionRow): string[] {
  const notes = [`${escape(row.help)}.`];
  if (row.choices !== undefined) notes.push(escape(`One of ${row.choices.join(", ")}.`));
  if (row.default !== undefined) notes.push(escape(`Default: ${row.default}.`));
  return [".TP", optionHead(row), notes.join(" ")];
}

function optionHead(row: OptionRow): string {
  const names = [row.short, row.long].filter((name) => name !== undefined).map(bold);
  const value = row.value === undefined ? "" : ` \\fI${escape(row.value)}\\fR`;
  return names.join(", ") + value;
}

function variableLines({ name, help }: VariableRow): string[] {
  return [".TP", bold(name), `${escape(help)}.`];
}

/** From the table of ERRORS.md, so that the meanings are written once. */
function exitLines(): string[] {
  const rows = renderExitTable(ExitCode).split("\n").slice(2);
  return rows.flatMap((row) => {
    const [, code = "", , meaning = ""] = row.split("|").map((cell) => cell.trim());
    return [".TP", bold(code), `${escape(meaning)}.`];
  });
}

function bold(text: string): string {
  return `\\fB${escape(text)}\\fR`;
}

/** Backslashes, hyphens that must stay hyphens, and what a line must not begin with. */
function escape(text: string): string {
  const plain = text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("~", "\\(ti");
  const code = plain.replaceAll(/`([^`]*)`/g, "\\fB$1\\fR");
  return /^[.']/.test(code) ? `\\&${code}` : code;
}

async function main(): Promise<void> {
  const { programVersion } = await import("../src/session/index.ts");
  mkdirSync(dirname(manPath), { recursive: true });
  writeFileSync(manPath, renderManPage(programVersion));
}

if (isMain(import.meta.url)) await main();
