/** The inotify backend over scripted kernels: what each record becomes, and what goes wrong. */
import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Files, Kernel } from "../world/index.ts";
import { Errno, Stat } from "../world/index.ts";
import { type CaptureBackend, type ChangeSink, NameChange } from "./backend.ts";
import { inotifyReadCountMax, openInotifyBackend } from "./inotify-backend.ts";
import { InotifyMask, recordHeaderBytes } from "./inotify-records.ts";

const rootFd = 3;
const inotifyFd = 9;

interface Script {
  readonly reads: Uint8Array[];
  readonly calls: string[];
  initResult: number;
  addResult: number | undefined;
  endless: boolean;
}

/** A kernel whose watches are the directory descriptors themselves, plus 100. */
function scriptedKernel(): { script: Script; system: Kernel & Files } {
  const script: Script = {
    reads: [],
    calls: [],
    initResult: inotifyFd,
    addResult: undefined,
    endless: false,
  };
  const part: Partial<Kernel & Files> = {
    inotifyInit: () => script.initResult,
    inotifyAdd: (_fd, directoryFd) => script.addResult ?? directoryFd + 100,
    inotifyRemove: (_fd, watch) => {
      script.calls.push(`remove ${watch}`);
      return 0;
    },
    inotifyRead: (_fd, out) => {
      const next = script.endless ? script.reads[0] : script.reads.shift();
      if (next === undefined) return 0;
      out.set(next);
      return next.length;
    },
    statAt: (_fd, _name, out) => {
      out[Stat.ino] = 1000;
      out[Stat.gen] = 7;
      return 0;
    },
    close: (fd) => {
      script.calls.push(`close ${fd}`);
      return 0;
    },
    pollStart: (fd) => `poll ${fd}`,
    pollStop: (handle) => {
      script.calls.push(`stop ${String(handle)}`);
    },
  };
  return { script, system: part as Kernel & Files };
}

function record(watch: number, mask: number, name = ""): Uint8Array {
  const out = Buffer.alloc(recordHeaderBytes + (name === "" ? 0 : 16));
  out.writeInt32LE(watch, 0);
  out.writeUInt32LE(mask, 4);
  out.writeUInt32LE(name === "" ? 0 : 16, 12);
  out.write(name, recordHeaderBytes);
  return out;
}

/** Every call as a line of text. */
function recordingSink(lines: string[]): ChangeSink {
  const tell =
    (what: string) =>
    (...values: unknown[]) => {
      const texts = values.map((v) =>
        v instanceof Uint8Array ? Buffer.from(v).toString() : String(v),
      );
      lines.push([what, ...texts].join(" "));
    };
  return {
    written: tell("written"),
    appended: tell("appended"),
    truncated: tell("truncated"),
    unknownContent: tell("unknownContent"),
    stored: tell("stored"),
    mapped: tell("mapped"),
    attributes: tell("attributes"),
    closed: tell("closed"),
    name: tell("name"),
    path: tell("path"),
    lost: tell("lost"),
    overflow: tell("overflow"),
  };
}

function drained(backend: CaptureBackend): string[] {
  const lines: string[] = [];
  backend.drain(recordingSink(lines));
  return lines;
}

test("records of names become names of their directory, with what happened", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  equal(backend.watchDirectory(4, 2000, 8), 0);
  const { created, deleted, moved, content, metadata } = NameChange;
  script.reads.push(
    record(103, InotifyMask.create, "a"),
    record(104, InotifyMask.delete, "b"),
    record(104, InotifyMask.movedFrom, "c"),
    record(103, InotifyMask.movedTo, "d"),
    record(103, InotifyMask.modify, "e"),
    record(103, InotifyMask.closeWrite, "f"),
    record(103, InotifyMask.attrib | 0x40000000, "g"),
  );
  deepEqual(drained(backend), [
    `name 1000 7 a 0 0 ${created}`,
    `name 2000 8 b 0 0 ${deleted}`,
    `name 2000 8 c 0 0 ${moved}`,
    `name 1000 7 d 0 0 ${moved}`,
    `name 1000 7 e 0 0 ${content}`,
    `name 1000 7 f 0 0 ${content}`,
    `name 1000 7 g 0 0 ${metadata}`,
  ]);
});

