/**
 * Safety halts as the command line shows them: told when they begin and end, in the status, and
 * read back from there.
 */
import type { SyncError } from "../base/index.ts";
import type { CommandIo } from "./command-io.ts";

export interface ShownHalt {
  readonly code: string;
  readonly message: string;
}

/** The halt as a status holds it; none is an empty list. */
export function shownHalts(halt: SyncError | undefined): readonly ShownHalt[] {
  return halt === undefined ? [] : [{ code: halt.code, message: halt.message }];
}

/** The halts of a status, which may come from another version. */
export function haltsOf(status: Readonly<Record<string, unknown>>): readonly ShownHalt[] {
  const halts: unknown[] = Array.isArray(status["halts"]) ? status["halts"] : [];
  return halts.map((halt) => {
    const { code, message }: Record<string, unknown> =
      typeof halt === "object" && halt !== null ? { ...halt } : {};
    return { code: String(code), message: String(message) };
  });
}

export function tellHalt(
  io: CommandIo,
  place: Readonly<Record<string, string>>,
  halt: SyncError,
): void {
  const { code, message, advice } = halt;
  io.event("halt", { ...place, code, message, advice });
  io.world.log.write("error", `halted: ${message}; ${advice}`, { code });
}

export function tellResume(
  io: CommandIo,
  place: Readonly<Record<string, string>>,
  halt: SyncError,
): void {
  io.event("resume", { ...place, code: halt.code });
  io.say(`going on after the halt: ${halt.message}`);
}
