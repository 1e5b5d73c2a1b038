/**
 * stress-ng and fio: every way to change a file that the kernel has, quickly and several at once.
 * What they make is kept (--keep-files), so that there is something to compare at the end.
 * A stressor that this stress-ng or this kernel lacks is a skip with its name.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./commands.ts";
import { workload } from "./workload.ts";

const seconds = 2;

const stressors: Readonly<Record<string, readonly string[]>> = {
  hdd: ["--hdd-bytes", "16M"],
  mmap: ["--mmap-file", "--mmap-bytes", "4M"],
  rename: [],
  link: [],
  symlink: [],
  dir: [],
  utime: [],
  xattr: [],
  fallocate: ["--fallocate-bytes", "16M"],
  "copy-file": ["--copy-file-bytes", "128M"],
  sendfile: [],
  splice: [],
  iomix: ["--iomix-bytes", "16M"],
  aio: [],
  "io-uring": [],
};

for (const [stressor, extra] of Object.entries(stressors)) {
  const size = stressor === "rename" ? "small" : "large";
  workload(`stress-ng ${stressor}`, { size, needs: ["stress-ng"] }, async (mirror, t) => {
    const place = join(mirror.source, "stress");
    mkdirSync(place);
    const limits = ["--timeout", `${seconds}s`, "--temp-path", place, "--keep-files"];
    const args = [`--${stressor}`, "2", ...extra, ...limits];
    const output = await runCommand("stress-ng", args, { cwd: mirror.scratch });
    if (/skipped: [1-9]/.test(output)) t.skip(`this kernel refuses: ${output.slice(-300)}`);
    t.diagnostic(`${readdirSync(place, { recursive: true }).length} entries left`);
  });
}

const engines: Readonly<Record<string, readonly string[]>> = {
  psync: [],
  libaio: ["--direct=1", "--iodepth=16"],
  io_uring: ["--iodepth=16"],
  mmap: [],
};

for (const [engine, extra] of Object.entries(engines)) {
  const size = engine === "psync" ? "small" : "large";
  workload(`fio ${engine}`, { size, needs: ["fio"] }, async (mirror, t) => {
    const args = [
      `--ioengine=${engine}`,
      "--name=job",
      "--rw=randwrite",
      "--bs=4k",
      "--size=16M",
      "--numjobs=2",
      "--time_based",
      `--runtime=${seconds}`,
      "--verify=0",
      "--group_reporting",
      `--directory=${mirror.source}`,
      ...extra,
    ];
    try {
      await runCommand("fio", args, { cwd: mirror.scratch });
    } catch (error) {
      const refused = /engine .* not loadable|Operation not permitted|Function not implemented/;
      if (!(error instanceof Error) || !refused.test(error.message)) throw error;
      t.skip(`fio or this kernel has no ${engine}`);
    }
  });
}
