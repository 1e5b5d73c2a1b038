/**
 * The calls of a simulated process on names and metadata: opening, creating, linking, renaming,
 * removing; mode, owner, times and attributes. Part of `SimProcess`.
 *
 * Changes of names are told as fanotify tells them: the directory, the name, and what it named.
 */
import assert from "node:assert/strict";
import { NameChange } from "../../src/capture/index.ts";
import { Errno, Mode, Open, Rename } from "../../src/world/index.ts";
import { type Inode, latin1 } from "./sim-disk.ts";
import { nameBytesMax, type SimTable, wrongName } from "./sim-table.ts";

const attributeBytesMax = 3000;
const attributeNameBytesMax = 255;
const symlinkBytesMax = 4095;
/** Not in `Errno`, because the engine never asks for it. */
const ENXIO = 6;
const E2BIG = 7;
/** Of `Open.temporary`, which has the bit for directories too. */
const temporaryBit = 0o20000000;

export class NameCalls {
  readonly #table: SimTable;

  constructor(table: SimTable) {
    this.#table = table;
  }

  openPath(path: Uint8Array, flags: number): number {
    const text = latin1(path);
    assert.ok(text.startsWith("/"), "paths that are opened are absolute");
    const found = this.#walk(this.#table.disk.root, text, flags | Open.noFollow);
    if (typeof found === "number") return found;
    return this.#openFound(found.inode, found.directory, found.name, flags, 0o600);
  }

  openBeneath(dirfd: number, path: Uint8Array, flags: number, mode: number): number {
    const start = this.#table.get(dirfd)?.inode;
    if (start === undefined) return -Errno.EBADF;
    const text = latin1(path);
    // What openat2, unlike open, does not overlook.
    const creates = (flags & (Open.create | temporaryBit)) !== 0;
    const beside = flags & ~(Open.path | Open.directory | Open.noFollow);
    if (!creates && mode !== 0) return -Errno.EINVAL;
    if ((flags & Open.path) !== 0 && beside !== 0) return -Errno.EINVAL;
    if ((flags & temporaryBit) !== 0 && (flags & 3) === Open.read) return -Errno.EINVAL;
    if (text.startsWith("/")) return -Errno.EXDEV;
    const found = this.#walk(start, text === "" ? "." : text, flags);
    if (typeof found === "number") return found;
    return this.#openFound(found.inode, found.directory, found.name, flags, mode);
  }

