/**
 * Sources and targets as the command line names them, checked before anything is opened: what does
 * not exist, is no folder, overlaps or cannot be reached gets its own message.
 */
import { accessSync, constants, mkdirSync, realpathSync, statSync } from "node:fs";
import { dirname, basename, join, resolve, sep } from "node:path";
import { SyncError } from "../base/index.ts";
import { type Address, parseAddress, parseDeviceId } from "../transport/index.ts";
import { errnoName, type Files, Open } from "../world/index.ts";

export interface RemoteTarget {
  kind: "remote";
  /** As the user wrote it. */
  text: string;
  peerId: string;
  address: Address | undefined;
  share: string;
  subpath: string;
}

export interface LocalTarget {
  kind: "local";
  text: string;
  path: string;
}

export type Target = RemoteTarget | LocalTarget;

/** How a target on another device begins. */
export const remoteScheme = "lockstep://";

/** A TARGET argument. Throws USAGE on one that has no meaning. */
export function parseTarget(text: string): Target {
  if (text.startsWith(remoteScheme)) return parseRemote(text);
  if (/^[^/]+:/.test(text)) {
    throw new SyncError("USAGE", `${text}: targets through ssh are not available in this version`);
  }
  return { kind: "local", text, path: resolve(text) };
}

/** `lockstep://DEVICE[@host:port]/SHARE[/sub]` */
function parseRemote(text: string): RemoteTarget {
  const rest = text.slice(remoteScheme.length);
  const slash = rest.indexOf("/");
  const share = slash < 0 ? "" : (rest.slice(slash + 1).split("/")[0] ?? "");
  if (share === "") {
    throw new SyncError("USAGE", `${text}: expected lockstep://DEVICE[@host:port]/SHARE[/sub]`);
  }
  const authority = rest.slice(0, slash);
  const at = authority.indexOf("@");
  const device = at < 0 ? authority : authority.slice(0, at);
  const address = at < 0 ? undefined : parseAddress(authority.slice(at + 1));
  const subpath = rest.slice(slash + 1 + share.length + 1).replace(/\/+$/, "");
  if (subpath.split("/").some((part) => part === ".." || part === ".")) {
    throw new SyncError("USAGE", `${text}: the folder below the share must not contain . or ..`);
  }
  const peerId = parseDeviceId(device);
  return { kind: "remote", text, peerId, address, share, subpath };
}

/** The real path of the source folder. Throws ROOT_MISSING, ROOT_NOT_DIRECTORY, ROOT_UNREADABLE. */
export function checkSource(path: string): string {
  const real = existingDirectory(path);
  if (!isAllowed(real, constants.R_OK | constants.X_OK)) {
    throw new SyncError("ROOT_UNREADABLE", `${path} cannot be read by this user`);
  }
  return real;
}

/** The real path of a target folder, made when only its last part is missing. */
export function checkTarget(path: string): string {
  const resolved = resolve(path);
  let real: string;
  try {
    real = realpathSync(resolved);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw rootError(path, error);
    real = join(existingDirectory(dirname(resolved)), basename(resolved));
    try {
      mkdirSync(real, 0o755);
    } catch (cause) {
      throw rootError(path, cause);
    }
  }
  existingDirectory(real);
  if (!isAllowed(real, constants.W_OK | constants.X_OK)) {
    throw new SyncError("ROOT_UNWRITABLE", `${path} cannot be written by this user`);
  }
  return real;
}

/** The real path that a target has or would have, without making it. */
export function plannedTarget(path: string): string {
  const resolved = resolve(path);
  try {
    return realpathSync(resolved);
  } catch {
    try {
      return join(realpathSync(dirname(resolved)), basename(resolved));
    } catch {
      return resolved;
    }
  }
}

/** Throws ROOTS_OVERLAP when one folder is or contains the other. */
export function checkOverlap(source: string, target: string): void {
  if (!contains(source, target, sep) && !contains(target, source, sep)) return;
  if (source === target) {
    throw new SyncError("ROOTS_OVERLAP", `${source} and ${target} are the same folder`);
  }
  const how = contains(source, target, sep) ? "lies inside" : "contains";
  throw new SyncError("ROOTS_OVERLAP", `target ${target} ${how} source ${source}`);
}

/**
 * Throws ROOTS_OVERLAP when source and targets are not all apart from each other. What cannot be
 * seen from here, such as two shares of a device that are one folder there, its lock refuses.
 */
export function checkTargetsOverlap(source: string, targets: readonly Target[]): void {
  const places = targets.map(placeOf);
  for (const [index, target] of targets.entries()) {
    const place = places[index]!;
    if (target.kind === "local") checkOverlap(source, place);
    for (const [earlier, other] of targets.slice(0, index).entries()) {
      const otherPlace = places[earlier]!;
      if (place === otherPlace) {
        throw new SyncError("ROOTS_OVERLAP", `${other.text} and ${target.text} are one target`);
      }
      if (contains(place, otherPlace, "/") || contains(otherPlace, place, "/")) {
        const how = contains(otherPlace, place, "/") ? "lies inside" : "contains";
        const message = `target ${target.text} ${how} target ${other.text}`;
        throw new SyncError("ROOTS_OVERLAP", message);
      }
    }
  }
}

/** Equal for equal places; a place inside another begins with it. */
function placeOf(target: Target): string {
  if (target.kind === "local") return plannedTarget(target.path);
  const below = target.subpath.split("/").filter((part) => part !== "");
  return [`${remoteScheme}${target.peerId}`, target.share, ...below].join("/");
}

/** Whether `inner` is `outer` or lies in it. */
export function contains(outer: string, inner: string, separator: string): boolean {
  const folder = outer.endsWith(separator) ? outer : outer + separator;
  return inner === outer || inner.startsWith(folder);
}

/** A descriptor of a folder; the caller closes it. */
export function openDirectory(files: Files, path: string): number {
  const fd = files.openPath(Buffer.from(path), Open.read | Open.directory);
  if (fd >= 0) return fd;
  throw new SyncError("ROOT_UNREADABLE", `open ${path}: ${errnoName(fd)}`);
}

/** Makes the state directory if need be and opens it. Throws STATE_UNUSABLE. */
export function openStateDirectory(files: Files, path: string): number {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new SyncError("STATE_UNUSABLE", `make ${path}: ${(cause as Error).message}`, { cause });
  }
  const fd = files.openPath(Buffer.from(path), Open.read | Open.directory);
  if (fd >= 0) return fd;
  throw new SyncError("STATE_UNUSABLE", `open ${path}: ${errnoName(fd)}`);
}

function existingDirectory(path: string): string {
  let real: string;
  try {
    real = realpathSync(path);
    if (statSync(real).isDirectory()) return real;
  } catch (error) {
    throw rootError(path, error);
  }
  throw new SyncError("ROOT_NOT_DIRECTORY", `${path} is not a folder`);
}

function rootError(path: string, cause: unknown): SyncError {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return new SyncError("ROOT_MISSING", `${path} does not exist`, { cause });
  if (code === "ENOTDIR")
    return new SyncError("ROOT_NOT_DIRECTORY", `${path} is not a folder`, { cause });
  if (code === "EROFS") return new SyncError("ROOT_UNWRITABLE", `${path} is read-only`, { cause });
  return new SyncError("ROOT_UNREADABLE", `${path}: ${code ?? String(cause)}`, { cause });
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** The names of a path below a folder. */
export function partsOf(subpath: string): string[] {
  return subpath.split("/").filter((part) => part !== "");
}
