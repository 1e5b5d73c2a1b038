/** Many small files that come and go: packages of npm, archives, rsync into the source. */
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "./commands.ts";
import { fileCount, workload } from "./workload.ts";

/** The checkout that this file was compiled in. */
function projectFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json")) && folder !== "/") folder = dirname(folder);
  return folder;
}

/** `count` files of some bytes to some kilobytes in directories of a few hundred. */
function makeFiles(root: string, count: number, seed: number): void {
  for (let index = 0; index < count; index++) {
    const folder = join(root, `d${index % 17}`, `e${Math.floor(index / 17) % 13}`);
    if (index < 17 * 13) mkdirSync(folder, { recursive: true });
    const text = `${seed} ${index}\n`.repeat(1 + ((index * 31) % 200));
    writeFileSync(join(folder, `file-${index}`), text);
  }
}

workload(
  "copy and remove of a node_modules tree",
  { size: "large", needs: ["cp"] },
  async (m, t) => {
    const modules = join(projectFolder(), "node_modules");
    if (!existsSync(modules)) return t.skip("no node_modules to copy");
    await runCommand("cp", ["-aL", modules, join(m.source, "node_modules")], { cwd: m.source });
    await m.verifyClean();
    await runCommand("rm", ["-rf", "node_modules"], { cwd: m.source });
  },
);

workload("npm ci", { size: "large", needs: ["npm"] }, async (mirror, t) => {
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  for (const file of ["package.json", "package-lock.json"]) {
    cpSync(join(projectFolder(), file), join(mirror.source, file));
  }
  try {
    await runCommand("npm", ["ping", "--fetch-retries=0", "--fetch-timeout=10000"], {
      cwd: mirror.scratch,
    });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return t.skip("no package registry can be reached");
  }
  await runCommand("npm", ["ci", ...quiet], { cwd: mirror.source });
  await mirror.verifyClean();
  // Again over what is there: npm removes all and starts anew.
  await runCommand("npm", ["ci", ...quiet], { cwd: mirror.source });
});

for (const [size, count] of [
  ["small", 1000],
  ["large", fileCount],
] as const) {
  workload(`tar and rm of ${count} files`, { size, needs: ["tar"] }, async (mirror) => {
    const packed = join(mirror.scratch, "packed");
    const archive = join(mirror.scratch, "archive.tar");
    makeFiles(packed, count, 1);
    await runCommand("tar", ["-cf", archive, "-C", packed, "."], { cwd: mirror.scratch });
    rmSync(packed, { recursive: true });
    mkdirSync(join(mirror.source, "tree"));
    await runCommand("tar", ["-xf", archive, "-C", "tree"], { cwd: mirror.source });
    await mirror.verifyClean();
    // Over what is there: tar unlinks each file and makes it anew.
    await runCommand("tar", ["-xf", archive, "-C", "tree"], { cwd: mirror.source });
    await runCommand("mv", ["tree", "moved"], { cwd: mirror.source });
    await mirror.verifyClean();
    await runCommand("rm", ["-rf", "moved/d3", "moved/d5/e1"], { cwd: mirror.source });
    await mirror.verifyClean();
    await runCommand("rm", ["-rf", "moved"], { cwd: mirror.source });
  });
}

for (const [size, inplace] of [
  ["large", []],
  ["small", ["--inplace", "--no-whole-file"]],
] as const) {
  const name = `rsync ${inplace[0] ?? "by rename"} into the source`;
  workload(name, { size, needs: ["rsync"] }, async (mirror) => {
    const origin = join(mirror.scratch, "origin");
    for (let round = 0; round < 3; round++) {
      makeFiles(origin, 400, round);
      const large = Buffer.alloc(3_000_000, `round ${round >> 1} `);
      large.write(`round ${round}`, 1_234_567);
      writeFileSync(join(origin, "large"), large);
      // -I: sizes are equal, and times may be within a second.
      const args = ["-aI", "--delete", ...inplace, `${origin}/`, `${mirror.source}/`];
      await runCommand("rsync", args, { cwd: mirror.scratch });
    }
    rmSync(join(origin, "d1"), { recursive: true });
    const args = ["-a", "--delete", ...inplace, `${origin}/`, `${mirror.source}/`];
    await runCommand("rsync", args, { cwd: mirror.scratch });
  });
}
