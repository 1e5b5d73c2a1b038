/**
 * `MountTable`: what is mounted below a folder, and what of it a source follows that crosses mounts
 * (`--cross-mounts`). Pure: it reads the text of /proc/self/mountinfo.
 *
 * In: the text, the folder's path and mount, and mounts whose filesystems must not be followed.
 * Out: for each mount point below the folder its place and, when it is left out, why.
 *
 * Followed is a filesystem of a kind that tells its changes (`followedKinds`) and is not there yet:
 * what shows the folder's own filesystem, or one that another mount point shows already, is a bind
 * mount, and would be the same files twice, or a folder within itself. Of several mount points of
 * one filesystem the first in the table counts. So every filesystem is met once, without loops.
 *
 * Paths are Latin-1 characters, one a byte, as /proc shows them with its escapes undone.
 * Source: man 5 proc_pid_mountinfo.
 */

/** Filesystems followed below one source; as many groups of fanotify. */
export const followedCountMax = 64;

/** They tell names and changes, and their inodes keep their numbers. */
export const followedKinds: ReadonlySet<string> = new Set([
  "ext2",
  "ext3",
  "ext4",
  "xfs",
  "btrfs",
  "f2fs",
  "tmpfs",
]);

const kernelKinds: ReadonlySet<string> = new Set([
  "proc",
  "sysfs",
  "devtmpfs",
  "devpts",
  "cgroup",
  "cgroup2",
  "debugfs",
  "tracefs",
  "securityfs",
  "configfs",
  "pstore",
  "bpf",
  "mqueue",
  "hugetlbfs",
  "binfmt_misc",
  "fusectl",
  "efivarfs",
  "rpc_pipefs",
  "nsfs",
  "selinuxfs",
]);
const networkKinds =
  /^(nfs4?|cifs|smb3|smbfs|9p|ceph|afs|glusterfs|ocfs2|gfs2|lustre|fuse\.sshfs)$/;

export interface MountEntry {
  readonly id: number;
  readonly parent: number;
  /** Of the superblock: major number, then 20 bits of minor number. */
  readonly device: number;
  readonly path: string;
  readonly kind: string;
}

export interface MountBelow extends MountEntry {
  /** Relative to the folder. */
  readonly place: string;
  /** Why it is left out; undefined when it is followed. */
  readonly leftOut: string | undefined;
}

/** The lines of a mount table. What is no such line is left out. */
export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const found = /^(\d+) (\d+) (\d+):(\d+) \S+ (\S+) .*? - (\S+) /.exec(line);
    if (found === null) continue;
    const [, id, parent, major, minor, path = "", kind = ""] = found;
    entries.push({
      id: Number(id),
      parent: Number(parent),
      device: Number(major) * 2 ** 20 + Number(minor),
      path: path.replace(/\\([0-7]{3})/g, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
      kind,
    });
  }
  return entries;
}

export class MountTable {
  /** Of the folder's own filesystem; empty when it is not in the table. */
  readonly kind: string;
  readonly #byId: Map<number, MountBelow> = new Map();

  /**
   * `path` is the folder's, absolute and real; `mount` the number of the mount that it is on;
   * `avoided` are mounts of filesystems that are never followed: those of targets.
   */
  constructor(
    entries: readonly MountEntry[],
    { path, mount, avoided }: { path: string; mount: number; avoided: readonly number[] },
  ) {
    this.kind = entries.find(({ id }) => id === mount)?.kind ?? "";
    const deviceOf = new Map(entries.map(({ id, device }) => [id, device]));
    const targets = new Set(avoided.map((id) => deviceOf.get(id)));
    const met = new Set([deviceOf.get(mount)]);
    const above = path.endsWith("/") ? path : `${path}/`;
    const isHidden = hiddenIn(entries, mount);
    let count = 0;
    for (const entry of entries) {
      if (entry.id === mount || !entry.path.startsWith(above) || isHidden(entry)) continue;
      let leftOut = whyNot(entry, met, targets);
      if (leftOut === undefined && count === followedCountMax) {
        leftOut = `${followedCountMax} filesystems are followed already`;
      }
      if (leftOut === undefined) {
        met.add(entry.device);
        count++;
      }
      this.#byId.set(entry.id, { ...entry, place: entry.path.slice(above.length), leftOut });
    }
  }

  /** Visible ones, in the order of the table. */
  get below(): Iterable<MountBelow> {
    return this.#byId.values();
  }

  /** Undefined for a mount that is not below the folder, or cannot be seen there. */
  find(id: number): MountBelow | undefined {
    return this.#byId.get(id);
  }
}

function whyNot(
  { kind, device }: MountEntry,
  met: ReadonlySet<number | undefined>,
  targets: ReadonlySet<number | undefined>,
): string | undefined {
  if (kernelKinds.has(kind)) return `${kind} shows the kernel's own state`;
  if (networkKinds.test(kind)) return `${kind} does not tell what other machines change`;
  if (!followedKinds.has(kind)) return `changes on ${kind} cannot be followed`;
  if (met.has(device)) return "it shows a filesystem that is followed already (a bind mount)";
  if (targets.has(device)) return "a target or a backup folder is on that filesystem";
  return undefined;
}

/** Whether another mount covers an entry: its own root, or a folder that leads to it. */
function hiddenIn(entries: readonly MountEntry[], root: number): (entry: MountEntry) => boolean {
  const byId = new Map(entries.map((entry) => [entry.id, entry]));
  /** Where something is mounted, by the mount that it is mounted on. */
  const covered = new Set(entries.map(({ parent, path }) => `${parent} ${path}`));
  const isCovered = ({ id, path }: MountEntry): boolean => covered.has(`${id} ${path}`);
  /** By mount: whether no path leads to its root, or to what covers that. */
  const known = new Map<number, boolean>([[root, false]]);
  const isApart = (entry: MountEntry, parent: MountEntry | undefined): boolean => {
    if (parent === undefined || parent.path === entry.path) return false;
    if (parent.id !== root && isCovered(parent)) return true;
    for (let end = entry.path.lastIndexOf("/"); end > parent.path.length;) {
      const path = entry.path.slice(0, end);
      if (covered.has(`${entry.parent} ${path}`)) return true;
      end = path.lastIndexOf("/");
    }
    return false;
  };
  return (entry) => {
    const chain: MountEntry[] = [];
    let at: MountEntry | undefined = entry;
    while (at !== undefined && !known.has(at.id) && chain.length <= entries.length) {
      chain.push(at);
      at = byId.get(at.parent);
    }
    let isOut = at !== undefined && known.get(at.id) === true;
    for (let next = chain.pop(); next !== undefined; next = chain.pop()) {
      isOut ||= isApart(next, byId.get(next.parent));
      known.set(next.id, isOut);
    }
    return isOut || isCovered(entry);
  };
}
