/**
 * The linter finds what it is there to find: a configuration or an upgrade that silently switches
 * a rule off (no type information, a renamed rule) would otherwise pass for clean code.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { rootPath } from "./source-tree.ts";

/** One fault a line, in a room of the engine; each names the rule that must find it. */
const faults = [
  ["typescript(no-floating-promises)", "export function a(): void { work(); }"],
  ["typescript(no-misused-promises)", "export const b: boolean = work() ? true : false;"],
  ["typescript(no-explicit-any)", "export function c(x: any): void { void x; }"],
  [
    "typescript(switch-exhaustiveness-check)",
    'export function d(k: "p" | "q"): void { switch (k) { case "p": break; } }',
  ],
  ["typescript(only-throw-error)", 'export function e(): void { throw "text"; }'],
  ["typescript(no-unsafe-member-access)", 'void JSON.parse("{}").x;'],
  ["eslint(no-restricted-globals)", "export const g = Date.now();"],
  ["eslint(no-restricted-properties)", "export const h = Math.random();"],
  ["eslint(max-lines-per-function)", `export function i(): void {${"\n  work;".repeat(70)}\n}`],
  ["import(no-cycle)", 'export { back } from "./other.ts";'],
] as const;

test("every rule that the house relies on fires", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-lint-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "src/tree"), { recursive: true });
  for (const file of [".oxlintrc.json", "tsconfig.json", "package.json"]) {
    copyFileSync(join(rootPath, file), join(folder, file));
  }
  symlinkSync(join(rootPath, "node_modules"), join(folder, "node_modules"));
  const work = "export async function work(): Promise<void> {}\n";
  const source = work + faults.map(([, code]) => code).join("\n");
  writeFileSync(join(folder, "src/tree/fault.ts"), source);
  writeFileSync(
    join(folder, "src/tree/other.ts"),
    'import { work } from "./fault.ts";\nexport const back = work;\n',
  );
  const linter = join(rootPath, "node_modules/.bin/oxlint");
  const { stdout } = spawnSync(linter, ["--type-aware", "-f", "unix"], {
    cwd: folder,
    encoding: "utf8",
    timeout: 60_000,
  });
  for (const [rule] of faults) assert.ok(stdout.includes(rule), `${rule} is silent:\n${stdout}`);
});
