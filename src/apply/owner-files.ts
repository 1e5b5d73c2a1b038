/**
 * `ownerFiles`: `Files` for a target that is not root, in a tree that is its own.
 *
 * Root may do everything. An owner is stopped by the permissions of what is its own: a directory of
 * mode 0555 in which a file is to be made, one of mode 0000 that is to be read, a file of mode 0400
 * that is to have an attribute. The owner may lift them, and does so for the one call that was
 * refused, as rsync does. A crash in between leaves a mode that the next comparison puts right.
 *
 * In: any `Files`. Out: one with the same results, but EACCES only where the owner cannot help it.
 * Invariant: single components and descriptors only; no link is followed. Calls that succeed at
 * once cost nothing more; content is not read or written through this.
 */
import { Errno, type Files, Mode, Open, Stat, statSlots } from "../world/index.ts";

const noName: Uint8Array = new Uint8Array(0);
const ownerAll = 0o700;
const ownerReadWrite = 0o600;

type Wrapped = Pick<
  Files,
  | "openBeneath"
  | "statAt"
  | "identifyAt"
  | "scanDirectory"
  | "setTimes"
  | "chown"
  | "chmodAt"
  | "mkdir"
  | "mknod"
  | "symlink"
  | "link"
  | "unlink"
  | "rename"
  | "readlink"
  | "getAttributes"
  | "setAttribute"
  | "removeAttribute"
>;

/** `files` must not need `this`, as those of the addon do not. */
export function ownerFiles(files: Files): Files {
  const lifter = new Lifter(files);
  const within = (fd: number, call: () => number): number => lifter.within([fd], [], call);
  const at = (fd: number, name: Uint8Array, call: () => number): number =>
    lifter.within([fd], [{ fd, name }], call);
  const wrapped: Wrapped = {
    openBeneath: (fd, path, flags, mode) => lifter.open(fd, path, flags, mode),
    statAt: (fd, name, out) => within(fd, () => files.statAt(fd, name, out)),
    identifyAt: (fd, name, out) => within(fd, () => files.identifyAt(fd, name, out)),
    scanDirectory: (fd, out, brief) => lifter.scan(fd, out, brief),
    setTimes: (fd, name, sec, nsec) => within(fd, () => files.setTimes(fd, name, sec, nsec)),
    chown: (fd, name, uid, gid) => within(fd, () => files.chown(fd, name, uid, gid)),
    chmodAt: (fd, name, mode) => within(fd, () => files.chmodAt(fd, name, mode)),
    mkdir: (fd, name, mode) => within(fd, () => files.mkdir(fd, name, mode)),
    mknod: (fd, name, mode, rdev) => within(fd, () => files.mknod(fd, name, mode, rdev)),
    symlink: (fd, name, target) => within(fd, () => files.symlink(fd, name, target)),
    link: (fromFd, from, toFd, to) =>
      lifter.within(from.length > 0 ? [fromFd, toFd] : [toFd], [], () =>
        files.link(fromFd, from, toFd, to),
      ),
    unlink: (fd, name, directory) => within(fd, () => files.unlink(fd, name, directory)),
    // A directory that gets another parent is written to itself: it is told where `..` leads.
    rename: (fromFd, from, toFd, to, flags) =>
      lifter.within(
        [fromFd, toFd],
        [
          { fd: fromFd, name: from, isMoving: true },
          { fd: toFd, name: to, isMoving: true },
        ],
        () => files.rename(fromFd, from, toFd, to, flags),
      ),
    readlink: (fd, name, out) => within(fd, () => files.readlink(fd, name, out)),
    getAttributes: (fd, name, out) => at(fd, name, () => files.getAttributes(fd, name, out)),
    setAttribute: (fd, name, attribute, value) =>
      at(fd, name, () => files.setAttribute(fd, name, attribute, value)),
    removeAttribute: (fd, name, attribute) =>
      at(fd, name, () => files.removeAttribute(fd, name, attribute)),
  };
  return Object.assign(Object.create(files) as Files, wrapped);
}

interface Place {
  readonly fd: number;
  /** Empty: what the descriptor is of. */
  readonly name: Uint8Array;
  /** It only changes its place, for which a file needs no permission. */
  readonly isMoving?: boolean;
}

interface Lifted extends Place {
  readonly mode: number;
  /** Opened for this: what is moved meanwhile has another name afterwards. */
  readonly isOwn: boolean;
}

