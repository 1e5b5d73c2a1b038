/**
 * The trust list: which devices this one knows, how to reach them and what they may do. One JSON
 * file, `<stateDir>/peers.json`, mode 0600, read by every process of the user and written by a few
 * (`pair`, `peers`). A device that is not in it gets no link.
 * Invariants: the file is replaced whole under a lock, always starting from what is on disk, so a
 * revocation is not lost to a concurrent pairing; a file that cannot be read, parsed or validated
 * is STATE_UNUSABLE and is left as it is: an empty list would hide the damage.
 * Limits: PEERS_MAX, PEER_ADDRESSES_MAX, PEER_GRANTS_MAX, TRUST_FILE_BYTES_MAX.
 */
import { closeSync, openSync, readFileSync, statSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";

import * as v from "valibot";

import { SyncError } from "../base/index.ts";
import type { Clock } from "../world/index.ts";
import { parseAddress } from "./address.ts";
import { isDeviceId } from "./device-id.ts";
import {
  DEVICE_NAME_BYTES_MAX,
  PEER_ADDRESSES_MAX,
  PEER_GRANTS_MAX,
  PEERS_MAX,
  SHARE_NAME_CHARS_MAX,
  TRUST_FILE_BYTES_MAX,
  TRUST_LOCK_TRIES_MAX,
} from "./limits.ts";
import {
  errnoOf,
  FORBIDDEN_WRITABLE,
  ownUid,
  prepareStateDir,
  readStateFile,
  replaceStateFile,
} from "./state-file.ts";

/** `send`: the peer may send into the share here; `receive`: it may receive the share from here. */
export type GrantDirection = "send" | "receive";

export interface Grant {
  readonly share: string;
  readonly direction: GrantDirection;
}

export interface Peer {
  readonly id: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly grants: readonly Grant[];
  /** Wall clock, ISO 8601. */
  readonly addedAt: string;
}

/** True for a name that can be shown: 1 to 64 bytes, no control or invisible characters. */
export function isDeviceName(name: string): boolean {
  const byteCount = Buffer.byteLength(name);
  return byteCount >= 1 && byteCount <= DEVICE_NAME_BYTES_MAX && !/[\p{C}\p{Zl}\p{Zp}]/u.test(name);
}

const shareSchema = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(SHARE_NAME_CHARS_MAX),
  v.check((share) => !/[\p{C}/]/u.test(share), "has a slash or a control character"),
);
const peerSchema = v.strictObject({
  id: v.pipe(v.string(), v.check(isDeviceId, "not a device ID")),
  name: v.pipe(v.string(), v.check(isDeviceName, "not a device name")),
  addresses: v.pipe(
    v.array(v.pipe(v.string(), v.check(isAddress, "not host:port"))),
    v.maxLength(PEER_ADDRESSES_MAX),
  ),
  grants: v.pipe(
    v.array(v.strictObject({ share: shareSchema, direction: v.picklist(["send", "receive"]) })),
    v.maxLength(PEER_GRANTS_MAX),
  ),
  addedAt: v.pipe(v.string(), v.isoTimestamp()),
});
const fileSchema = v.strictObject({
  version: v.literal(1),
  peers: v.pipe(v.array(peerSchema), v.maxLength(PEERS_MAX)),
});

/** The list of one state directory. Synchronous: the file is small and rarely touched. */
export class TrustStore {
  readonly path: string;
  readonly #clock: Clock;
  #peers: readonly Peer[] = [];
  #stamp = "";

  private constructor(path: string, clock: Clock) {
    this.path = path;
    this.#clock = clock;
  }

  /** Opens `<stateDir>/peers.json`; a missing file is an empty list. Errors: STATE_UNUSABLE. */
  static open(options: { readonly stateDir: string; readonly clock: Clock }): TrustStore {
    prepareStateDir(options.stateDir);
    const store = new TrustStore(join(options.stateDir, "peers.json"), options.clock);
    store.reload();
    return store;
  }

