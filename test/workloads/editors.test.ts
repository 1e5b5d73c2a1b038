/** The ways in which editors save: in place, by rename, with a backup; many times in a row. */
import {
  appendFileSync,
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { runCommand } from "./commands.ts";
import { workload } from "./workload.ts";

const roundCount = 100;

function textOf(round: number): string {
  return `round ${round}\n`.repeat(1 + ((round * 37) % 300));
}

const saves: Readonly<Record<string, (file: string, round: number) => void>> = {
  "a temporary file renamed over": (file, round) => {
    const fd = openSync(`${file}.tmp-${round}`, "wx", 0o640);
    writeSync(fd, textOf(round));
    fsyncSync(fd);
    closeSync(fd);
    renameSync(`${file}.tmp-${round}`, file);
  },
  "truncated and written in place, as VS Code does": (file, round) => {
    const fd = openSync(file, "r+");
    const text = textOf(round);
    // Bytes first, then the length: what lies between is a state that a reader may see.
    writeSync(fd, text, 0);
    closeSync(fd);
    writeFileSync(file, text);
  },
  "moved to a backup and written anew, as Emacs does": (file, round) => {
    rmSync(`${file}~`, { force: true });
    renameSync(file, `${file}~`);
    writeFileSync(file, textOf(round));
    chmodSync(file, round % 2 === 0 ? 0o600 : 0o644);
  },
  "a hard link as backup, then renamed over": (file, round) => {
    rmSync(`${file}.bak`, { force: true });
    linkSync(file, `${file}.bak`);
    writeFileSync(`${file}.new`, textOf(round));
    renameSync(`${file}.new`, file);
  },
  "appended, rotated away by number": (file, round) => {
    appendFileSync(file, textOf(round));
    if (round % 10 !== 9) return;
    for (let age = 4; age > 0; age--) {
      if (round >= 10 * age + 9) renameSync(`${file}.${age - 1}`, `${file}.${age}`);
    }
    renameSync(file, `${file}.0`);
    writeFileSync(file, "");
  },
};

for (const [name, save] of Object.entries(saves)) {
  workload(`saving: ${name}`, { size: "small", needs: [] }, async (mirror) => {
    const file = join(mirror.source, "document.txt");
    writeFileSync(file, "first\n");
    for (let round = 0; round < roundCount; round++) {
      save(file, round);
      await turn();
    }
  });
}

workload(
  "saving: vim, in place and by rename",
  { size: "small", needs: ["vim"] },
  async (mirror) => {
    const file = join(mirror.source, "document.txt");
    writeFileSync(file, "first\n");
    for (let round = 0; round < 6; round++) {
      const copy = round % 2 === 0 ? "yes" : "no";
      const settings = `set nocompatible swapfile directory=. backup backupcopy=${copy}`;
      const commands = [settings, `normal oround ${round}`, "write", "normal ddp", "wq"];
      const args = ["-u", "NONE", "-i", "NONE", "-es", ...commands.flatMap((c) => ["-c", c]), file];
      await runCommand("vim", args, { cwd: mirror.source, input: "" });
    }
  },
);
