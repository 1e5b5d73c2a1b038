/** A link to the device of a remote target, by the first of its addresses that answers. */
import { SyncError } from "../base/index.ts";
import {
  type Address,
  dial,
  type Identity,
  type Link,
  linkLimits,
  parseAddress,
  TrustStore,
} from "../transport/index.ts";
import type { CommandIo } from "./command-io.ts";
import type { RemoteTarget } from "./places.ts";

const dialMsMax = 15_000;

export interface DialTargetOptions {
  readonly io: CommandIo;
  readonly stateDir: string;
  /** Of this device. */
  readonly identity: Identity;
  /** Gives it up. */
  readonly signal?: AbortSignal;
}

/** Rejects with what the last address said; PEER_UNTRUSTED when the device is not paired. */
export async function dialTarget(target: RemoteTarget, options: DialTargetOptions): Promise<Link> {
  const { io, stateDir, identity, signal } = options;
  let failure: SyncError | undefined;
  for (const { host, port } of addressesOf(target, stateDir, io)) {
    try {
      return await dial({
        world: io.world,
        identity,
        host,
        port,
        expectPeerId: target.peerId,
        timeoutMs: dialMsMax,
        limits: linkLimits,
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      failure = error;
    }
  }
  throw failure ?? new SyncError("PEER_UNREACHABLE", `no address is known for ${target.text}`);
}

/** Addresses to try, in order: the one in the target's URL, else those of the peer. */
function addressesOf(target: RemoteTarget, stateDir: string, io: CommandIo): readonly Address[] {
  if (target.address !== undefined) return [target.address];
  const trust = TrustStore.open({ stateDir, clock: io.world.clock });
  const peer = trust.find(target.peerId);
  if (peer === undefined) {
    throw new SyncError("PEER_UNTRUSTED", `device ${target.peerId} is not paired with this one`);
  }
  return peer.addresses.map((text) => parseAddress(text));
}
