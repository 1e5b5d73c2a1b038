/**
 * Writes the generated parts of the tree: test/all.ts, which imports every test so that one
 * process runs them all, and the two tables of ERRORS.md.
 *
 * In: the paths of the tree, errorTable and ExitCode. Out: texts; `npm run gen` writes them, and
 * tools/tidy.ts fails when what is committed differs.
 * Why one process: Node 20 takes 13 to 15 s for 60 test files with a process each, and under 1 s
 * for all of them in one; the list is explicit because `node --test` globs differ between versions.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorTable, ExitCode } from "../src/base/index.ts";
import { isMain, readTree, rootPath } from "./source-tree.ts";

/** One row of the taxonomy: how a caller reacts, the exit code, what the user can do. */
export interface ErrorRow {
  readonly kind: string;
  readonly exit: number;
  readonly advice: string;
}

/** The text of test/all.ts for a tree with these paths; the order is that of the alphabet. */
export function renderTestList(paths: Iterable<string>): string {
  const pattern = /^(src|test|tools|bench)\/.*\.test\.ts$/;
  const tests = [...paths].filter((path) => pattern.test(path)).sort();
  const header = [
    "/**",
    " * Every test of the tree, for one `node --test` process. Generated: `npm run gen`.",
    " */",
  ];
  const imports = tests.map((path) => `import "${importPath(path)}";`);
  return [...header, ...imports, ""].join("\n");
}

function importPath(path: string): string {
  return path.startsWith("test/") ? `./${path.slice("test/".length)}` : `../${path}`;
}

/** The Markdown table of codes between the `errors` markers of ERRORS.md. */
export function renderErrorTable(table: Readonly<Record<string, ErrorRow>>): string {
  const rows = Object.entries(table).map(
    ([code, row]) => `| ${code} | ${row.kind} | ${row.exit} | ${cell(row.advice)} |`,
  );
  return ["| code | kind | exit | what to do |", "|---|---|---|---|", ...rows].join("\n");
}

/** The Markdown table between the `exits` markers of ERRORS.md. */
export function renderExitTable(exits: Readonly<Record<string, number>>): string {
  const rows = Object.entries(exits).map(
    ([name, exit]) => `| ${exit} | ${name} | ${exitMeanings[name] ?? "undocumented"} |`,
  );
  return ["| exit code | name | meaning |", "|---|---|---|", ...rows].join("\n");
}

const exitMeanings: Readonly<Record<string, string>> = {
  done: "done, or stopped by a signal after draining",
  differences: "`verify` found differences, or problems with single paths remained",
  usage: "the command line was not understood",
  cannotStart: "cannot start: privilege, path or configuration",
  peer: "the peer is unreachable, refused, or broke the protocol",
  halted: "safety halt: a person must look before anything is deleted",
  internal: "an internal error; please report it with the log",
};

/** Text that cannot break out of a Markdown table cell. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/**
 * `text` with the part between `<!-- NAME:begin -->` and `<!-- NAME:end -->` replaced by `body`;
 * undefined when the markers are absent or in the wrong order.
 */
export function replaceBetweenMarkers(
  text: string,
  name: string,
  body: string,
): string | undefined {
  const begin = `<!-- ${name}:begin -->`;
  const end = `<!-- ${name}:end -->`;
  const beginIndex = text.indexOf(begin);
  const endIndex = text.indexOf(end);
  if (beginIndex === -1 || endIndex < beginIndex) return undefined;
  const before = text.slice(0, beginIndex + begin.length);
  return `${before}\n${body}\n${text.slice(endIndex)}`;
}

/** ERRORS.md as it should be, from its present text; undefined when its markers are missing. */
export function renderErrorsPage(
  page: string,
  table: Readonly<Record<string, ErrorRow>>,
  exits: Readonly<Record<string, number>>,
): string | undefined {
  const withCodes = replaceBetweenMarkers(page, "errors", renderErrorTable(table));
  if (withCodes === undefined) return undefined;
  return replaceBetweenMarkers(withCodes, "exits", renderExitTable(exits));
}

function main(): void {
  writeFileSync(join(rootPath, "test/all.ts"), renderTestList(readTree().keys()));
  const pagePath = join(rootPath, "ERRORS.md");
  const page = renderErrorsPage(readFileSync(pagePath, "utf8"), errorTable, ExitCode);
  if (page === undefined) throw new Error("ERRORS.md has lost its begin/end markers");
  writeFileSync(pagePath, page);
}

if (isMain(import.meta.url)) main();
