/**
 * This device and its peers, as the commands `id`, `peers`, `pair` and `doctor` use them: the state
 * directory, the key, the trust list, the name that others see.
 */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { SyncError } from "../base/index.ts";
import { isDeviceName, loadIdentity, parseDeviceId, TrustStore } from "../transport/index.ts";
import type { Grant, Identity, Peer } from "../transport/index.ts";
import type { Clock } from "../world/index.ts";
import { stateDirectory } from "./command-io.ts";

export interface DeviceFiles {
  readonly stateDir: string;
  /** From systemd, if it gave one. */
  readonly credentialsDirectory: string | undefined;
  /** The key that counts, whether or not it exists yet. */
  readonly keyFile: string;
}

export function deviceFiles(env: Readonly<Record<string, string | undefined>>): DeviceFiles {
  const stateDir = stateDirectory(env);
  const credentialsDirectory = env["CREDENTIALS_DIRECTORY"];
  const given = credentialsDirectory ? join(credentialsDirectory, "key") : undefined;
  const keyFile = given !== undefined && existsSync(given) ? given : join(stateDir, "key");
  return { stateDir, credentialsDirectory, keyFile };
}

/** Makes the key at first use. Errors: KEY_UNUSABLE, STATE_UNUSABLE. */
export function loadDevice(files: DeviceFiles): Promise<Identity> {
  return loadIdentity(files);
}

/** Errors: STATE_UNUSABLE. */
export function openPeers(files: DeviceFiles, clock: Clock): TrustStore {
  return TrustStore.open({ stateDir: files.stateDir, clock });
}

/** What this device calls itself unless told otherwise: the host's name, if it can be shown. */
export function ownName(): string {
  const name = hostname();
  return isDeviceName(name) ? name : "device";
}

/** The peer that a person named by its name or its ID in any form. Errors: USAGE. */
export function requirePeer(store: TrustStore, text: string): Peer {
  const named = store.find(text) ?? store.find(idOf(text) ?? text);
  if (named !== undefined) return named;
  throw new SyncError("USAGE", `no peer ${JSON.stringify(text)}: see \`lockstep peers\``);
}

/** `SHARE:send` or `SHARE:receive`. Errors: USAGE. */
export function parseGrant(text: string): Grant {
  const colon = text.lastIndexOf(":");
  const [share, direction] = [text.slice(0, colon), text.slice(colon + 1)];
  if (colon > 0 && (direction === "send" || direction === "receive")) return { share, direction };
  throw new SyncError("USAGE", `${text}: expected SHARE:send or SHARE:receive`);
}

/** `site:send data:receive`, as `pair --grant` takes them. */
export function grantText(grants: readonly Grant[]): string {
  if (grants.length === 0) return "-";
  return grants.map(({ share, direction }) => `${share}:${direction}`).join(" ");
}

function idOf(text: string): string | undefined {
  try {
    return parseDeviceId(text);
  } catch (error) {
    if (error instanceof SyncError) return undefined;
    throw error;
  }
}