test("what happens to a watched directory itself is told as its attributes", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  script.reads.push(
    record(103, InotifyMask.attrib),
    record(103, InotifyMask.moveSelf),
    record(103, InotifyMask.deleteSelf),
  );
  deepEqual(drained(backend), Array(3).fill("attributes 1000 7"));
});

test("overflow, unmounting and records that cannot be parsed are told and counted", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  script.reads.push(record(-1, InotifyMask.queueOverflow));
  script.reads.push(record(103, InotifyMask.unmount));
  script.reads.push(record(103, InotifyMask.create, "cut").subarray(0, 20));
  deepEqual(drained(backend), ["overflow", "overflow", "attributes 1000 7", "overflow"]);
  equal(backend.droppedCount, 3);
});

test("an ignored watch is forgotten, and removing it again asks the kernel nothing", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  script.reads.push(record(103, InotifyMask.ignored), record(103, InotifyMask.create, "late"));
  deepEqual(drained(backend), []);
  backend.unwatchDirectory(1000, 7);
  deepEqual(script.calls, []);
});

test("a directory that left the tree is unwatched once, and its waiting records left out", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  backend.watchDirectory(4, 2000, 8);
  backend.unwatchDirectory(2000, 9);
  deepEqual(script.calls, [], "another generation is another directory");
  backend.unwatchDirectory(2000, 8);
  backend.unwatchDirectory(2000, 8);
  deepEqual(script.calls, ["remove 104"]);
  script.reads.push(record(104, InotifyMask.create, "late"), record(104, InotifyMask.ignored));
  deepEqual(drained(backend), []);
});

test("the late end of an old watch leaves the new watch of the same inode alone", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  backend.watchDirectory(4, 2000, 8);
  backend.watchDirectory(5, 2000, 9);
  script.reads.push(record(104, InotifyMask.ignored), record(105, InotifyMask.create, "new"));
  deepEqual(drained(backend), [`name 2000 9 new 0 0 ${NameChange.created}`]);
  backend.unwatchDirectory(2000, 9);
  deepEqual(script.calls, ["remove 105"]);
});

test("a lack of watches is returned; for the root it makes the backend unavailable", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  script.addResult = -Errno.ENOSPC;
  equal(backend.watchDirectory(4, 2000, 8), -Errno.ENOSPC);
  const unavailable = { code: "BACKEND_UNAVAILABLE" };
  throws(() => openInotifyBackend(system, rootFd), { ...unavailable, message: /max_user_watches/ });
  deepEqual(script.calls, [`close ${inotifyFd}`]);
  script.initResult = -Errno.EMFILE;
  throws(() => openInotifyBackend(system, rootFd), {
    ...unavailable,
    message: /max_user_instances/,
  });
});

test("a drain under endless load ends and says that more waits", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  script.reads.push(record(103, InotifyMask.create, "again"));
  const lines: string[] = [];
  script.endless = true;
  equal(backend.drain(recordingSink(lines)), true);
  equal(lines.length, inotifyReadCountMax);
  script.endless = false;
  script.reads.length = 0;
  equal(backend.drain(recordingSink(lines)), false);
});

test("any bytes are told or overflow; nothing throws", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 120 })), (reads) => {
      const { script, system } = scriptedKernel();
      const backend = openInotifyBackend(system, rootFd);
      script.reads.push(...reads);
      const lines = drained(backend);
      const overflows = lines.filter((line) => line === "overflow").length;
      equal(backend.droppedCount, overflows);
    }),
  );
});

test("closing stops the poll before it closes the descriptor", () => {
  const { script, system } = scriptedKernel();
  const backend = openInotifyBackend(system, rootFd);
  backend.start(() => undefined);
  backend.close();
  deepEqual(script.calls, [`stop poll ${inotifyFd}`, `close ${inotifyFd}`]);
});
