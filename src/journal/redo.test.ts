/** A process that dies after any of the operations of an epoch: whoever comes next finishes it. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Applier, Backup } from "../apply/index.ts";
import { ProblemLog } from "../model/index.ts";
import { rootId, Tree } from "../tree/index.ts";
import { decodeCommit, decodeOperation, FrameReader, FrameType, OpWriter } from "../wire/index.ts";
import { Open } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { Journal, JournalFile, recover, type RecordedEpoch } from "./index.ts";

const folder = 0o040755;
const none: Uint8Array = new Uint8Array(0);
const bootId = "this one";

/** An epoch as it is held. */
function epochOf(write: (writer: OpWriter) => void): RecordedEpoch {
  const frames: [type: number, bytes: Uint8Array][] = [];
  let commit: RecordedEpoch["commit"];
  const reader = new FrameReader((type, bytes, start, end) => {
    if (type === FrameType.commit) commit = decodeCommit(bytes, start, end);
    else frames.push([type, bytes.slice(start, end)]);
  });
  const writer = new OpWriter((piece) => reader.push(piece));
  write(writer);
  writer.commit(2, 0, 1000);
  writer.flush();
  return {
    bytes: frames.reduce((sum, [, bytes]) => sum + bytes.length + 5, 0),
    commit,
    each: (visit) => {
      for (const [type, bytes] of frames) visit(type, bytes, 0, bytes.length);
    },
  };
}

/**
 * After `earlier`: records the epoch, carries out so many of its operations, dies, recovers; gives
 * the target.
 */
function crash(
  epoch: RecordedEpoch,
  count: number,
  look: (target: string) => void,
  earlier?: RecordedEpoch,
  isBackedUp = false,
): void {
  const base = mkdtempSync(join(tmpdir(), "lockstep-redo-"));
  const files = native();
  const open = (name: string): number => {
    mkdirSync(join(base, name));
    return files.openPath(Buffer.from(join(base, name)), Open.read | Open.directory);
  };
  const [rootFd, dirFd, backupFd] = [open("target"), open("state"), open("backup")];
  const { clock, hashes } = nodeWorld({ write: () => {} });
  const place = { files, dirFd, name: "journal", path: join(base, "target"), hashes, bootId };
  try {
    const problems = new ProblemLog(() => {});
    const tree = new Tree();
    const keeper = (own: Tree): Backup => {
      const rest = { problems, clock, roomBytes: () => Infinity, mounts: () => [] };
      const at = { dirFd: backupFd, path: "backup", below: [] };
      const backup = new Backup({ files, rootFd, tree: own, place: at, ...rest });
      backup.goLive();
      return backup;
    };
    const dying = isBackedUp ? keeper(tree) : undefined;
    const applier = new Applier(files, rootFd, tree, problems, dying);
    earlier?.each((...frame) => decodeOperation(...frame, applier));
    const file = JournalFile.open(place);
    file.writeHeader({ cut: { epoch: 1, wallMs: 1, isFuzzy: false }, isSynced: false }, true);
    const journal = new Journal({ files, rootFd, tree, applier, file, durability: "process" });
    journal.record([epoch]);
    let done = 0;
    epoch.each((type, bytes, start, end) => {
      if (done++ >= count) return;
      journal.before(type, bytes, start);
      decodeOperation(type, bytes, start, end, applier);
    });
    journal.abandon();
    applier.close(true);
    dying?.close();
    const again = JournalFile.openExisting(place)!;
    const own = isBackedUp ? { keeper } : {};
    const recovery = recover({ files, rootFd, file: again, problems, bootId, ...own });
    assert.equal(recovery.lost, "", `after ${count} operations`);
    assert.equal(recovery.cut?.epoch, 2);
    again.close();
    look(join(base, "target"));
  } finally {
    files.close(rootFd);
    files.close(dirFd);
    files.close(backupFd);
    rmSync(base, { recursive: true });
  }
}

test("folders that are announced long before they have their place are no surprise", () => {
  const epoch = epochOf((writer) => {
    const name = (text: string): Uint8Array => Buffer.from(text);
    // As a target is told of a repository: what is new, and then where it goes.
    writer.create(2, folder, 0, none);
    writer.create(3, folder, 0, none);
    writer.place(2, rootId, name("first"));
    writer.create(4, 0o120777, 0, name("nowhere"));
    writer.place(4, 2, name("link"));
    writer.place(3, rootId, name("second"));
    writer.create(5, folder, 0, none);
    writer.place(5, 3, name("below"));
  });
  for (let count = 0; count <= 8; count++) {
    crash(epoch, count, (target) => {
      for (const path of ["first", "second", "second/below"]) {
        assert.ok(existsSync(join(target, path)), `${path} after ${count} operations`);
      }
    });
  }
});

test("what comes and goes in the root under names of ours does not show in its time", () => {
  const name = (text: string): Uint8Array => Buffer.from(text);
  const earlier = epochOf((writer) => {
    writer.create(2, folder, 0, none);
    writer.place(2, rootId, name("d"));
    writer.create(3, 0o120777, 0, name("one"));
    writer.place(3, 2, name("link"));
    writer.times(rootId, 1234, 0);
  });
  const epoch = epochOf((writer) => {
    writer.create(4, 0o120777, 0, name("other"));
    writer.place(4, 2, name("link"));
    writer.detach(4);
    writer.place(4, 2, name("moved"));
  });
  for (let count = 0; count <= 4; count++) {
    const look = (target: string): void => {
      assert.equal(statSync(target).mtimeMs, 1_234_000, `after ${count} operations`);
      assert.equal(readlinkSync(join(target, "d/moved")), "other");
    };
    crash(epoch, count, look, earlier);
  }
});

test("what a finished epoch takes away is kept, as if nobody had died", () => {
  const name = (text: string): Uint8Array => Buffer.from(text);
  const earlier = epochOf((writer) => {
    for (const [node, at] of [
      [2, "deleted"],
      [3, "replaced"],
      [4, "renamed"],
      [5, "under"],
    ] as const) {
      writer.create(node, 0o120777, 0, name(`content of ${at}`));
      writer.place(node, rootId, name(at));
    }
  });
  const epoch = epochOf((writer) => {
    writer.unlink(rootId, name("deleted"));
    writer.create(6, 0o120777, 0, name("new"));
    writer.place(6, rootId, name("replaced"));
    writer.rename(rootId, name("renamed"), rootId, name("under"), 0);
  });
  for (let count = 0; count <= 4; count++) {
    const look = (target: string): void => {
      const backup = join(target, "../backup");
      const [folders, said] = [readdirSync(backup), `after ${count} operations`];
      const kept = folders.flatMap((at) =>
        readdirSync(join(backup, at)).map((each) => readlinkSync(join(backup, at, each))),
      );
      const expected = ["deleted", "replaced", "under"].map((each) => `content of ${each}`);
      assert.deepEqual([...new Set(kept)].sort(), expected, said);
    };
    crash(epoch, count, look, earlier, true);
  }
});
