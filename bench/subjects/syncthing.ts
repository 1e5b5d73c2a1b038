/**
 * Two Syncthing instances on loopback, sending from one to the other, tuned for the least delay
 * that its configuration allows: fsWatcherDelayS = 1 (whole seconds in Debian's 1.19; its default
 * is 10). Everything that would leave the machine is off: discovery, relays, NAT traversal, usage
 * and crash reports, upgrades.
 * Source: Syncthing's documentation, "Configuration".
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists, freePort, run, start, type Started } from "../processes.ts";
import type { Pair } from "../workspace.ts";
import { stopAll, type Subject } from "./subject.ts";

const commandMs = 60_000;
const apiKey = "bench";

interface Device {
  readonly home: string;
  readonly id: string;
  readonly port: number;
  readonly apiPort: number;
}

export const syncthing: Subject = {
  name: "syncthing",
  speed: "slow",
  configuration: "two instances on loopback, fsWatcherDelayS = 1, nothing leaves the machine",
  unavailable: async () =>
    (await exists("syncthing", ["--version"])) ? undefined : "syncthing is not installed",
  start: async ({ pair }) => {
    const source = await makeDevice(pair, "syncthing-source");
    const target = await makeDevice(pair, "syncthing-target");
    // Without its marker a folder is refused; Syncthing makes it itself only in an empty one.
    await mkdir(join(pair.source, ".stfolder"));
    await mkdir(join(pair.target, ".stfolder"));
    await writeConfiguration(source, target, pair.source, "sendonly");
    await writeConfiguration(target, source, pair.target, "receiveonly");
    const parts = [startDevice(target), startDevice(source)];
    return { port: source.port, stop: () => stopAll(parts) };
  },
};

async function makeDevice(pair: Pair, name: string): Promise<Device> {
  const home = join(pair.scratch, name);
  await run("syncthing", ["generate", `--home=${home}`, "--no-default-folder"], {
    timeoutMs: commandMs,
    env: environment(home),
  });
  const id = await run("syncthing", ["--device-id", `--home=${home}`], {
    timeoutMs: commandMs,
    env: environment(home),
  });
  return { home, id: id.trim(), port: await freePort(), apiPort: await freePort() };
}

function startDevice(device: Device): Started {
  return start("syncthing", ["serve", `--home=${device.home}`, "--no-browser", "--no-restart"], {
    env: environment(device.home),
  });
}

function environment(home: string): Record<string, string> {
  return { STNOUPGRADE: "1", STNORESTART: "1", HOME: home };
}

async function writeConfiguration(
  own: Device,
  peer: Device,
  folder: string,
  kind: "sendonly" | "receiveonly",
): Promise<void> {
  const off = [
    ...["globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "startBrowser"],
    ...["natEnabled", "crashReportingEnabled", "announceLANAddresses", "setLowPriority"],
  ];
  await writeFile(
    join(own.home, "config.xml"),
    [
      `<configuration version="36">`,
      `<folder id="bench" path="${folder}" type="${kind}" rescanIntervalS="3600"`,
      ` fsWatcherEnabled="true" fsWatcherDelayS="1">`,
      `<device id="${own.id}"/><device id="${peer.id}"/>`,
      `<minDiskFree unit="%">0</minDiskFree></folder>`,
      `<device id="${own.id}"><address>dynamic</address></device>`,
      `<device id="${peer.id}"><address>tcp://127.0.0.1:${peer.port}</address></device>`,
      `<gui enabled="true"><address>127.0.0.1:${own.apiPort}</address>`,
      `<apikey>${apiKey}</apikey></gui>`,
      `<options><listenAddress>tcp://127.0.0.1:${own.port}</listenAddress>`,
      ...off.map((name) => `<${name}>false</${name}>`),
      `<reconnectionIntervalS>1</reconnectionIntervalS><urAccepted>-1</urAccepted>`,
      `<autoUpgradeIntervalH>0</autoUpgradeIntervalH></options>`,
      `</configuration>`,
      "",
    ].join("\n"),
  );
}
