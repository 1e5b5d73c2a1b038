/**
 * Python programs of this folder, for what Node cannot make or look at (devices, attributes, times
 * in nanoseconds), and as a second opinion that shares nothing with Lockstep. They are read from
 * standard input, so that another user needs no way to this checkout.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { runCommand } from "./commands.ts";

/** Becomes a user without privileges. */
export const nobody: readonly string[] = [
  "setpriv",
  "--reuid=65534",
  "--regid=65534",
  "--clear-groups",
];

/** A Python that this user can run, or undefined. */
export function findPython(prefix: readonly string[]): string | undefined {
  return ["python3", "/usr/bin/python3"].find((python) => {
    const line = [...prefix, python, "-c", "import os; os.setxattr"];
    return spawnSync(line[0]!, line.slice(1)).status === 0;
  });
}

/** The path of a Python program of this folder, for users with a way to this checkout. */
export function programOf(name: string): string {
  return fileURLToPath(new URL(`../../../test/workloads/${name}`, import.meta.url));
}

/** Runs `name` of test/workloads and gives what it printed; rejects unless its exit code is 0. */
export function runPython(
  name: string,
  args: readonly string[],
  options: { readonly prefix: readonly string[]; readonly cwd: string },
): Promise<string> {
  const path = programOf(name);
  const python = findPython(options.prefix) ?? "python3";
  const line = [...options.prefix, python, "-", ...args];
  return runCommand(line[0]!, line.slice(1), {
    cwd: options.cwd,
    input: readFileSync(path, "utf8"),
  });
}