  /** Follows no link and never leaves `start`. */
  #walk(
    start: Inode,
    path: string,
    flags: number,
  ): { inode: Inode | undefined; directory: Inode; name: string } | number {
    let at: Inode = start;
    let directory = start;
    let name = ".";
    const parts = path.split("/").filter((part) => part !== "");
    for (const [index, part] of parts.entries()) {
      if (!at.isDirectory) return -Errno.ENOTDIR;
      if (at.nlink === 0 && part !== "." && part !== "..") return -Errno.ENOENT;
      if (part.length > nameBytesMax) return -Errno.ENAMETOOLONG;
      name = part;
      directory = at;
      if (part === ".") continue;
      if (part === "..") {
        if (at === start) return -Errno.EXDEV;
        at = at.parent!;
        continue;
      }
      const next = at.entries!.get(part)?.inode;
      const isLast = index === parts.length - 1;
      if (next === undefined) {
        return isLast ? { inode: undefined, directory, name } : -Errno.ENOENT;
      }
      const isPath = (flags & Open.path) !== 0 && (flags & Open.noFollow) !== 0;
      const isNew = (flags & Open.create) !== 0 && (flags & Open.exclusive) !== 0;
      const isOwnLink = (isPath || isNew) && isLast;
      if (next.type === Mode.symlink && !isOwnLink) return -Errno.ELOOP;
      at = next;
    }
    return { inode: at, directory, name };
  }

  #openFound(
    found: Inode | undefined,
    directory: Inode,
    name: string,
    flags: number,
    mode: number,
  ): number {
    let inode = found;
    if ((flags & Open.path) !== 0) {
      if (inode === undefined) return -Errno.ENOENT;
      if ((flags & Open.directory) !== 0 && !inode.isDirectory) return -Errno.ENOTDIR;
      return this.#table.install(inode, flags);
    }
    if ((flags & Open.temporary) === Open.temporary) return this.#openUnnamed(inode, flags, mode);
    const creates = (flags & Open.create) !== 0;
    if (inode === undefined) {
      if (!creates) return -Errno.ENOENT;
      if (directory.nlink === 0) return -Errno.ENOENT;
      if (!this.#table.disk.hasRoomFor(1)) return -Errno.ENOSPC;
      inode = this.#table.born(directory, Mode.regular | (mode & Mode.permissionMask));
      this.#name(directory, Buffer.from(name, "latin1"), inode);
      return this.#table.install(inode, flags);
    }
    if (creates && (flags & Open.exclusive) !== 0) return -Errno.EEXIST;
    const writes = (flags & 3) !== Open.read;
    if (inode.isDirectory && (writes || creates)) return -Errno.EISDIR;
    if ((flags & Open.directory) !== 0 && !inode.isDirectory) return -Errno.ENOTDIR;
    if ([Mode.socket, Mode.blockDevice, Mode.characterDevice].some((own) => own === inode.type)) {
      return -ENXIO;
    }
    const isWriteOnly = inode.type === Mode.fifo && (flags & 3) === Open.write;
    if (isWriteOnly && !this.#table.hasReader(inode)) return -ENXIO;
    const fd = this.#table.install(inode, flags);
    if ((flags & Open.truncate) !== 0 && inode.isRegular) this.#table.cutOff(inode, 0);
    return fd;
  }

  #openUnnamed(directory: Inode | undefined, flags: number, mode: number): number {
    if (directory === undefined) return -Errno.ENOENT;
    if (!directory.isDirectory) return -Errno.ENOTDIR;
    if (directory.nlink === 0) return -Errno.EPERM;
    if (!this.#table.disk.hasRoomFor(1)) return -Errno.ENOSPC;
    const inode = this.#table.born(directory, Mode.regular | (mode & Mode.permissionMask));
    inode.nlink = 0;
    inode.isUnnamed = true;
    return this.#table.install(inode, flags);
  }

  // --- names ------------------------------------------------------------------------------------

  #tellName(directory: Inode, name: Uint8Array, child: Inode, change: number): void {
    const { ino, gen } = directory;
    this.#table.tell?.name(ino, gen, name.slice(), child.ino, child.gen, change);
  }

  /** Gives a new inode its first name. */
  #name(directory: Inode, name: Uint8Array, inode: Inode): void {
    const { disk } = this.#table;
    disk.attach(directory, name, inode);
    if (inode.isDirectory) {
      inode.nlink = 2;
      inode.parent = directory;
      disk.setLinks(directory, directory.nlink + 1);
    }
    disk.touch(directory);
    this.#tellName(directory, name, inode, NameChange.created);
  }

  #create(dirfd: number, name: Uint8Array, mode: number): Inode | number {
    const place = this.#table.place(dirfd, name);
    if (typeof place === "number") return place;
    if (place.existing !== undefined) return -Errno.EEXIST;
    if (place.directory.nlink === 0) return -Errno.ENOENT;
    if (!this.#table.disk.hasRoomFor(1)) return -Errno.ENOSPC;
    const inode = this.#table.born(place.directory, mode);
    this.#name(place.directory, name, inode);
    return inode;
  }

  mkdir(dirfd: number, name: Uint8Array, mode: number): number {
    const made = this.#create(dirfd, name, Mode.directory | (mode & 0o1777));
    return typeof made === "number" ? made : 0;
  }

  mknod(dirfd: number, name: Uint8Array, mode: number, rdev: number): number {
    const type = mode & Mode.typeMask;
    const known = [Mode.regular, Mode.fifo, Mode.socket, Mode.blockDevice, Mode.characterDevice, 0];
    if (type === Mode.directory) return -Errno.EPERM;
    if (!known.some((own) => own === type)) return -Errno.EINVAL;
    const made = this.#create(dirfd, name, type === 0 ? mode | Mode.regular : mode);
    if (typeof made === "number") return made;
    if (type === Mode.blockDevice || type === Mode.characterDevice) made.rdev = rdev;
    return 0;
  }

  symlink(dirfd: number, name: Uint8Array, target: Uint8Array): number {
    if (target.includes(0) || target.length > symlinkBytesMax) return -Errno.EINVAL;
    if (target.length === 0) return -Errno.ENOENT;
    const { umask } = this.#table;
    this.#table.umask = 0;
    const made = this.#create(dirfd, name, Mode.symlink | 0o777);
    this.#table.umask = umask;
    if (typeof made === "number") return made;
    made.target = target.slice();
    return 0;
  }

  link(fromFd: number, fromName: Uint8Array, toFd: number, toName: Uint8Array): number {
    const { disk } = this.#table;
    const inode = this.#table.find(fromFd, fromName);
    if (typeof inode === "number") return inode;
    const place = this.#table.place(toFd, toName);
    if (typeof place === "number") return place;
    if (place.existing !== undefined) return -Errno.EEXIST;
    if (place.directory.nlink === 0) return -Errno.ENOENT;
    if (inode.isDirectory) return -Errno.EPERM;
    if (inode.nlink === 0 && !inode.isUnnamed) return -Errno.ENOENT;
    if (inode.isUnnamed && inode.nlink === 0) disk.note(() => (inode.isUnnamed = true));
    inode.isUnnamed = false;
    disk.setLinks(inode, inode.nlink + 1);
    disk.attach(place.directory, toName, inode);
    disk.touchChange(inode);
    disk.touch(place.directory);
    this.#table.tell?.attributes(inode.ino, inode.gen);
    this.#tellName(place.directory, toName, inode, NameChange.created);
    return 0;
  }

  unlink(dirfd: number, name: Uint8Array, isDirectory: boolean): number {
    const place = this.#table.place(dirfd, name);
    if (typeof place === "number") return place;
    const { directory, existing } = place;
    if (existing === undefined) return -Errno.ENOENT;
    if (isDirectory && !existing.isDirectory) return -Errno.ENOTDIR;
    if (!isDirectory && existing.isDirectory) return -Errno.EISDIR;
    if (isDirectory && existing.entries!.size > 0) return -Errno.ENOTEMPTY;
    this.#table.disk.detach(directory, name);
    this.#table.disk.touch(directory);
    this.#lose(existing, directory);
    // Of its count of names.
    this.#table.tell?.attributes(existing.ino, existing.gen);
    this.#tellName(directory, name, existing, NameChange.deleted);
    this.#table.disk.release(existing);
    return 0;
  }

  /** A name of the inode has gone. */
  #lose(inode: Inode, directory: Inode): void {
    const { disk } = this.#table;
    if (inode.isDirectory) {
      disk.setLinks(inode, 0);
      disk.setLinks(directory, directory.nlink - 1);
      disk.touchChange(inode);
    } else {
      disk.setLinks(inode, inode.nlink - 1);
      disk.touchChange(inode);
    }
  }

  rename(
    fromFd: number,
    fromName: Uint8Array,
    toFd: number,
    toName: Uint8Array,
    flags: number,
  ): number {
    const isExchange = (flags & Rename.exchange) !== 0;
    if ((flags & ~3) !== 0 || flags === 3) return -Errno.EINVAL;
    const from = this.#table.place(fromFd, fromName, "lookedUpLater");
    if (typeof from === "number") return from;
    const to = this.#table.place(toFd, toName, "lookedUpLater");
    if (typeof to === "number") return to;
    const moved = from.existing;
    if (moved === undefined) return wrongIn(from.directory, fromName) || -Errno.ENOENT;
    if (wrongName(toName) < 0) return wrongIn(to.directory, toName);
    if (to.existing !== undefined && (flags & Rename.noReplace) !== 0) return -Errno.EEXIST;
    if (isExchange && to.existing === undefined) return -Errno.ENOENT;
    if (isOrHolds(moved, to.directory)) return -Errno.EINVAL;
    if (to.existing !== undefined && isOrHolds(to.existing, from.directory)) {
      return isExchange ? -Errno.EINVAL : -Errno.ENOTEMPTY;
    }
    if (to.existing === moved) return 0;
    if (to.directory.nlink === 0) return -Errno.ENOENT;
    if (isExchange) this.#exchange(from, fromName, to, toName);
    else return this.#move(from.directory, fromName, to, toName, moved);
    return 0;
  }

  #move(
    from: Inode,
    fromName: Uint8Array,
    to: { directory: Inode; existing: Inode | undefined },
    toName: Uint8Array,
    moved: Inode,
  ): number {
    const { disk } = this.#table;
    const { directory, existing } = to;
    if (existing !== undefined) {
      if (moved.isDirectory && !existing.isDirectory) return -Errno.ENOTDIR;
      if (!moved.isDirectory && existing.isDirectory) return -Errno.EISDIR;
      if (existing.isDirectory && existing.entries!.size > 0) return -Errno.ENOTEMPTY;
    }
    disk.detach(from, fromName);
    disk.attach(directory, toName, moved);
    if (moved.isDirectory && from !== directory) {
      disk.setParent(moved, directory);
      disk.setLinks(from, from.nlink - 1);
      disk.setLinks(directory, directory.nlink + 1);
    }
    disk.touch(from);
    if (directory !== from) disk.touch(directory);
    disk.touchChange(moved);
    if (existing !== undefined) {
      if (existing.isDirectory) {
        disk.setLinks(existing, 0);
        disk.setLinks(directory, directory.nlink - 1);
      } else {
        disk.setLinks(existing, existing.nlink - 1);
      }
      disk.touchChange(existing);
    }
    if (existing !== undefined) this.#table.tell?.attributes(existing.ino, existing.gen);
    this.#tellMove(from, fromName, directory, toName, moved);
    if (existing !== undefined) disk.release(existing);
    return 0;
  }

  #tellMove(from: Inode, fromName: Uint8Array, to: Inode, toName: Uint8Array, node: Inode): void {
    this.#tellName(from, fromName, node, NameChange.moved);
    this.#tellName(to, toName, node, NameChange.moved);
  }

  #exchange(
    from: { directory: Inode; existing: Inode | undefined },
    fromName: Uint8Array,
    to: { directory: Inode; existing: Inode | undefined },
    toName: Uint8Array,
  ): void {
    const { disk } = this.#table;
    const [one, other] = [from.existing!, to.existing!];
    disk.attach(from.directory, fromName, other);
    disk.attach(to.directory, toName, one);
    if (from.directory !== to.directory) {
      if (one.isDirectory) disk.setParent(one, to.directory);
      if (other.isDirectory) disk.setParent(other, from.directory);
      if (one.isDirectory !== other.isDirectory) {
        const toward = one.isDirectory ? 1 : -1;
        disk.setLinks(from.directory, from.directory.nlink - toward);
        disk.setLinks(to.directory, to.directory.nlink + toward);
      }
    }
    disk.touch(from.directory);
    if (to.directory !== from.directory) disk.touch(to.directory);
    disk.touchChange(one);
    disk.touchChange(other);
    this.#tellMove(from.directory, fromName, to.directory, toName, one);
    this.#tellMove(to.directory, toName, from.directory, fromName, other);
  }

  // --- metadata ---------------------------------------------------------------------------------

  #changed(inode: Inode): void {
    this.#table.disk.touchChange(inode);
    this.#table.tell?.attributes(inode.ino, inode.gen);
  }

  setTimes(dirfd: number, name: Uint8Array, sec: number, nsec: number): number {
    const inode = name.length === 0 ? this.#table.usable(dirfd) : this.#table.find(dirfd, name);
    if (typeof inode === "number") return inode;
    if (nsec < 0 || nsec >= 1e9) return -Errno.EINVAL;
    const { mtimeSec, mtimeNsec } = inode;
    this.#table.disk.note(() => {
      inode.mtimeSec = mtimeSec;
      inode.mtimeNsec = mtimeNsec;
    });
    inode.mtimeSec = sec;
    inode.mtimeNsec = nsec;
    this.#changed(inode);
    return 0;
  }

  chown(dirfd: number, name: Uint8Array, uid: number, gid: number): number {
    const inode = this.#table.find(dirfd, name);
    if (typeof inode === "number") return inode;
    const { mode, uid: uidBefore, gid: gidBefore } = inode;
    this.#table.disk.note(() => {
      inode.mode = mode;
      inode.uid = uidBefore;
      inode.gid = gidBefore;
    });
    if (uid >= 0 && uid < 0xffffffff) inode.uid = uid;
    if (gid >= 0 && gid < 0xffffffff) inode.gid = gid;
    // The kernel takes what would lend the new owner's rights.
    if (!inode.isDirectory) {
      inode.mode &= ~0o4000;
      if ((inode.mode & 0o010) !== 0) inode.mode &= ~0o2000;
    }
    this.#changed(inode);
    return 0;
  }

  chmod(inode: Inode | number, mode: number): number {
    if (typeof inode === "number") return inode;
    if (inode.type === Mode.symlink) return -Errno.EOPNOTSUPP;
    const before = inode.mode;
    this.#table.disk.note(() => (inode.mode = before));
    inode.mode = inode.type | (mode & Mode.permissionMask);
    this.#changed(inode);
    return 0;
  }

  chmodAt(dirfd: number, name: Uint8Array, mode: number): number {
    if (name.length === 0) return -Errno.ENOENT;
    return this.chmod(this.#table.find(dirfd, name), mode);
  }

  // --- attributes -------------------------------------------------------------------------------

  getAttributes(dirfd: number, name: Uint8Array, out: Uint8Array): number {
    const inode = this.#table.find(dirfd, name);
    if (typeof inode === "number") return inode;
    const view = new DataView(out.buffer, out.byteOffset, out.length);
    let used = 0;
    for (const key of [...inode.attributes.keys()].sort()) {
      const value = inode.attributes.get(key)!;
      if (used + 6 + key.length + value.length > out.length) return -Errno.ERANGE;
      view.setUint16(used, key.length, true);
      out.set(Buffer.from(key, "latin1"), used + 2);
      view.setUint32(used + 2 + key.length, value.length, true);
      out.set(value, used + 6 + key.length);
      used += 6 + key.length + value.length;
    }
    return used;
  }

  /** Without a value it is removed. */
  setAttribute(
    dirfd: number,
    name: Uint8Array,
    attribute: Uint8Array,
    value: Uint8Array | undefined,
  ): number {
    const inode = this.#table.find(dirfd, name);
    if (typeof inode === "number") return inode;
    const key = latin1(attribute);
    if (attribute.length > attributeNameBytesMax || key === "") return -Errno.ERANGE;
    const isUser = key.startsWith("user.");
    if (!isUser && !key.startsWith("trusted.")) return -Errno.EOPNOTSUPP;
    if (isUser && !inode.isRegular && !inode.isDirectory) {
      return -Errno.EPERM;
    }
    const before = inode.attributes.get(key);
    if (value === undefined && before === undefined) return -Errno.ENODATA;
    const size = [...inode.attributes].reduce(
      (sum, [own, held]) => sum + own.length + held.length,
      0,
    );
    if (value !== undefined && size + key.length + value.length > attributeBytesMax) {
      return value.length > 65536 ? -E2BIG : -Errno.ENOSPC;
    }
    this.#table.disk.note(() => {
      if (before === undefined) inode.attributes.delete(key);
      else inode.attributes.set(key, before);
    });
    if (value === undefined) inode.attributes.delete(key);
    else inode.attributes.set(key, value.slice());
    this.#changed(inode);
    return 0;
  }
}

/** In a directory that has been removed there is nothing, whatever its name. */
function wrongIn(directory: Inode, name: Uint8Array): number {
  return directory.nlink === 0 ? -Errno.ENOENT : wrongName(name);
}

/** Whether `outer` is `inner` or lies above it. */
function isOrHolds(outer: Inode, inner: Inode): boolean {
  if (!outer.isDirectory) return false;
  for (let at: Inode = inner; ; at = at.parent!) {
    if (at === outer) return true;
    if (at.parent === undefined || at.parent === at) return false;
  }
}

/** Bytes of the list of names that the kernel gives. */
export function listBytes(inode: Inode): number {
  let bytes = 0;
  for (const key of inode.attributes.keys()) bytes += key.length + 1;
  return bytes;
}
