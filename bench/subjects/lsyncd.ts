/**
 * lsyncd with its delay set to 0 and inotify mode Modify (its default is 15 s and close-write),
 * over an rsync daemon on loopback. Source: lsyncd's manual, "Config Layer 4" and "Faq".
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists, start } from "../processes.ts";
import { startRsyncDaemon } from "./rsync-daemon.ts";
import { stopAll, type Subject } from "./subject.ts";

export const lsyncd: Subject = {
  name: "lsyncd",
  speed: "slow",
  configuration: "delay = 0, inotifyMode = Modify, default.rsync to a daemon on loopback",
  unavailable: async () =>
    (await exists("lsyncd", ["-version"])) ? undefined : "lsyncd is not installed",
  start: async ({ pair }) => {
    const daemon = await startRsyncDaemon(pair);
    const configuration = join(pair.scratch, "lsyncd.lua");
    await writeFile(
      configuration,
      [
        `settings { nodaemon = true, inotifyMode = "Modify", insist = true }`,
        `sync { default.rsync, source = "${pair.source}", target = "${daemon.url}", delay = 0,`,
        `  rsync = { archive = true, _extra = { "--modify-window=-1" } } }`,
        "",
      ].join("\n"),
    );
    const logFile = join(pair.scratch, "lsyncd.log");
    const process = start("lsyncd", ["-nodaemon", "-logfile", logFile, configuration]);
    return { port: undefined, stop: () => stopAll([process, daemon.process]) };
  },
};
