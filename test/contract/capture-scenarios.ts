/**
 * Every way to change bytes, names or metadata that the contract suite of capture tries. `change`
 * is a row of test/native/changes.c; `waits` says how often that program waits for the test:
 * once after the change, or before and after it.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackendName } from "../../src/capture/index.ts";

export interface Places {
  /** The watched folder of this scenario, with `file`, `other` and `bystander`. */
  readonly inside: string;
  /** A folder on the same filesystem that is not watched, with the same files. */
  readonly outside: string;
}

export interface Scenario {
  readonly change: string;
  readonly about?: string;
  readonly waits?: 0 | 1 | 2;
  /** Default: the path of `file`. */
  readonly args?: (at: Places) => string[];
  readonly prepare?: (at: Places) => void;
  /** Backends that cannot see it before a writer closes, with the reason. */
  readonly late?: Partial<Record<BackendName, string>>;
  /** Backends that never see it, with the reason (a row of LIMITS.md). */
  readonly unseen?: Partial<Record<BackendName, string>>;
  /** It need not differ afterwards. */
  readonly changesNothing?: true;
}

const inFile = (at: Places): string[] => [join(at.inside, "file")];
const fromOther = (at: Places): string[] => [join(at.inside, "file"), join(at.inside, "other")];
const born = (at: Places): string[] => [join(at.inside, "born")];

const plainContent = [
  "write",
  "write-beyond-end",
  "writev",
  "pwrite",
  "pwritev",
  "pwritev2",
  "pwritev2-append",
  "pwritev2-current",
  "pwritev2-append-current",
  "pwritev2-noappend",
  "append-write",
  "append-pwrite",
  "direct-write",
  "sendfile",
  "splice",
  "splice-offset",
  "truncate",
  "ftruncate",
  "ftruncate-grow",
  "fallocate",
  "fallocate-punch",
  "fallocate-zero",
  "fallocate-zero-keep-size",
  "fallocate-collapse",
  "fallocate-insert",
  "ioctl-zero",
  "ioctl-unreserve",
  "open-truncate",
  "open-truncate-readonly",
  "open-plain",
  "creat",
  "openat2",
  "write32",
  "pwrite32",
  "ftruncate32",
  "posix-aio",
  "uring-write",
  "uring-write-async",
  "uring-write-direct",
  "uring-write-polled",
  "uring-append",
  "uring-current",
  "uring-writev",
  "uring-write-fixed",
  "uring-fallocate",
  "uring-ftruncate",
  "uring-open",
  "uring-open2",
  "uring-open-slot",
  "uring-splice",
];

const noAioEvents = "the kernel raises no event for io_submit";
const linuxAio = ["aio", "aio-append", "aio-vector", "aio-direct", "aio-many"];

const nameless = "a file opened by its handle has no name in memory, so no folder is told";

const content: Scenario[] = [
  ...plainContent.map((change) => ({ change })),
  ...linuxAio.map((change) => ({
    change,
    late: { fanotify: noAioEvents, inotify: noAioEvents },
  })),
  { change: "fallocate-keep-size", changesNothing: true },
  { change: "copy-file-range", args: fromOther },
  { change: "copy-file-range-current", args: fromOther },
  { change: "clone", args: fromOther },
  { change: "clone-range", args: fromOther },
  { change: "clone-to-end", args: fromOther },
  { change: "truncate-and-wait", waits: 1 },
  { change: "truncate-grow", waits: 1 },
  { change: "truncate-relative", waits: 1, args: (at) => [at.inside, "./file"] },
  { change: "write32-dirty", waits: 1, about: "32-bit program, page already dirty" },
  { change: "threads" },
  { change: "forked" },
  {
    change: "handle-write",
    args: (at) => [...inFile(at), at.inside],
    unseen: { inotify: nameless },
  },
  {
    change: "handle-truncate",
    args: (at) => [...inFile(at), at.inside],
    unseen: { inotify: nameless },
  },
  { change: "bind-write", args: (at) => [at.inside, at.outside, "file"] },
  { change: "bind-truncate", waits: 1, args: (at) => [at.inside, at.outside, "file"] },
  { change: "chroot-write", args: (at) => [at.inside, "/file"] },
  { change: "chroot-truncate", waits: 1, args: (at) => [at.inside, "/file"] },
];

const skippedCompletion = "a request that posts no completion; found when the descriptor is closed";
const noStores = "stores through mappings raise no event";
const unseenStore = { fanotify: noStores, inotify: noStores };
const mappings: Scenario[] = [
  { change: "store", waits: 2, unseen: unseenStore },
  { change: "store-dirty", waits: 2 },
  { change: "store-by-read", waits: 2, unseen: unseenStore },
  { change: "store-by-ioctl", waits: 2, unseen: unseenStore },
  { change: "store-by-aio-read", waits: 2, unseen: unseenStore },
  { change: "store-by-other-process", waits: 2, unseen: unseenStore },
  { change: "madvise-remove", waits: 2 },
  { change: "uring-write-skip", waits: 2, unseen: { ebpf: skippedCompletion } },
];

