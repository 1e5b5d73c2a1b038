/**
 * The house rules that neither the compiler nor the linter knows, as one check of the whole tree.
 *
 * In: the checkout (or, in tests, any map of path to text). Out: findings, one a line, and per rule
 * how many things it looked at. A rule that looked at nothing fails too: a checker that passes on
 * no input is worse than none.
 * Run: `npm run check`, or `node dist/tools/tidy.js` after a build.
 */
import { errorTable, ExitCode } from "../src/base/index.ts";
import { isMain, readTree } from "./source-tree.ts";
import type { SourceTree } from "./source-tree.ts";
import * as files from "./tidy-files.ts";
import * as imports from "./tidy-imports.ts";
import * as pages from "./tidy-pages.ts";

export interface Report {
  /** Rule -> what it found among how many things. */
  readonly results: ReadonlyMap<string, imports.RuleResult>;
  /** Everything that is wrong, ready to print; empty when the tree is tidy. */
  readonly complaints: readonly string[];
}

/** Checks a whole tree. Pure; never throws on data, except when package.json is not JSON. */
export function tidy(tree: SourceTree, taxonomy: pages.Taxonomy): Report {
  const list = imports.listImports(tree);
  const results = new Map<string, imports.RuleResult>([
    ["direction", imports.checkDirection(list)],
    ["doors", imports.checkDoors(tree, list)],
    ["foreign imports", imports.checkForeignImports(tree, list)],
    ["dead files", imports.checkDeadFiles(tree, list)],
    ["names", files.checkNames(tree)],
    ["length", files.checkLength(tree)],
    ["columns", files.checkColumns(tree)],
    ["headers", files.checkHeaders(tree)],
    ["open work", files.checkOpenWork(tree)],
    ["test list", pages.checkTestList(tree)],
    ["errors", pages.checkErrorsPage(tree, taxonomy)],
    ["limits", pages.checkLimits(tree)],
    ["room table", pages.checkRoomTable(tree)],
    ["dependencies", pages.checkDependencies(tree)],
  ]);
  const complaints: string[] = [];
  for (const [rule, { checkedCount, findings }] of results) {
    if (checkedCount === 0) complaints.push(`${rule}: looked at nothing`);
    for (const { path, message } of findings) complaints.push(`${path}: ${message} [${rule}]`);
  }
  return { results, complaints };
}

function main(): void {
  const { results, complaints } = tidy(readTree(), { errorTable, exitCodes: ExitCode });
  for (const complaint of complaints) console.error(complaint);
  const counts = [...results].map(([rule, { checkedCount }]) => `${rule} ${checkedCount}`);
  console.log(`tidy: ${complaints.length} complaints; looked at ${counts.join(", ")}`);
  if (complaints.length > 0) process.exitCode = 1;
}

if (isMain(import.meta.url)) main();
