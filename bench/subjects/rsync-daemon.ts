/**
 * An rsync daemon on 127.0.0.1 that receives into one folder: the far end of the rsync loop, of
 * lsyncd and of the seed's baseline. Plain TCP, no authentication, only inside the pair's folders.
 * Source: rsyncd.conf(5).
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort, start, type Started, waitAccepting } from "../processes.ts";
import { type MeasuredServer, startMeasured } from "../programs.ts";
import type { Pair } from "../workspace.ts";

/**
 * `rsync -a` compares whole seconds: a file written twice in a second with its size unchanged is
 * skipped. -1 compares nanoseconds; without it a loop of rsyncs loses writes for good.
 */
export const rsyncOptions = ["-a", "--modify-window=-1"] as const;

export interface RsyncDaemon {
  readonly url: string;
  readonly process: Started;
}

export async function startRsyncDaemon(pair: Pair): Promise<RsyncDaemon> {
  const { port, url, args } = await configure(pair);
  const daemon = start("rsync", args);
  await waitAccepting(port, daemon);
  return { url, process: daemon };
}

/** The same, and its end() tells what the daemon and its receivers have used. */
export async function startMeasuredDaemon(
  pair: Pair,
): Promise<{ readonly url: string; readonly server: MeasuredServer }> {
  const { port, url, args } = await configure(pair);
  const server = startMeasured("rsync", args);
  await waitAccepting(port, server.process);
  return { url, server };
}

async function configure(pair: Pair) {
  const port = await freePort();
  const configuration = join(pair.scratch, "rsyncd.conf");
  await writeFile(
    configuration,
    [
      "address = 127.0.0.1",
      `port = ${port}`,
      "use chroot = no",
      `lock file = ${join(pair.scratch, "rsyncd.lock")}`,
      "max connections = 8",
      "reverse lookup = no",
      ...(process.getuid?.() === 0 ? ["uid = 0", "gid = 0"] : []),
      "[bench]",
      `path = ${pair.target}`,
      "read only = no",
      "",
    ].join("\n"),
  );
  const args = ["--daemon", "--no-detach", `--config=${configuration}`];
  return { port, url: `rsync://127.0.0.1:${port}/bench/`, args };
}
