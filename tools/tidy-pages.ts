/**
 * The rules that hold documents to the code: ERRORS.md, LIMITS.md, docs/dependencies.md, the
 * table of rooms in ARCHITECTURE.md; and test/all.ts to the tests.
 *
 * In: the source tree and the error taxonomy. Out: findings with counts, both directions compared:
 * what the code has and the page lacks, and what the page has and the code lacks.
 */
import type { ErrorRow } from "./gen-all.ts";
import { renderErrorsPage, renderTestList } from "./gen-all.ts";
import type { SourceTree } from "./source-tree.ts";
import type { Finding, RuleResult } from "./tidy-imports.ts";
import { isTest, listPackages, roomImports } from "./tidy-imports.ts";

/** What src/base/errors.ts exports. */
export interface Taxonomy {
  readonly errorTable: Readonly<Record<string, ErrorRow>>;
  readonly exitCodes: Readonly<Record<string, number>>;
}

/** test/all.ts imports every test, and nothing else. */
export function checkTestList(tree: SourceTree): RuleResult {
  const expected = renderTestList(tree.keys());
  const checkedCount = (expected.match(/^import/gm) ?? []).length;
  if (tree.get("test/all.ts") === expected) return { checkedCount, findings: [] };
  const message = "does not list exactly the tests of the tree: `npm run gen`";
  return { checkedCount, findings: [{ path: "test/all.ts", message }] };
}

/** The tables of ERRORS.md are those that the taxonomy gives: code, kind, exit code, advice. */
export function checkErrorsPage(tree: SourceTree, taxonomy: Taxonomy): RuleResult {
  const path = "ERRORS.md";
  const page = tree.get(path) ?? "";
  const expected = renderErrorsPage(page, taxonomy.errorTable, taxonomy.exitCodes);
  const findings: Finding[] = [];
  if (expected === undefined) {
    findings.push({ path, message: "the begin/end markers of its tables are missing" });
  } else if (expected !== page) {
    const rows = new Set(page.split("\n"));
    const lines = expected.split("\n");
    const absent = lines.filter((line) => line.startsWith("| ") && !rows.has(line));
    const surplus = [...rows].filter((line) => line.startsWith("| ") && !lines.includes(line));
    for (const row of absent) findings.push({ path, message: `lacks: ${row} (npm run gen)` });
    for (const row of surplus) findings.push({ path, message: `not in the code: ${row}` });
    if (findings.length === 0) findings.push({ path, message: "out of order: `npm run gen`" });
  }
  for (const [code, row] of Object.entries(taxonomy.errorTable)) {
    if (row.advice.trim() === "") findings.push({ path, message: `${code} gives no advice` });
  }
  return { checkedCount: Object.keys(taxonomy.errorTable).length, findings };
}

/** Each package of package.json has a row with its reason, and each row a package. */
export function checkDependencies(tree: SourceTree): RuleResult {
  const path = "docs/dependencies.md";
  const rows = tableRows(tree.get(path) ?? "");
  const named = new Set(rows.map((row) => (row[0] ?? "").replaceAll("`", "")));
  const packages = listPackages(tree);
  const findings: Finding[] = [];
  for (const name of packages.keys()) {
    if (!named.has(name)) findings.push({ path, message: `${name} has no row with its reason` });
  }
  for (const name of named) {
    if (!packages.has(name)) findings.push({ path, message: `${name} is not in package.json` });
  }
  return { checkedCount: packages.size, findings };
}

/** The table of rooms in ARCHITECTURE.md is the one that `checkDirection` enforces. */
export function checkRoomTable(tree: SourceTree): RuleResult {
  const path = "ARCHITECTURE.md";
  const findings: Finding[] = [];
  const written = new Map<string, string>();
  for (const [rooms = "", imports = ""] of tableRows(tree.get(path) ?? "")) {
    for (const room of rooms.split(", ")) {
      const others = imports.split(", ").filter((other) => other !== room && other !== "nothing");
      written.set(room, others.sort().join(", "));
    }
  }
  for (const [room, imports] of Object.entries(roomImports)) {
    const allowed = [...imports].sort().join(", ");
    if (written.get(room) !== allowed) {
      findings.push({ path, message: `its table must say that ${room} may import ${allowed}` });
    }
  }
  for (const room of written.keys()) {
    if (!(room in roomImports)) findings.push({ path, message: `there is no room ${room}` });
  }
  return { checkedCount: written.size, findings };
}

interface Limit {
  readonly source: string;
  readonly value: string;
}

