/** Tells of mount points below a source or a target: left out, left alone, or followed. */
import type { CommandIo } from "./command-io.ts";

/** `why` it is left out, where that is not the rule. */
export function tellMount(
  io: CommandIo,
  side: "source" | "target",
  path: string,
  why?: string,
): void {
  io.event("notice", { notice: "mount", side, path, ...(why === undefined ? {} : { why }) });
  const what = side === "source" ? "left out" : "left alone";
  const reason = why === undefined ? "" : `: ${why}`;
  io.world.log.write("warn", `${path} is on another filesystem: ${what}${reason}`);
}

export function tellFollowed(io: CommandIo, path: string): void {
  io.event("notice", { notice: "followed", side: "source", path });
  io.world.log.write("info", `${path} is another filesystem: followed`);
}