  /** Reads the file again. On an error the list in memory stays as it was. */
  reload(): void {
    const stamp = this.#stampNow();
    this.#peers = this.#read();
    this.#stamp = stamp;
  }

  /** Whether `id` may have a link now; looks at the file first if another process changed it. */
  isTrusted(id: string): boolean {
    if (this.#stampNow() !== this.#stamp) this.reload();
    return this.#peers.some((peer) => peer.id === id);
  }

  list(): readonly Peer[] {
    return this.#peers;
  }

  /** The peer with this ID or name, as of the last load. */
  find(idOrName: string): Peer | undefined {
    return this.#peers.find((peer) => peer.id === idOrName || peer.name === idOrName);
  }

  /** Whether `id` holds the grant. */
  isGranted(id: string, grant: Grant): boolean {
    return this.isTrusted(id) && (this.find(id)?.grants.some(sameGrant(grant)) ?? false);
  }

  /**
   * Adds a peer, or gives a known one new addresses (its grants and name stay).
   * A name that another peer has gets a number. Errors: USAGE for values out of bounds.
   */
  add(peer: { id: string; name: string; addresses: readonly string[] }): Peer {
    return this.#change((peers) => {
      const known = peers.find((entry) => entry.id === peer.id);
      const addresses = [...new Set([...peer.addresses, ...(known?.addresses ?? [])])];
      const entry: Peer = {
        id: peer.id,
        name: known?.name ?? freeName(peers, peer.name),
        addresses: addresses.slice(0, PEER_ADDRESSES_MAX),
        grants: known?.grants ?? [],
        addedAt: known?.addedAt ?? new Date(this.#clock.wallMs()).toISOString(),
      };
      const others = peers.filter((other) => other.id !== peer.id);
      return { peers: [...others, entry], result: entry };
    });
  }

  /** Removes a peer by ID or name; false when there is none. */
  remove(idOrName: string): boolean {
    return this.#change((peers) => {
      const kept = peers.filter((peer) => peer.id !== idOrName && peer.name !== idOrName);
      return { peers: kept, result: kept.length < peers.length };
    });
  }

  /** Renames a peer. Errors: USAGE when it is unknown or the name is taken. */
  rename(idOrName: string, name: string): Peer {
    return this.#edit(idOrName, (peer, peers) => {
      if (peers.some((other) => other.name === name && other.id !== peer.id)) {
        throw new SyncError("USAGE", `another device is called ${JSON.stringify(name)}`);
      }
      return { ...peer, name };
    });
  }

  /** Gives a peer a grant; giving it twice is one. */
  grant(idOrName: string, grant: Grant): Peer {
    return this.#edit(idOrName, (peer) => ({
      ...peer,
      grants: [...peer.grants.filter((held) => !sameGrant(grant)(held)), { ...grant }],
    }));
  }

  /** Takes a grant away; taking what is not there changes nothing. */
  revoke(idOrName: string, grant: Grant): Peer {
    return this.#edit(idOrName, (peer) => ({
      ...peer,
      grants: peer.grants.filter((held) => !sameGrant(grant)(held)),
    }));
  }

  #edit(idOrName: string, edit: (peer: Peer, peers: readonly Peer[]) => Peer): Peer {
    return this.#change((peers) => {
      const old = peers.find((peer) => peer.id === idOrName || peer.name === idOrName);
      if (old === undefined) throw new SyncError("USAGE", `no device ${JSON.stringify(idOrName)}`);
      const edited = edit(old, peers);
      return { peers: peers.map((peer) => (peer === old ? edited : peer)), result: edited };
    });
  }

  #change<T>(change: (peers: readonly Peer[]) => { peers: readonly Peer[]; result: T }): T {
    const lock = `${this.path}.lock`;
    takeLock(lock);
    try {
      const { peers, result } = change(this.#read());
      const file = { version: 1, peers };
      const checked = v.safeParse(fileSchema, file);
      if (!checked.success) throw new SyncError("USAGE", issueText(checked.issues[0]));
      const content = `${JSON.stringify(file, undefined, 2)}\n`;
      if (Buffer.byteLength(content) > TRUST_FILE_BYTES_MAX) {
        throw new SyncError("USAGE", `the trust list would pass ${TRUST_FILE_BYTES_MAX} bytes`);
      }
      replaceStateFile(this.path, content);
      this.#peers = peers;
      this.#stamp = this.#stampNow();
      return result;
    } finally {
      unlinkSync(lock);
    }
  }

  #read(): readonly Peer[] {
    const content = readStateFile({
      path: this.path,
      bytesMax: TRUST_FILE_BYTES_MAX,
      forbiddenMode: FORBIDDEN_WRITABLE,
      owners: [ownUid()],
      code: "STATE_UNUSABLE",
    });
    if (content === undefined) return [];
    let parsed: unknown;
    try {
      parsed = JSON.parse(content.toString("utf8"));
    } catch (error) {
      throw damaged(this.path, "not JSON", error);
    }
    const checked = v.safeParse(fileSchema, parsed);
    if (!checked.success) throw damaged(this.path, issueText(checked.issues[0]), undefined);
    const { peers } = checked.output;
    if (new Set(peers.map((peer) => peer.id)).size !== peers.length) {
      throw damaged(this.path, "a device is listed twice", undefined);
    }
    return peers;
  }

  /** Changes whenever the file does: every write makes a new inode. */
  #stampNow(): string {
    const stat = statSync(this.path, { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? "none" : `${stat.ino} ${stat.mtimeNs} ${stat.ctimeNs} ${stat.size}`;
  }
}