const byOtherName = "the change is reported at the other name's folder only";
const linkOutside = (at: Places): void => run("ln", `${at.inside}/file`, `${at.outside}/link`);
const links: Scenario[] = [
  {
    change: "write",
    about: "by a hard link whose name is outside",
    prepare: linkOutside,
    args: (at) => [join(at.outside, "link")],
    unseen: { inotify: byOtherName },
  },
  {
    change: "truncate",
    about: "by a hard link whose name is outside",
    prepare: linkOutside,
    args: (at) => [join(at.outside, "link")],
    unseen: { inotify: byOtherName },
  },
  {
    change: "ftruncate",
    about: "by a hard link whose name is outside",
    prepare: linkOutside,
    args: (at) => [join(at.outside, "link")],
    unseen: { inotify: byOtherName },
  },
  {
    change: "write",
    about: "by a hard link in another folder of the tree",
    prepare: (at) => {
      mkdirSync(join(at.inside, "folder"));
      run("ln", `${at.inside}/file`, `${at.inside}/folder/link`);
    },
    args: (at) => [join(at.inside, "folder/link")],
  },
  {
    change: "unnamed-then-write",
    about: "O_TMPFILE outside, linked inside, written on",
    waits: 2,
    args: (at) => [at.outside, join(at.inside, "born")],
    unseen: { inotify: byOtherName },
  },
  {
    change: "moved-link-then-write",
    about: "made outside, linked inside, unlinked outside, written on",
    waits: 2,
    args: (at) => [join(at.outside, "first"), join(at.inside, "born")],
    unseen: { inotify: byOtherName },
  },
];

function run(command: string, ...args: string[]): void {
  const ran = spawnSync(command, args, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${command}: ${ran.stderr}`);
}

const makeTree = (folder: string): void => {
  mkdirSync(join(folder, "folder/deep"), { recursive: true });
  writeFileSync(join(folder, "folder/deep/leaf"), "leaf");
};
const rename = (from: (at: Places) => string, to: (at: Places) => string) => (at: Places) => [
  from(at),
  to(at),
];
const insideFile = (at: Places): string => join(at.inside, "file");
const insideOther = (at: Places): string => join(at.inside, "other");

const names: Scenario[] = [
  { change: "create", args: born },
  { change: "mkdir", args: born },
  { change: "mkfifo", args: born },
  { change: "symlink", args: born },
  { change: "link", args: (at) => [...inFile(at), ...born(at)] },
  {
    change: "link",
    about: "of a file outside",
    args: (at) => [join(at.outside, "file"), ...born(at)],
  },
  { change: "unlink" },
  {
    change: "rmdir",
    prepare: (at) => mkdirSync(join(at.inside, "folder")),
    args: (at) => [join(at.inside, "folder")],
  },
  { change: "rename", args: rename(insideFile, (at) => join(at.inside, "renamed")) },
  { change: "rename", about: "onto an existing name", args: rename(insideFile, insideOther) },
  { change: "exchange", args: rename(insideFile, insideOther) },
  {
    change: "exchange",
    about: "with a file outside",
    args: rename(insideFile, (at) => join(at.outside, "file")),
  },
  {
    change: "rename",
    about: "out of the tree",
    args: rename(insideFile, (at) => join(at.outside, "moved")),
  },
  {
    change: "rename",
    about: "into the tree",
    args: rename(
      (at) => join(at.outside, "file"),
      (at) => join(at.inside, "moved"),
    ),
  },
  {
    change: "rename",
    about: "into the tree, onto an existing name",
    args: rename((at) => join(at.outside, "file"), insideFile),
  },
  {
    change: "rename",
    about: "of a folder",
    prepare: (at) => makeTree(at.inside),
    args: rename(
      (at) => join(at.inside, "folder"),
      (at) => join(at.inside, "renamed"),
    ),
  },
  {
    change: "rename",
    about: "of a folder out of the tree",
    prepare: (at) => makeTree(at.inside),
    args: rename(
      (at) => join(at.inside, "folder"),
      (at) => join(at.outside, "moved"),
    ),
  },
  {
    change: "rename",
    about: "of a folder into the tree",
    prepare: (at) => makeTree(at.outside),
    args: rename(
      (at) => join(at.outside, "folder"),
      (at) => join(at.inside, "moved"),
    ),
  },
];

const aFolder = {
  prepare: (at: Places) => mkdirSync(join(at.inside, "folder")),
  args: (at: Places) => [join(at.inside, "folder")],
};
const metadata: Scenario[] = [
  ...["chmod", "chown", "times", "times-modified-by-descriptor", "setxattr"].map((change) => ({
    change,
  })),
  { change: "times-modified-by-empty-path" },
  { change: "times-modified", waits: 1 },
  { change: "chmod", about: "of a folder", ...aFolder },
  { change: "chown", about: "of a folder", ...aFolder },
  { change: "times", about: "of a folder", ...aFolder, changesNothing: true },
  {
    change: "lchown",
    about: "of a symbolic link",
    prepare: (at) => run("ln", "-s", "nowhere", `${at.inside}/link`),
    args: (at) => [join(at.inside, "link")],
  },
  {
    change: "removexattr",
    prepare: (at) => run("setfattr", "-n", "user.lockstep", "-v", "x", `${at.inside}/file`),
  },
];

export const scenarios: readonly Scenario[] = [
  ...content,
  ...mappings,
  ...links,
  ...names,
  ...metadata,
];
