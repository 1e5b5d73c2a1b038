/**
 * The rules about who may import what: the direction between rooms, doors, node modules, packages,
 * and files that nobody imports.
 *
 * In: the source tree. Out: findings, with the number of imports or files looked at.
 * Imports are found by pattern, not by a parser: oxfmt puts every static import at the start of a
 * line with double quotes, and `npm run check` runs it first. Cycles are oxlint's import/no-cycle.
 * Source: STYLE part B2, the room table in ARCHITECTURE.md.
 */
import { posix } from "node:path";
import type { SourceTree } from "./source-tree.ts";

export interface Finding {
  readonly path: string;
  /** What is wrong and what to do instead, one sentence. */
  readonly message: string;
}

/** What a rule found among how many things: a rule that looked at nothing proves nothing. */
export interface RuleResult {
  readonly checkedCount: number;
  readonly findings: readonly Finding[];
}

export interface Import {
  readonly from: string;
  readonly specifier: string;
  /** Path of the imported file; undefined for node modules and packages. */
  readonly to: string | undefined;
}

const engineRooms = ["base", "model", "world", "actor"];

/** Room -> rooms that it may import. */
export const roomImports: Readonly<Record<string, readonly string[]>> = {
  base: [],
  model: ["base"],
  ignore: ["base", "model"],
  tree: ["base", "model"],
  wire: ["base", "model"],
  world: ["base", "model"],
  delta: ["base", "model", "world"],
  actor: ["base", "world"],
  descriptors: ["base", "world", "tree"],
  capture: engineRooms,
  transport: engineRooms,
  cut: ["base", "model", "world", "tree", "wire", "capture", "descriptors", "delta", "ignore"],
  apply: ["base", "model", "world", "tree", "wire", "descriptors"],
  journal: ["base", "model", "world", "tree", "wire", "descriptors", "apply"],
  verify: ["base", "model", "world", "tree", "ignore"],
  session: [
    ...engineRooms,
    "tree",
    "wire",
    "capture",
    "transport",
    "delta",
    "cut",
    "apply",
    "journal",
    "ignore",
    "verify",
  ],
  cli: [...engineRooms, "session", "verify", "capture", "transport", "wire", "ignore"],
};

/** Folders of src whose files may import node:*; everything else gets it through `World`. */
const nodeFolders = ["world/node", "transport", "cli"];

/** Rooms that may open src/world/node, where the real ports and the native addon live. */
const realWorldRooms = new Set(["world", "capture", "transport", "verify", "cli"]);

/** Every import of every TypeScript file: static, dynamic, and workers named by `new URL`. */
export function listImports(tree: SourceTree): Import[] {
  const imports: Import[] = [];
  for (const [path, text] of tree) {
    if (!path.endsWith(".ts")) continue;
    for (const specifier of specifiersIn(text)) {
      imports.push({ from: path, specifier, to: resolve(path, specifier) });
    }
  }
  return imports;
}

function specifiersIn(text: string): string[] {
  const patterns = [
    /^(?:import|export)\b(?:[^;"]*?\bfrom)?\s*"([^"]+)"/gm,
    /\bimport\(\s*"([^"]+)"\s*\)/g,
    /\bnew URL\(\s*"(\.[^"]+)",\s*import\.meta\.url/g,
  ];
  return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map((match) => match[1] ?? ""));
}

function resolve(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, ".ts");
}

/** The room of a path: the folder below src, or test, tools, bench. */
function roomOf(path: string): string {
  const [top = "", room = ""] = path.split("/");
  return top === "src" ? room : top;
}

function isSource(path: string): boolean {
  return path.startsWith("src/");
}

export function isTest(path: string): boolean {
  return /\.(test|fuzz|bench)\.ts$/.test(path) || path.startsWith("test/");
}

/** Rooms import only what the table allows, and nothing of test/. Tests may import every room. */
export function checkDirection(imports: readonly Import[]): RuleResult {
  const findings: Finding[] = [];
  for (const { from, to } of imports) {
    if (to === undefined || !isSource(from) || isTest(from)) continue;
    const [room, other] = [roomOf(from), roomOf(to)];
    if (room === other) continue;
    const allowed = roomImports[room];
    if (allowed === undefined) {
      findings.push({ path: from, message: `room ${room} is not in the table of tools/tidy` });
    } else if (!isSource(to)) {
      findings.push({ path: from, message: `src may not import ${to}` });
    } else if (!allowed.includes(other)) {
      const list = allowed.length === 0 ? "nothing" : allowed.join(", ");
      findings.push({ path: from, message: `${room} may import ${list}, not ${other} (${to})` });
    }
  }
  return { checkedCount: imports.length, findings };
}