function sameGrant(grant: Grant): (other: Grant) => boolean {
  return (other) => other.share === grant.share && other.direction === grant.direction;
}

function freeName(peers: readonly Peer[], wanted: string): string {
  const taken = new Set(peers.map((peer) => peer.name));
  if (!taken.has(wanted)) return wanted;
  for (let number = 2; number <= PEERS_MAX + 1; number += 1) {
    const suffix = `-${number}`;
    let base = wanted;
    while (Buffer.byteLength(base) + suffix.length > DEVICE_NAME_BYTES_MAX) {
      base = [...base].slice(0, -1).join("");
    }
    if (!taken.has(base + suffix)) return base + suffix;
  }
  throw new SyncError("USAGE", `no free name like ${JSON.stringify(wanted)}`);
}

function isAddress(text: string): boolean {
  try {
    parseAddress(text);
    return true;
  } catch {
    return false;
  }
}

function issueText(issue: v.BaseIssue<unknown>): string {
  return `${v.getDotPath(issue) ?? "the file"}: ${issue.message}`;
}

function damaged(path: string, why: string, cause: unknown): SyncError {
  const advice = "restore it from a backup, or move it away and pair the devices anew";
  return new SyncError("STATE_UNUSABLE", `${path} is damaged (${why}): ${advice}`, { cause });
}

/** Holds while this process works on the file; a lock left by a dead process is taken over. */
function takeLock(path: string): void {
  for (let tries = 0; tries < TRUST_LOCK_TRIES_MAX; tries += 1) {
    try {
      const fd = openSync(path, "wx", 0o600);
      writeSync(fd, String(process.pid));
      closeSync(fd);
      return;
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") {
        throw new SyncError("STATE_UNUSABLE", `${path}: ${errnoOf(error)}`, { cause: error });
      }
    }
    if (isLeftOver(path)) unlinkSync(path);
    // The holder is another process in a few synchronous system calls: waiting here is right.
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
  throw new SyncError("STATE_UNUSABLE", `${path}: held by another process; remove it if none runs`);
}

function isLeftOver(path: string): boolean {
  try {
    const pid = Number(readFileSync(path, "utf8"));
    // An empty file is a holder between open and write: wait for it.
    if (!Number.isInteger(pid) || pid <= 0) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return errnoOf(error) === "ESRCH";
  }
}
