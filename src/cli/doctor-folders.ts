/**
 * Source, target and state directory, for `lockstep doctor`.
 *
 * Invariants: nothing is written into the source. What a filesystem can do is tried on unnamed
 * files (O_TMPFILE), which leave no trace, in the state directory and the target only.
 * Every backend is really opened on the source, and closed again.
 * Source: statfs(2), open(2) O_TMPFILE, linux/magic.h.
 */
import type { MountBelow } from "../model/index.ts";
import { mountsBelow } from "./mounts-below.ts";
import { accessSync, constants, copyFileSync, existsSync, statfsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { SyncError } from "../base/index.ts";
import { backendNames, openBackend } from "../capture/index.ts";
import { Errno, errnoName, Fallocate, Open } from "../world/index.ts";
import type { Files } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import type { Native } from "../world/node/index.ts";
import { fail, ok, reasonOf, warn } from "./doctor-finding.ts";
import type { DoctorFinding } from "./doctor-finding.ts";
import {
  checkOverlap,
  checkSource,
  openDirectory,
  openStateDirectory,
  plannedTarget,
} from "./places.ts";
import { bytesText } from "./status-command.ts";

/** Mount points below the source that are shown. */
const mountsShownMax = 100;
const freeBytesMin = 1e9;

const remoteNames = new Set(["nfs", "cifs", "smb2", "9p", "fuse", "ceph", "afs"]);
/** They keep no owners, modes or times of Linux. */
const poorNames = new Set(["vfat", "exfat", "ntfs", "ntfs3"]);

/** Filesystem magic numbers: linux/magic.h, and those of modules outside of the kernel. */
const filesystemNames: ReadonlyMap<number, string> = new Map([
  [0xef53, "ext4"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0xf2f52010, "f2fs"],
  [0xca451a4e, "bcachefs"],
  [0x2fc12fc1, "zfs"],
  [0x01021994, "tmpfs"],
  [0x858458f6, "ramfs"],
  [0x794c7630, "overlay"],
  [0x6969, "nfs"],
  [0xff534d42, "cifs"],
  [0xfe534d42, "smb2"],
  [0x01021997, "9p"],
  [0x65735546, "fuse"],
  [0x00c36400, "ceph"],
  [0x5346414f, "afs"],
  [0x4d44, "vfat"],
  [0x2011bab0, "exfat"],
  [0x5346544e, "ntfs"],
  [0x7366746e, "ntfs3"],
  [0x73717368, "squashfs"],
  [0xe0f5e1e2, "erofs"],
  [0x9660, "iso9660"],
]);

export interface SourceFindings {
  readonly findings: readonly DoctorFinding[];
  /** The backend that auto would take. */
  readonly backend: string | undefined;
}

export function examineSource(path: string): SourceFindings {
  const topic = `source ${path}`;
  let real: string;
  try {
    real = checkSource(path);
  } catch (error) {
    return { findings: [failed(topic, error)], backend: undefined };
  }
  const name = filesystemName(real);
  const findings = [
    remoteNames.has(name)
      ? warn(topic, name, "changes made by other machines are not noticed: run there instead")
      : ok(topic, name),
  ];
  const { findings: tried, backend } = examineBackends(real);
  return { findings: [...findings, ...examineMounts(real), ...tried], backend };
}

/** What is mounted below the source, and what `--cross-mounts` makes of it. */
function examineMounts(path: string): DoctorFinding[] {
  let below: readonly MountBelow[];
  try {
    const files = native();
    const fd = openDirectory(files, path);
    below = [...mountsBelow(files, path, fd, []).below];
    files.close(fd);
  } catch {
    // Told by the backends, which need the same.
    return [];
  }
  return below.slice(0, mountsShownMax).map(({ place, kind, leftOut }) => {
    const topic = `mount ${path}/${Buffer.from(place, "latin1").toString()}`;
    if (leftOut === undefined)
      return ok(topic, `${kind}; followed with --cross-mounts, else left out`);
    return ok(topic, `${kind}; left out: ${leftOut}`);
  });
}

function examineBackends(path: string): SourceFindings {
  let files: Native;
  let rootFd: number;
  try {
    files = native();
    rootFd = openDirectory(files, path);
  } catch (error) {
    return { findings: [failed("backends", error)], backend: undefined };
  }
  const refusals = new Map<string, string>();
  try {
    for (const name of backendNames) {
      try {
        openBackend(files, name, rootFd).backend.close();
      } catch (error) {
        if (!(error instanceof SyncError)) throw error;
        refusals.set(name, error.message);
      }
    }
  } finally {
    files.close(rootFd);
  }
  const backend = backendNames.find((name) => !refusals.has(name));
  const findings = backendNames.map((name) => {
    const refusal = refusals.get(name);
    const topic = `backend ${name}`;
    if (refusal === undefined)
      return ok(topic, name === backend ? "works; auto takes it" : "works");
    const advice =
      backend === undefined
        ? "no other backend works here: run as root"
        : `${backend} is used instead, with more delay; run as root to have ${name}`;
    return (backend === undefined ? fail : warn)(topic, refusal, advice);
  });
  return { findings, backend };
}

/** A local target, which need not exist yet. */
export function examineTarget(source: string, path: string): DoctorFinding[] {
  const topic = `target ${path}`;
  const planned = plannedTarget(path);
  const findings: DoctorFinding[] = [];
  try {
    // Without a source there is nothing to overlap with; that has been said already.
    if (existsSync(source)) checkOverlap(checkSource(source), planned);
  } catch (error) {
    findings.push(failed("overlap", error));
  }
  const exists = existsSync(planned);
  const folder = exists ? planned : dirname(planned);
  try {
    checkSource(folder);
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    const advice = "make the folder, and be a user who may write into it";
    findings.push(fail(topic, `${folder}: ${reasonOf(error)}`, advice));
    return findings;
  }
  const name = filesystemName(folder);
  const detail = exists ? name : `${name}; the folder will be made`;
  findings.push(
    poorNames.has(name)
      ? warn(topic, detail, "it cannot hold owners and modes: choose a Linux filesystem")
      : ok(topic, detail),
  );
  findings.push(spaceFinding(`space of target`, folder), ...examineAbilities("target", folder));
  return findings;
}

export function examineState(path: string): DoctorFinding[] {
  const topic = `state ${path}`;
  try {
    const files = native();
    files.close(openStateDirectory(files, path));
    accessSync(path, constants.W_OK | constants.X_OK);
  } catch (error) {
    return [fail(topic, reasonOf(error), "make it a folder that this user can write")];
  }
  return [
    ok(topic, filesystemName(path)),
    spaceFinding("space of state", path),
    ...examineAbilities("state", path),
  ];
}

function filesystemName(path: string): string {
  const magic = statfsSync(resolve(path)).type >>> 0;
  return filesystemNames.get(magic) ?? `filesystem 0x${magic.toString(16)}`;
}

function spaceFinding(topic: string, path: string): DoctorFinding {
  const { bavail, bsize, blocks } = statfsSync(path);
  const free = bavail * bsize;
  const detail = `${bytesText(free)} of ${bytesText(blocks * bsize)} free`;
  if (blocks === 0) return ok(topic, "the filesystem does not say");
  if (free === 0) return fail(topic, detail, "free some space");
  return free < freeBytesMin ? warn(topic, detail, "free some space") : ok(topic, detail);
}

/** What the filesystem can do, tried on two unnamed files. */
function examineAbilities(what: string, path: string): DoctorFinding[] {
  const topic = `abilities of ${what}`;
  try {
    const files = native();
    const folderFd = openDirectory(files, path);
    try {
      return [tryAbilities(files, folderFd, topic)];
    } finally {
      files.close(folderFd);
    }
  } catch (error) {
    return [failed(topic, error)];
  }
}

function tryAbilities(files: Files, folderFd: number, topic: string): DoctorFinding {
  const here = Buffer.from(".");
  const flags = Open.temporary | Open.readWrite;
  const [from, to] = [1, 2].map(() => files.openBeneath(folderFd, here, flags, 0o600)) as [
    number,
    number,
  ];
  try {
    if (from < 0 || to < 0) {
      const advice = "new files are written under a name of their own first, which costs time";
      return warn(topic, `no unnamed files: ${errnoName(Math.min(from, to))}`, advice);
    }
    const block = Buffer.alloc(8192, 1);
    files.pwrite(from, block, 0, block.length, 0);
    const value = Buffer.from("1");
    const hole = Fallocate.punchHole | Fallocate.keepSize;
    const results = {
      "punched holes": files.fallocate(from, hole, 0, 4096),
      attributes: files.setAttribute(from, Buffer.alloc(0), Buffer.from("user.lockstep"), value),
      reflinks: tryReflink(from, to),
    };
    const can = ["unnamed files"];
    const cannot: string[] = [];
    for (const [name, result] of Object.entries(results)) {
      if (result >= 0) can.push(name);
      else cannot.push(`no ${name} (${errnoName(result)})`);
    }
    const detail = [...can, ...cannot].join(", ");
    // Reflinks only save time, and few filesystems have them.
    const isPoor = results.attributes < 0 || results["punched holes"] < 0;
    if (!isPoor) return ok(topic, detail);
    return warn(topic, detail, "what it cannot hold is left out and reported as a problem");
  } finally {
    for (const fd of [from, to]) if (fd >= 0) files.close(fd);
  }
}

/** By libuv, as the addon's cloneRange copies where it cannot share. */
function tryReflink(fromFd: number, toFd: number): number {
  const [from, to] = [`/proc/self/fd/${fromFd}`, `/proc/self/fd/${toFd}`];
  try {
    copyFileSync(from, to, constants.COPYFILE_FICLONE_FORCE);
    return 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? -Errno.EIO;
  }
}

function failed(topic: string, error: unknown): DoctorFinding {
  if (error instanceof SyncError) return fail(topic, error.message, error.advice);
  return fail(topic, reasonOf(error), "see the reason");
}
