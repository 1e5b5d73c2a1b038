/** Git in the source: many files, distant checkouts, packing; the copy is a sound repository. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./commands.ts";
import { gitIdentity } from "./git-identity.ts";
import type { Folders } from "./mirror.ts";
import { workload } from "./workload.ts";

interface History {
  readonly files: number;
  readonly commits: number;
  readonly changesPerCommit: number;
}

async function git(cwd: string, args: readonly string[], input?: string): Promise<string> {
  const settings = ["-c", "gc.auto=0", "-c", "maintenance.auto=false"];
  const options = { cwd, env: gitIdentity, ...(input === undefined ? {} : { input }) };
  return await runCommand("git", [...settings, ...args], options);
}

/** A stream for `git fast-import`: the first commit has all files, each later one changes some. */
function historyStream({ files, commits, changesPerCommit }: History): string {
  const parts: string[] = [];
  for (let commit = 0; commit < commits; commit++) {
    parts.push(`commit refs/heads/main\nmark :${commit + 1}\n`);
    parts.push(`committer A <a@example.org> ${1_700_000_000 + commit} +0000\ndata 2\nc\n`);
    const count = commit === 0 ? files : changesPerCommit;
    for (let index = 0; index < count; index++) {
      const file = commit === 0 ? index : (commit * 7919 + index * 104_729) % files;
      const text = `file ${file}\ncommit ${commit}\n`.repeat(1 + (file % 40));
      const mode = file % 50 === 0 ? "100755" : "100644";
      const path = `dir${file % 61}/sub${file % 7}/file${file}.txt`;
      // Now and then a file goes, and comes back when it is changed again.
      if (commit > 0 && index % 9 === 8) parts.push(`D ${path}\n`);
      else parts.push(`M ${mode} inline ${path}\ndata ${text.length}\n${text}\n`);
    }
  }
  return parts.join("");
}

async function makeRepository(folders: Folders, history: History): Promise<string> {
  const repository = join(folders.scratch, "origin.git");
  mkdirSync(repository);
  await git(repository, ["init", "--bare", "--quiet", "--initial-branch=main"]);
  await git(repository, ["fast-import", "--quiet"], historyStream(history));
  return repository;
}

for (const [size, history] of [
  ["small", { files: 300, commits: 20, changesPerCommit: 30 }],
  ["large", { files: 4000, commits: 400, changesPerCommit: 60 }],
] as const) {
  workload(`git, ${history.files} files`, { size, needs: ["git"] }, async (mirror) => {
    const origin = await makeRepository(mirror, history);
    await git(mirror.source, ["clone", "--quiet", "--no-hardlinks", origin, "work"]);
    const work = join(mirror.source, "work");
    const last = history.commits - 1;
    for (const back of [last, 0, last >> 1, 1, last]) {
      await git(work, ["checkout", "--quiet", "--detach", `main~${back}`]);
    }
    await git(work, ["checkout", "--quiet", "main"]);
    await git(work, ["gc", "--quiet", "--prune=now"]);
    await mirror.verifyClean();
    const copy = join(mirror.target, "work");
    await git(copy, ["--no-optional-locks", "fsck", "--strict", "--no-dangling"]);
    const changed = await git(copy, ["--no-optional-locks", "status", "--porcelain"]);
    assert.equal(changed, "");
  });
}
