/**
 * A mount namespace of its own for one test: what is mounted in it is seen by what runs in it, and
 * is gone with it, loop devices included, however the test ends.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { readlinkSync } from "node:fs";
import type { TestContext } from "node:test";

export class MountSpace {
  /** To be put before a command that runs in it; it starts in `/`. */
  readonly prefix: readonly string[];

  private constructor(pid: number) {
    this.prefix = ["nsenter", "-t", String(pid), "-m"];
  }

  /** Undefined, and a skip, where a namespace or a loop mount cannot be had. */
  static make(context: TestContext): MountSpace | undefined {
    if (process.getuid?.() !== 0) {
      context.skip("needs root, to mount");
      return undefined;
    }
    const script = "mount -t tmpfs probe /mnt && umount /mnt && echo ready && exec sleep 600";
    const holder = spawn("unshare", ["-m", "--propagation", "private", "sh", "-c", script], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    context.after(() => holder.kill("SIGKILL"));
    const space = new MountSpace(holder.pid ?? 0);
    const own = readlinkSync("/proc/self/ns/mnt");
    for (let tries = 0; tries < 200; tries++) {
      // Whoever is in there has its own table, once it is in there.
      const made = spawnSync(space.prefix[0]!, [
        ...space.prefix.slice(1),
        "sh",
        "-c",
        `test $(readlink /proc/self/ns/mnt) != "${own}" && command -v mkfs.ext4`,
      ]);
      if (made.status === 0) return space;
      spawnSync("sleep", ["0.02"]);
    }
    context.skip("a mount namespace or mkfs.ext4 cannot be had here");
    return undefined;
  }

  /** Runs a script of bash in it, which must succeed. */
  run(script: string): string {
    const args = [...this.prefix.slice(1), "bash", "-ec", script];
    return execFileSync(this.prefix[0]!, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Unmounts, when whoever reads there has let go. */
  unmount(path: string): void {
    this.run(`for i in $(seq 100); do umount '${path}' && exit 0; sleep 0.05; done; exit 1`);
  }
}
