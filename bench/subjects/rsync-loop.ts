/**
 * The do-it-yourself synchronizer: inotifywait waits, rsync copies, over an rsync daemon on
 * loopback. Events that arrive while rsync runs are folded into one next run.
 */
import { exists, start } from "../processes.ts";
import { rsyncOptions, startRsyncDaemon } from "./rsync-daemon.ts";
import { stopAll, type Subject } from "./subject.ts";

const readyMs = 20_000;

/** $1 source, $2 daemon URL. `read -t 0` asks whether more events wait, without waiting. */
const script = `
set -e
rsync ${rsyncOptions.join(" ")} "$1/" "$2"
inotifywait -m -r -e modify,create,delete,move,attrib --format x "$1" 2>&1 | {
  while read -r event; do
    case $event in
      Setting*) continue ;;
      Watches*) echo live ;;
    esac
    while read -t 0 && read -r event; do :; done
    rsync ${rsyncOptions.join(" ")} "$1/" "$2" || true
  done
}
`;

export const rsyncLoop: Subject = {
  name: "rsync loop",
  speed: "slow",
  configuration: `inotifywait -m + rsync ${rsyncOptions.join(" ")}, rsync daemon on loopback`,
  unavailable: async () => {
    if (!(await exists("rsync", ["--version"]))) return "rsync is not installed";
    if (!(await exists("inotifywait", ["--help"]))) return "inotify-tools is not installed";
    return undefined;
  },
  start: async ({ pair }) => {
    const daemon = await startRsyncDaemon(pair);
    const loop = start("bash", ["-c", script, "rsync-loop", pair.source, daemon.url]);
    try {
      await loop.waitFor((line) => (line === "live" ? true : undefined), readyMs);
    } catch (error) {
      await stopAll([loop, daemon.process]);
      throw error;
    }
    return { port: undefined, stop: () => stopAll([loop, daemon.process]) };
  },
};