class Lifter {
  readonly #files: Files;
  readonly #stat: Float64Array = new Float64Array(statSlots);

  constructor(files: Files) {
    this.#files = files;
  }

  /** The call's result; after EACCES that of another with permissions lifted, if they can be. */
  within(directories: readonly number[], entries: readonly Place[], call: () => number): number {
    const result = call();
    if (result !== -Errno.EACCES) return result;
    const lifted: Lifted[] = [];
    // First the directories: without them the entries cannot be reached.
    for (const fd of directories) this.#lift({ fd, name: noName }, lifted);
    for (const place of entries) if (place.name.length > 0) this.#lift(place, lifted);
    const again = lifted.length > 0 ? call() : result;
    this.#restore(lifted);
    return again;
  }

  /** A directory whose names can be read, but not what they mean, is refused halfway through. */
  scan(fd: number, out: Uint8Array, brief: 0 | 1): number {
    const lifted: Lifted[] = [];
    this.#lift({ fd, name: noName }, lifted);
    const result = this.#files.scanDirectory(fd, out, brief);
    this.#restore(lifted);
    return result;
  }

  /** Opens component by component when the whole is refused. */
  open(rootFd: number, path: Uint8Array, flags: number, mode: number): number {
    const result = this.#files.openBeneath(rootFd, path, flags, mode);
    if (result !== -Errno.EACCES) return result;
    const lifted: Lifted[] = [];
    const opened: number[] = [];
    const components = splitPath(path);
    let at = rootFd;
    for (let next = 0; next < components.length && at >= 0; next++) {
      const isLast = next === components.length - 1;
      const how = isLast ? flags : Open.read | Open.directory;
      this.#lift({ fd: at, name: noName }, lifted);
      at = this.#openOne({ fd: at, name: components[next]! }, how, isLast ? mode : 0);
      if (!isLast && at >= 0) opened.push(at);
    }
    this.#restore(lifted);
    for (const fd of opened) this.#files.close(fd);
    return at;
  }

  #openOne(place: Place, flags: number, mode: number): number {
    const result = this.#files.openBeneath(place.fd, place.name, flags, mode);
    if (result !== -Errno.EACCES || (flags & Open.directory) === 0) return result;
    const lifted: Lifted[] = [];
    this.#lift(place, lifted);
    const again = this.#files.openBeneath(place.fd, place.name, flags, mode);
    this.#restore(lifted);
    return again;
  }

  /** Gives the owner all permissions, if some were missing; noted in `lifted`, when done. */
  #lift(place: Place, lifted: Lifted[]): void {
    const stat = this.#stat;
    if (this.#files.statAt(place.fd, place.name, stat) < 0) return;
    const type = stat[Stat.mode]! & Mode.typeMask;
    const mode = stat[Stat.mode]! & Mode.permissionMask;
    const isFile = type === Mode.regular;
    if (type !== Mode.directory && (!isFile || place.isMoving)) return;
    const needed = isFile ? ownerReadWrite : ownerAll;
    if ((mode & needed) === needed || this.#change(place, mode | needed) !== 0) return;
    const isNamed = place.name.length > 0 && type === Mode.directory;
    const flags = Open.read | Open.directory | Open.noFollow;
    const fd = isNamed ? this.#files.openBeneath(place.fd, place.name, flags, 0) : -1;
    lifted.push(
      fd < 0 ? { ...place, mode, isOwn: false } : { fd, name: noName, mode, isOwn: true },
    );
  }

  #restore(lifted: Lifted[]): void {
    for (let last = lifted.pop(); last !== undefined; last = lifted.pop()) {
      this.#change(last, last.mode);
      if (last.isOwn) this.#files.close(last.fd);
    }
  }

  #change({ fd, name }: Place, mode: number): number {
    return name.length === 0 ? this.#files.chmod(fd, mode) : this.#files.chmodAt(fd, name, mode);
  }
}

/** An empty path is one empty component: the directory itself. */
function splitPath(path: Uint8Array): Uint8Array[] {
  const slash = 47;
  const components: Uint8Array[] = [];
  let start = 0;
  for (let end = path.indexOf(slash); end >= 0; end = path.indexOf(slash, start)) {
    components.push(path.subarray(start, end));
    start = end + 1;
  }
  components.push(path.subarray(start));
  return components;
}
