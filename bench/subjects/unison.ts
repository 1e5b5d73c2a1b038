/**
 * Unison, folder to folder, -batch. With unison-fsmonitor it watches; Debian does not package that
 * helper, and without it the fastest it offers is -repeat 1: look again one second after the last
 * run ended. -fastcheck no, because its quick check compares whole seconds and would miss the
 * second write of one second. Source: Unison's manual, "repeat", "fastcheck".
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { exists, start } from "../processes.ts";
import { stopAll, type Subject } from "./subject.ts";

const monitors = ["unison-fsmonitor", "unison-fsmonitor-2.52"] as const;

export const unison: Subject = {
  name: "unison",
  speed: "slow",
  configuration: "-batch -repeat watch with unison-fsmonitor, else -repeat 1; -fastcheck no; local",
  unavailable: async () =>
    (await exists("unison", ["-version"])) ? undefined : "unison is not installed",
  start: async ({ pair }) => {
    const home = join(pair.scratch, "unison");
    await mkdir(home);
    const repeat = (await hasMonitor()) ? "watch" : "1";
    const process = start(
      "unison",
      [
        ...[pair.source, pair.target, "-ui", "text", "-batch", "-auto", "-repeat", repeat],
        ...["-times", "-perms", "-1", "-force", pair.source, "-fastcheck", "no", "-log=false"],
      ],
      { env: { UNISON: home, HOME: home } },
    );
    return { port: undefined, stop: () => stopAll([process]) };
  },
};

async function hasMonitor(): Promise<boolean> {
  const found = await Promise.all(monitors.map((name) => exists(name, ["--help"])));
  return found.some((isThere) => isThere);
}
