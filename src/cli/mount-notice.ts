/** Tells of a mount point below a source or a target, which is no problem: it is left out. */
import type { CommandIo } from "./command-io.ts";

export function tellMount(io: CommandIo, side: "source" | "target", path: string): void {
  io.event("notice", { notice: "mount", side, path });
  const what = side === "source" ? "left out" : "left alone";
  io.world.log.write("warn", `${path} is on another filesystem: ${what}`);
}
