/**
 * Runs the real command line as a child process, each with its own temporary home, for test/cli.
 *
 * Invariants: nothing of the user's state is read or written; every process and folder that a test
 * makes is gone when it ends; everything waits with a bound.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const programPath: string = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const endMs = 30_000;
const pollMs = 10;

export interface Outcome {
  /** The signal's name when one ended it. */
  readonly exit: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder that is removed when the test ends. */
export function scratchFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-cli-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A device: a home of its own below `folder`. */
export function makeHome(folder: string, name: string): string {
  const home = join(folder, name);
  mkdirSync(home, { mode: 0o700 });
  return home;
}

/** The state directory that the program uses with this home. */
export function stateDirOf(home: string): string {
  return join(home, "lockstep");
}

export interface Launch {
  readonly home: string;
  readonly cwd?: string;
  /** Put before `node`, such as setpriv with its arguments. */
  readonly prefix?: readonly string[];
  readonly stdin?: string;
}

export class Running {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | string>;
  #stdout = "";
  #stderr = "";
  #isOver = false;

  constructor(context: TestContext, args: readonly string[], launch: Launch) {
    const env = {
      ...process.env,
      XDG_STATE_HOME: launch.home,
      HOME: launch.home,
      STATE_DIRECTORY: "",
      CREDENTIALS_DIRECTORY: "",
    };
    const whole = [...(launch.prefix ?? []), process.execPath, programPath, ...args];
    const [command = "", ...rest] = whole;
    const child = spawn(command, rest, { env, cwd: launch.cwd ?? launch.home });
    this.#child = child;
    child.stdout.on("data", (part: Buffer) => (this.#stdout += part.toString()));
    child.stderr.on("data", (part: Buffer) => (this.#stderr += part.toString()));
    // A program that ended without reading its input is judged by its exit code.
    child.stdin.on("error", () => {});
    if (launch.stdin !== undefined) child.stdin.end(launch.stdin);
    this.#ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        this.#isOver = true;
        resolve(code ?? signal ?? "unknown");
      });
    });
    context.after(async () => {
      if (!this.#isOver) child.kill("SIGKILL");
      await this.#ended;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get stdout(): string {
    return this.#stdout;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The reader of its standard output goes away. */
  dropOutput(): void {
    this.#child.stdout?.destroy();
  }

  async end(): Promise<Outcome> {
    const late = new AbortController();
    const timer = sleep(endMs, "late", { signal: late.signal }).catch(() => "late");
    const exit = await Promise.race([this.#ended, timer]);
    late.abort();
    assert.notEqual(exit, "late", `did not end: ${this.#stderr}`);
    return { exit, stdout: this.#stdout, stderr: this.#stderr };
  }

  /** Waits until standard output has what `pattern` finds. */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    let match: RegExpExecArray | null = null;
    await this.until(`said ${pattern.source}`, () => {
      match = pattern.exec(this.#stdout);
      return match !== null;
    });
    return match!;
  }

  /** Waits until the program has this file or folder open. */
  async opens(path: string): Promise<void> {
    const folder = `/proc/${this.pid}/fd`;
    await this.until(`opens ${path}`, () =>
      readdirSync(folder).some((fd) => {
        try {
          return readlinkSync(`${folder}/${fd}`) === path;
        } catch {
          // Closed since it was listed.
          return false;
        }
      }),
    );
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const limit = performance.now() + endMs;
    while (!holds()) {
      const output = `${this.#stdout}${this.#stderr}`;
      assert.ok(!this.#isOver, `ended before it ${what}: ${output}`);
      assert.ok(performance.now() < limit, `never ${what}: ${output}`);
      await sleep(pollMs);
    }
  }
}

/** Runs the program to its end. */
export function runProgram(
  context: TestContext,
  args: readonly string[],
  launch: Launch,
): Promise<Outcome> {
  return new Running(context, args, { stdin: "", ...launch }).end();
}

/** Every line as the JSON object that it must be. */
export function eventsOf(stdout: string): Record<string, unknown>[] {
  const lines = stdout.split("\n");
  assert.equal(lines.pop(), "", "the last line is whole");
  return lines.map((line) => {
    const value: unknown = JSON.parse(line);
    assert.ok(typeof value === "object" && value !== null && "event" in value, line);
    assert.equal(typeof value.event, "string", line);
    return { ...value };
  });
}
