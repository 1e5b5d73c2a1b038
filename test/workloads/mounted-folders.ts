/**
 * Filesystems that a test mounts below a mirror's folders, and what of those folders is put on
 * them. Needs root. Invariant: what is mounted goes again, the last one first, when the test ends.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import type { TestContext } from "node:test";

/** Why there can be none here; false if there can. */
export function whyNoMount(): string | false {
  return process.getuid?.() === 0 ? false : "needs root, to mount";
}

export class MountedFolders {
  readonly #mounted: string[] = [];

  /** To be made before the folders: what is mounted there has to go first. */
  constructor(context: TestContext) {
    context.after(() => this.unmount());
  }

  /** `args`: those of `mount` before the place. Source: man 8 mount. */
  mount(at: string, ...args: string[]): void {
    execFileSync("mount", [...args, at]);
    this.#mounted.unshift(at);
  }

  /** Makes `at`, and mounts there. */
  make(at: string, ...args: string[]): void {
    mkdirSync(at, { recursive: true });
    this.mount(at, ...args);
  }

  /** Each of these folders lies on the filesystem at `at` from now on, with what is in it. */
  put(at: string, ...folders: string[]): void {
    for (const folder of folders) {
      cpSync(folder, join(at, basename(folder)), { recursive: true });
    }
    this.bind(at, ...folders);
  }

  /** The same for what has been put there before. */
  bind(at: string, ...folders: string[]): void {
    for (const folder of folders) this.mount(folder, "--bind", join(at, basename(folder)));
  }

  /** All of it; where somebody still reads after a second, without waiting for that to end. */
  unmount(): void {
    const script =
      'for i in $(seq 20); do umount "$0" 2> /dev/null && exit; sleep 0.05; done; umount -l "$0"';
    for (const at of this.#mounted.splice(0)) execFileSync("sh", ["-c", script, at]);
  }
}
