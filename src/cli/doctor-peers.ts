/**
 * This device's key and its peers, for `lockstep doctor`: each known address is dialled once.
 * Makes no key: it is made when it is first needed.
 * Limits: dialsMax addresses, dialsAtOnceMax at a time, dialMs each.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { SyncError } from "../base/index.ts";
import { dial, formatAddress, linkLimits, parseAddress } from "../transport/index.ts";
import type { Address, Identity, Peer } from "../transport/index.ts";
import type { NetworkWorld } from "../world/index.ts";
import { deviceFiles, loadDevice, openPeers } from "./device.ts";
import { fail, ok, reasonOf, warn } from "./doctor-finding.ts";
import type { DoctorFinding } from "./doctor-finding.ts";
import type { RemoteTarget } from "./places.ts";

const dialMs = 3_000;
const dialsAtOnceMax = 16;
const dialsMax = 128;

interface Dialling {
  readonly peer: Pick<Peer, "id" | "name">;
  readonly address: Address;
  /** Its target is there, so a sync needs it. */
  readonly isNeeded: boolean;
}

/** Everything about other devices; `target` is the one that a sync would go to. */
export async function examinePeers(
  world: NetworkWorld,
  target: RemoteTarget | undefined,
): Promise<DoctorFinding[]> {
  const files = deviceFiles(process.env);
  const findings: DoctorFinding[] = [];
  let identity: Identity | undefined;
  if (existsSync(files.keyFile)) {
    try {
      identity = await loadDevice(files);
      findings.push(ok("key", `device ${identity.id}`));
    } catch (error) {
      findings.push(lesser(target)("key", messageOf(error), adviceOf(error)));
    }
  } else {
    findings.push(ok("key", "none yet: made when it is first needed"));
  }
  let peers: readonly Peer[] = [];
  try {
    const hasList = existsSync(join(files.stateDir, "peers.json"));
    if (hasList) peers = openPeers(files, world.clock).list();
  } catch (error) {
    findings.push(lesser(target)("peers", messageOf(error), adviceOf(error)));
  }
  const { diallings, notes } = planDials(peers, target);
  findings.push(...notes);
  if (identity === undefined) return findings;
  for (let start = 0; start < Math.min(diallings.length, dialsMax); start += dialsAtOnceMax) {
    const batch = diallings.slice(start, Math.min(start + dialsAtOnceMax, dialsMax));
    findings.push(...(await Promise.all(batch.map((one) => tryDial(world, identity, one)))));
  }
  const left = diallings.length - dialsMax;
  if (left > 0) findings.push(ok("peers", `${left} further addresses were not tried`));
  return findings;
}

interface Plan {
  readonly diallings: readonly Dialling[];
  readonly notes: readonly DoctorFinding[];
}

function planDials(peers: readonly Peer[], target: RemoteTarget | undefined): Plan {
  const diallings: Dialling[] = [];
  const notes: DoctorFinding[] = [];
  const wanted = peers.find((peer) => peer.id === target?.peerId);
  if (target !== undefined && wanted === undefined) {
    const advice = `run \`lockstep peers add ${target.peerId}\` here, and the like over there`;
    notes.push(fail(`peer ${target.peerId}`, "not paired with this device", advice));
  }
  if (target?.address !== undefined) {
    const peer = wanted ?? { id: target.peerId, name: target.peerId };
    diallings.push({ peer, address: target.address, isNeeded: true });
  }
  for (const peer of peers) {
    const isNeeded = peer === wanted && target?.address === undefined;
    for (const text of peer.addresses) {
      const address = parseAddress(text);
      const asked = peer === wanted ? target?.address : undefined;
      if (asked !== undefined && formatAddress(asked) === formatAddress(address)) continue;
      diallings.push({ peer, address, isNeeded });
    }
    if (peer.addresses.length > 0) continue;
    const advice = `run \`lockstep peers add ${peer.id} --address HOST:PORT\``;
    const detail = "no address is known";
    notes.push(
      isNeeded
        ? fail(`peer ${peer.name}`, detail, advice)
        : ok(`peer ${peer.name}`, `${detail}: it can connect to us, not we to it`),
    );
  }
  return { diallings, notes };
}

async function tryDial(
  world: NetworkWorld,
  identity: Identity,
  one: Dialling,
): Promise<DoctorFinding> {
  const { peer, address, isNeeded } = one;
  const topic = `peer ${peer.name} at ${formatAddress(address)}`;
  const startUs = world.clock.monotonicUs();
  try {
    const options = { world, identity, ...address, timeoutMs: dialMs, limits: linkLimits };
    const link = await dial({ ...options, expectPeerId: peer.id });
    link.destroy();
    const ms = (world.clock.monotonicUs() - startUs) / 1e3;
    return ok(topic, `connected and authenticated in ${ms.toFixed(1)} ms`);
  } catch (error) {
    return (isNeeded ? fail : warn)(topic, messageOf(error), adviceOf(error));
  }
}

/** A broken key or list stops a sync to another device, and no sync between folders. */
function lesser(target: RemoteTarget | undefined): typeof warn {
  return target === undefined ? warn : fail;
}

function messageOf(error: unknown): string {
  return error instanceof SyncError ? error.message : reasonOf(error);
}

function adviceOf(error: unknown): string {
  return error instanceof SyncError ? error.advice : "see the reason";
}
