/**
 * Filesystems for the contract suite of capture: the one of the temporary folder, tmpfs, and loop
 * mounts of xfs and btrfs where root and mkfs are at hand. Each is given back by `remove`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TestFolder {
  readonly path: string;
  remove(): void;
}

export type FilesystemName = "temporary folder" | "tmpfs" | "xfs" | "btrfs";

/** An empty folder on the filesystem, or why there is none. */
export function makeFolder(filesystem: FilesystemName): TestFolder | string {
  if (filesystem === "temporary folder") return plainFolder(tmpdir());
  if (filesystem === "tmpfs") {
    return existsSync("/dev/shm") ? plainFolder("/dev/shm") : "there is no /dev/shm";
  }
  return loopFolder(filesystem);
}

function plainFolder(below: string): TestFolder {
  const path = mkdtempSync(join(below, "lockstep-capture-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

function loopFolder(filesystem: "xfs" | "btrfs"): TestFolder | string {
  if (process.getuid?.() !== 0) return "only root may mount";
  const outer = plainFolder(tmpdir());
  const image = join(outer.path, "image");
  const mounted = join(outer.path, "mounted");
  mkdirSync(mounted);
  const steps: [string, string[]][] = [
    ["truncate", ["-s", "400M", image]],
    [`mkfs.${filesystem}`, ["-q", image]],
    ["mount", ["-o", "loop", image, mounted]],
  ];
  for (const [command, args] of steps) {
    const ran = spawnSync(command, args, { encoding: "utf8" });
    if (ran.status !== 0) {
      outer.remove();
      return `${command}: ${ran.error?.message ?? ran.stderr.trim()}`;
    }
  }
  const remove = (): void => {
    spawnSync("umount", [mounted]);
    outer.remove();
  };
  return { path: mounted, remove };
}
