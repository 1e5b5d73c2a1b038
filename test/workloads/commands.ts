/**
 * Runs the programs that workloads consist of, without blocking: the mirror's output must be read
 * meanwhile. Every program has a time limit, and fails loudly with the end of what it printed.
 */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";

const commandMs = 180_000;
const outputCharsMax = 64 * 1024;

export interface CommandOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Text for standard input. */
  readonly input?: string;
}

/** Runs to the end and gives standard output and error. Rejects unless the exit code is 0. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<string> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, LC_ALL: "C", ...options.env },
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      timeout: commandMs,
      killSignal: "SIGKILL",
    });
    let output = "";
    const collect = (chunk: Buffer): void => {
      output = (output + chunk.toString("latin1")).slice(-outputCharsMax);
    };
    child.stdout?.on("data", collect);
    child.stderr?.on("data", collect);
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) return resolve(output);
      const end = `${command} ${args.join(" ").slice(0, 200)}: ${code ?? signal ?? "unknown end"}`;
      reject(new Error(`${end}\n${output.slice(-2000)}`));
    });
    // A program that ends without reading all closes the pipe; its exit code tells.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.input);
  });
}

/** Whether `program` is on the PATH. */
export function isInstalled(program: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
