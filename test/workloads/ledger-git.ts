/**
 * A git repository under continuous commits, packing and pruning, as the source of a mirror: one
 * writer, whose transactions are commits with a number for a subject. HEAD's history is what the
 * target has of them.
 *
 * Invariant: the writer is a group of processes of its own, ended by its id.
 * Source: man 1 git-gc, git-repack, git-fsck.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isInstalled, runCommand } from "./commands.ts";
import { gitIdentity } from "./git-identity.ts";
import type { Found } from "./ledger.ts";
import { Children, type LedgerDatabase, type LedgerPlace } from "./ledger-database.ts";

/** Arguments: repository, log. */
const writer = `
cd "$1"
# Of a git that was killed.
rm -f .git/*.lock .git/refs/heads/*.lock .git/gc.pid
number=$(grep -a ^B "$2" 2>/dev/null | tail -n 1 | cut -d ' ' -f 2)
while :; do
  number=$((number + 1))
  for file in 1 2 3; do
    folder=d$((RANDOM % 5))
    mkdir -p $folder
    for line in 1 2 3 4 5 6 7 8; do
      echo "$number $file $RANDOM$RANDOM$RANDOM"
    done > $folder/f$((RANDOM % 9))
  done
  echo $number > number
  git add -A || exit
  echo "B $number" >> "$2"
  git commit -q -m $number || exit
  echo "C $number $(date +%s%3N)" >> "$2"
  case $((number % 12)) in
    3) git repack -a -d -q ;;
    6) git gc -q --prune=now ;;
    9) git pack-refs --all ;;
    11) git tag -f last > /dev/null ;;
  esac || exit
done`;

/** Why there can be no such repository here; false if there can. */
export function whyNoGit(): string | false {
  return isInstalled("git") && isInstalled("bash") ? false : "needs git and bash";
}

/** The repository with its writer. */
export async function gitLedger(place: LedgerPlace): Promise<LedgerDatabase> {
  const { context, source, scratch } = place;
  const logs = join(scratch, "logs");
  mkdirSync(logs);
  const repository = join(source, "repository");
  const run = (cwd: string, ...args: string[]): Promise<string> =>
    runCommand("git", args, { cwd, env: gitIdentity });
  await run(scratch, "init", "-q", "--initial-branch=main", repository);
  for (const setting of ["gc.auto 0", "maintenance.auto false", "gc.reflogExpire now"]) {
    await run(repository, "config", ...setting.split(" "));
  }
  const children = new Children(context);
  return {
    logs,
    start: async () => {
      if (children.count > 0) return;
      const args = ["-c", writer, "writer", repository, join(logs, "git")];
      children.start("bash", args, { ...process.env, ...gitIdentity });
    },
    rest: () => children.signal("SIGSTOP"),
    goOn: () => children.signal("SIGCONT"),
    kill: () => children.kill(),
    check: async (copy) => {
      const at = join(copy, "repository");
      // A lock of a git that died with the source, as after any power cut.
      rmSync(join(at, ".git/index.lock"), { force: true });
      return await look((...args) => run(at, ...args));
    },
  };
}

async function look(git: (...args: string[]) => Promise<string>): Promise<Found> {
  const problems: string[] = [];
  try {
    const said = await git("fsck", "--full", "--strict", "--no-dangling", "--no-progress");
    if (said.trim() !== "") problems.push(said.slice(0, 500));
    const subjects = (await git("log", "--format=%s", "HEAD")).trim().split("\n");
    return { problems, writers: { git: subjects.map(Number).sort((a, b) => a - b) } };
  } catch (error) {
    problems.push(error instanceof Error ? error.message.slice(0, 800) : String(error));
    return { problems, writers: {} };
  }
}