/**
 * Rooms are entered by an index.ts, which names each export; a program is started by its name, and
 * fuzzers, which no door shows, are run by test/.
 */
export function checkDoors(tree: SourceTree, imports: readonly Import[]): RuleResult {
  const findings: Finding[] = [];
  const programs = listPrograms(tree);
  for (const { from, specifier, to } of imports) {
    if (to === undefined || from === "test/all.ts") continue;
    if (specifier.startsWith(".") && !/\.(ts|js|json)$/.test(specifier)) {
      findings.push({ path: from, message: `import "${specifier}" must end in .ts` });
    }
    const isFuzzer = from.startsWith("test/") && to.endsWith(".fuzz.ts");
    const isDoor = posix.basename(to) === "index.ts" || programs.includes(to) || isFuzzer;
    if (isSource(to) && roomOf(to) !== roomOf(from) && !isDoor) {
      findings.push({ path: from, message: `import the room's door index.ts instead of ${to}` });
    }
    const pure = isSource(from) && !isTest(from) && !realWorldRooms.has(roomOf(from));
    if (pure && to.startsWith("src/world/node/")) {
      findings.push({ path: from, message: "takes a World; may not import the real one itself" });
    }
  }
  for (const [path, text] of tree) {
    if (isSource(path) && path.endsWith("/index.ts") && /^export \*/m.test(text)) {
      findings.push({ path, message: "a door names each export: no `export *`" });
    }
  }
  return { checkedCount: imports.length, findings };
}

/** node:* only where the real world is; packages only when package.json has them. */
export function checkForeignImports(tree: SourceTree, imports: readonly Import[]): RuleResult {
  const findings: Finding[] = [];
  const packages = listPackages(tree);
  let checkedCount = 0;
  for (const { from, specifier, to } of imports) {
    if (to !== undefined) continue;
    checkedCount += 1;
    const product = isSource(from) && !isTest(from);
    if (specifier.startsWith("node:")) {
      const free = nodeFolders.some((folder) => from.startsWith(`src/${folder}/`));
      if (product && !free) {
        findings.push({ path: from, message: `${specifier} only in ${nodeFolders.join(", ")}` });
      }
      continue;
    }
    const name = packageName(specifier);
    const kind = packages.get(name);
    if (kind === undefined) {
      findings.push({ path: from, message: `${name} is not in package.json` });
    } else if (kind === "dev" && product) {
      findings.push({ path: from, message: `${name} is only a development dependency` });
    }
  }
  return { checkedCount, findings };
}

function packageName(specifier: string): string {
  const parts = specifier.split("/");
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

/** Name of each package that package.json depends on, and whether at run time. */
export function listPackages(tree: SourceTree): Map<string, "run" | "dev"> {
  const manifest = JSON.parse(tree.get("package.json") ?? "{}") as {
    dependencies?: Record<string, string>;
    devDependencies?: Record<string, string>;
    optionalDependencies?: Record<string, string>;
  };
  const packages = new Map<string, "run" | "dev">();
  for (const name of Object.keys(manifest.devDependencies ?? {})) packages.set(name, "dev");
  const running = { ...manifest.dependencies, ...manifest.optionalDependencies };
  for (const name of Object.keys(running)) packages.set(name, "run");
  return packages;
}

/** Files that are started as a program, by package.json or a script: nobody need import them. */
function listPrograms(tree: SourceTree): string[] {
  return ["package.json", "lockstep", "tools/setup", ".ci/run"].flatMap((starter) =>
    [...(tree.get(starter) ?? "").matchAll(/\bdist\/([\w./-]+)\.js\b/g)].map(
      (match) => `${match[1] ?? ""}.ts`,
    ),
  );
}

/** Every file of src is imported by another file, is a test, or is started by name. */
export function checkDeadFiles(tree: SourceTree, imports: readonly Import[]): RuleResult {
  const imported = new Set<string>(listPrograms(tree));
  for (const { from, to } of imports) {
    if (to !== undefined && to !== from) imported.add(to);
  }
  const files = [...tree.keys()].filter((path) => isSource(path) && path.endsWith(".ts"));
  const dead = files.filter((path) => !isTest(path) && !imported.has(path));
  return {
    checkedCount: files.length,
    findings: dead.map((path) => ({
      path,
      message: "nothing imports this file: use or delete it",
    })),
  };
}
