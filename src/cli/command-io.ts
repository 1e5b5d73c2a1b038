/**
 * What every command gets: where to write, how talkative to be, and the signal to stop.
 * With `--json` standard output carries one JSON object a line and nothing else; people's text
 * goes to standard output without `--json`, and to standard error otherwise.
 */
import type { NetworkWorld } from "../world/index.ts";

export interface CommandIo {
  readonly world: NetworkWorld;
  readonly json: boolean;
  readonly quiet: boolean;
  /** -v count. */
  readonly verbose: number;
  /** Whether standard error is a terminal, for progress lines. */
  readonly isTerminal: boolean;
  /** A line for people, on standard output; nothing with --json or --quiet. */
  say(line: string): void;
  /** A line of what the command was asked for, on standard output; nothing with --json. */
  print(line: string): void;
  /** An event: with --json one object a line on standard output, else nothing. */
  event(event: string, fields: Readonly<Record<string, unknown>>): void;
  /** A progress line that overwrites itself on a terminal; nothing elsewhere. */
  progress(line: string): void;
  /** Called once when SIGINT or SIGTERM asks to drain and end; a second signal ends the process. */
  onStop(stop: () => void): void;
}

/** $STATE_DIRECTORY, else $XDG_STATE_HOME/lockstep, else ~/.local/state/lockstep. */
export function stateDirectory(env: Readonly<Record<string, string | undefined>>): string {
  const service = env["STATE_DIRECTORY"];
  if (service !== undefined && service !== "") return service.split(":")[0]!;
  const xdg = env["XDG_STATE_HOME"];
  if (xdg !== undefined && xdg !== "") return `${xdg}/lockstep`;
  return `${env["HOME"] ?? "/root"}/.local/state/lockstep`;
}