/**
 * LIMITS.md and the constants of src agree. A row is `| name | value | unit | what happens at it |
 * source |`, with the source as `path:CONSTANT` and the value as written there (products such as
 * `64 * 1024` are computed). Every constant at the top of a file of src whose name ends in Max or
 * Limit must have a row, and every property of one that ends in Limits
 * (`path:linkLimits.bytesMax`); a row may also name another constant, or a `#define` in native/.
 */
export function checkLimits(tree: SourceTree): RuleResult {
  const path = "LIMITS.md";
  const findings: Finding[] = [];
  const rows = tableRows(tree.get(path) ?? "");
  const listed = new Set<string>();
  for (const row of rows) {
    const [name = "", value = "", unit = "", consequence = "", sourceCell = ""] = row;
    const source = sourceCell.replaceAll("`", "");
    listed.add(source);
    const actual = constantValue(tree, source);
    if (unit === "" || consequence === "") {
      findings.push({ path, message: `${name}: say the unit and what happens at the limit` });
    }
    if (actual === undefined) {
      findings.push({ path, message: `${name}: there is no constant ${source}` });
    } else if (normalized(actual) !== normalized(value)) {
      findings.push({ path, message: `${name} says ${value}, but ${source} is ${actual}` });
    }
  }
  const limits = listLimits(tree);
  for (const { source, value } of limits) {
    if (!listed.has(source))
      findings.push({ path, message: `lacks a row for ${source} (${value})` });
  }
  return { checkedCount: rows.length + limits.length, findings };
}

/** `(export) const NAME(: type) = value;` at the start of a line. */
const constantPattern = /^(?:export )?const (\w+)(?:: [\w<>[\] ]+)? =\s*([^;]*?)(?: as const)?;/gm;

interface Constant {
  readonly name: string;
  readonly value: string;
  readonly isLimit: boolean;
}

function listLimits(tree: SourceTree): Limit[] {
  const limits: Limit[] = [];
  for (const [path, text] of tree) {
    if (!path.startsWith("src/") || !path.endsWith(".ts") || isTest(path)) continue;
    for (const { name, value, isLimit } of listConstants(text)) {
      if (isLimit) limits.push({ source: `${path}:${name}`, value });
    }
  }
  return limits;
}

/** The constants at the top of a file; of an object called …Limits its properties instead. */
function listConstants(text: string): Constant[] {
  return [...text.matchAll(constantPattern)].flatMap(([, name = "", value = ""]) => {
    if (!/limits$/i.test(name)) {
      return [{ name, value, isLimit: /(Max|Limit|_MAX|_LIMIT)$/.test(name) }];
    }
    const plain = value.replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, "");
    return [...plain.matchAll(/(\w+):\s*([^,{}]+)/g)].map(([, property = "", amount = ""]) => {
      return { name: `${name}.${property}`, value: amount.trim(), isLimit: true };
    });
  });
}

function constantValue(tree: SourceTree, source: string): string | undefined {
  const [path = "", name = ""] = source.split(":");
  const text = tree.get(path) ?? "";
  if (path.startsWith("native/")) {
    const define = /^#define[ \t]+(\w+)[ \t]+(.+?)(?:[ \t]*\/[*/].*)?$/gm;
    return [...text.matchAll(define)].find((match) => match[1] === name)?.[2];
  }
  return listConstants(text).find((constant) => constant.name === name)?.value;
}

/** A number when the text is one, or a product, power or shift of numbers; else the text itself. */
function normalized(text: string): string {
  const plain = text.replaceAll(/(?<=\d)[_,](?=\d)|(?<=\d)n\b|[`()]/g, "").trim();
  const shifted = /^(\d+) << (\d+)$/.exec(plain);
  if (shifted !== null) return String(Number(shifted[1]) * 2 ** Number(shifted[2]));
  const raised = /^(\d+) \*\* (\d+)$/.exec(plain);
  if (raised !== null) return String(Number(raised[1]) ** Number(raised[2]));
  if (!/^[\d.]+(\s*\*\s*[\d.]+)*$/.test(plain)) return plain.replaceAll(/\s+/g, " ");
  return String(plain.split("*").reduce((product, factor) => product * Number(factor), 1));
}

/** The cells of every table row of a page, without heads and rules. */
function tableRows(page: string): string[][] {
  const rows: string[][] = [];
  const lines = page.split("\n");
  for (const [index, line] of lines.entries()) {
    const isRule = /^\|[-| :]+\|$/.test(line);
    const isHead = /^\|[-| :]+\|$/.test(lines[index + 1] ?? "");
    if (!line.startsWith("|") || isRule || isHead) continue;
    rows.push(
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((text) => text.trim()),
    );
  }
  return rows;
}
