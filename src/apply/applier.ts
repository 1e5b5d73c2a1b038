/**
 * `Applier`: carries out operations on the target, and on the tree that mirrors it.
 *
 * In: decoded operations, in order, from a peer that is authenticated but not believed: every node
 * must exist, every name has been checked by the decoder. Out: system calls on descriptors that
 * were opened below the root by openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), with
 * single-component names: no operation can reach outside the root.
 *
 * New regular files are unnamed (O_TMPFILE) until PLACE gives them their name, so that nobody on
 * the target sees half a file and replacing one is atomic. In-place writes keep the inode.
 *
 * Errors: TARGET_FULL (nothing more is applied), TARGET_DIVERGED (the disk is not what the tree
 * says: reconcile), PEER_MALFORMED (an operation that no correct source sends). What the filesystem
 * or missing privilege refuses (owner, attribute) is a problem of one path, and the rest goes on.
 */
import { DescriptorCache, Directories } from "../descriptors/index.ts";
import type { ProblemLog } from "../model/index.ts";
import { Origins, rootId, type Tree } from "../tree/index.ts";
import { Errno, errnoName, type Files, Mode, Open, Rename } from "../world/index.ts";
import type { Operations, Origin } from "../wire/index.ts";
import { ChangedNodes } from "./changed-nodes.ts";
import { type Discard, Removal, type Spot } from "./discard.ts";
import { failedCall, isRefused, malformed } from "./failed-call.ts";
import { openOwn, punchHole } from "./file-access.ts";
import { holdName, keepName } from "./hold-name.ts";
import { applyOwner } from "./apply-owner.ts";
import { applyAttributes, dropInheritedAcls, passesAclsOn } from "./apply-attributes.ts";
import { isRegular, makeStaged, type Staged } from "./staged.ts";
import { stagedCountMax } from "./staged-count.ts";
import { TargetNames } from "./target-names.ts";

/** Descriptors of files being written that stay open between operations. */
export const writableCountMax = 128;
/** Descriptors of target files that are read as the sources of copies. */
export const readableCountMax = 16;

const noName: Uint8Array = new Uint8Array(0);
const E2BIG = 7;
/** Set-user-ID and set-group-ID. */
const setIdMask = 0o6000;

export class Applier implements Operations {
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #tree: Tree;
  readonly #problems: ProblemLog;
  /** What becomes of what goes for good. */
  readonly #discard: Discard;
  readonly #directories: Directories;
  readonly #writable: DescriptorCache;
  /** Of files that are read: opening a running program for writing would be refused. */
  readonly #readable: DescriptorCache;
  readonly #names: TargetNames;
  /** Announced, without a name so far. */
  readonly staged: Map<number, Staged>;
  /** New files that may be open without a name. */
  readonly stagedCountMax: number;
  #stagedOpenCount = 0;
  /** What the source has told of its own inodes. */
  readonly origins: Origins = new Origins();
  readonly changed: ChangedNodes = new ChangedNodes();
  /** Of other filesystems below the root, for messages. */
  mounts: readonly string[] = [];
  readonly #held: Set<number>;
  #operationCount = 0;
  /** The content of the next WRITE is in the file already. */
  isWritten = false;
  /** Of a directory whose descriptor is not needed any more. */
  closeDirectory: (fd: number) => void = (fd) => void this.#files.close(fd);

  constructor(
    files: Files,
    rootFd: number,
    tree: Tree,
    problems: ProblemLog,
    discard: Discard = new Removal(files, rootFd),
    names: TargetNames = new TargetNames(tree),
  ) {
    this.#files = files;
    this.#discard = discard;
    this.stagedCountMax = stagedCountMax(files);
    this.#rootFd = rootFd;
    this.#tree = tree;
    this.#problems = problems;
    this.#names = names;
    names.hooks.push({
      mark: (node) => this.changed.mark(node),
      forget: (node) => this.#forget(node),
    });
    this.staged = this.#names.staged;
    this.#held = this.#names.held;
    this.#directories = new Directories(files, rootFd, tree, {
      detachedName: (node) => (this.#held.has(node) ? holdName(node) : undefined),
      close: (fd) => this.closeDirectory(fd),
    });
    this.#writable = new DescriptorCache(files, writableCountMax, (node) => {
      this.#discard.beforeChange(node, () => this.#openFile(node, Open.read));
      return this.#openFile(node, Open.readWrite);
    });
    this.#readable = new DescriptorCache(files, readableCountMax, (node) =>
      this.#openFile(node, Open.read),
    );
  }

  /** One past the largest node id in use: the next new one. */
  get endId(): number {
    return this.#tree.endId;
  }

  /** Descriptor of a file with a name that is open for writing, or -1. */
  peekWritable(node: number): number {
    return this.staged.has(node) ? -1 : this.#writable.peek(node);
  }

  get stagedOpenCount(): number {
    return this.#stagedOpenCount;
  }

  get operationCount(): number {
    return this.#operationCount;
  }

  /** Closes what stays open between operations: a file held open for writing cannot be executed. */
  closeIdle(): void {
    this.#writable.clear();
    this.#readable.clear();
    this.#directories.clear();
  }

  /**
   * Closes everything, and removes what waits under a hold name unless it `isPending`: another
   * process goes on with it then.
   */
  close(isPending = false): void {
    this.closeIdle();
    for (const staged of this.staged.values()) {
      this.#closeStaged(staged);
      if (isPending) continue;
      if (staged.isKept || staged.name === undefined) continue;
      this.#files.unlink(this.#rootFd, staged.name, 0);
    }
    this.staged.clear();
    if (isPending) return;
    for (const node of this.#held) this.#discard.removeHeldAtEnd(node);
    this.#held.clear();
  }

  create(node: number, mode: number, rdev: number, symlinkTarget: Uint8Array): void {
    this.#operationCount++;
    this.#names.created(node, mode, rdev, symlinkTarget);
    this.origins.forget(node);
  }

  /** Gives a new file a name of its own, so that a link that ends early was not in vain. */
  keep(node: number, key: Uint8Array): void {
    this.#operationCount++;
    const staged = this.#stagedOf(node);
    if (staged === undefined || !isRegular(staged)) malformed(`node ${node} cannot be kept`);
    if (staged.isKept) return;
    const fd = this.#stagedFd(node, staged);
    const name = keepName(key);
    const [files, root] = [this.#files, this.#rootFd];
    files.unlink(root, name, 0);
    const own = staged.name;
    const result = own
      ? files.rename(root, own, root, name, 0)
      : files.link(fd, noName, root, name);
    this.#check(result, node, "keep");
    staged.name = name;
    staged.isKept = true;
  }

  /**
   * Gives a new file its hold name, so that its content outlives this process: the journal has not
   * got it.
   */
  hold(node: number): void {
    const staged = this.staged.get(node)!;
    if (staged.name !== undefined) return;
    const name = holdName(node);
    const fd = this.#stagedFd(node, staged);
    this.#check(this.#files.link(fd, noName, this.#rootFd, name), node, "hold");
    staged.name = name;
    this.#keepRootTime();
  }

  /** A name of our own came or went in the root. */
  #keepRootTime(): void {
    const [sec, nsec] = [this.#tree.mtimeSec[rootId]!, this.#tree.mtimeNsec[rootId]!];
    this.#files.setTimes(this.#rootFd, noName, sec, nsec);
    this.changed.mark(rootId);
  }

  /** Takes over what `keep` of an earlier link has left: a node of the tree, without a name. */
  adopt(node: number, key: Uint8Array): void {
    this.#names.adopted(node, key);
    this.#discard.forget(node);
  }

  /**
   * Descriptor of a new regular file. Opened when it is needed, because a directory of a million
   * new files is announced as a whole and then filled file by file.
   */
  #stagedFd(node: number, staged: Staged): number {
    if (staged.fd >= 0) return staged.fd;
    if (this.#stagedOpenCount >= this.stagedCountMax) malformed("too many files without a name");
    const isThere = staged.name !== undefined;
    const flags = isThere ? Open.readWrite | Open.noFollow : Open.temporary | Open.readWrite;
    // Nobody can reach it before it has a name, so it may have its permissions from the beginning.
    const mode = isThere ? 0 : staged.mode & 0o777;
    let fd = this.#files.openBeneath(this.#rootFd, staged.name ?? noName, flags, mode);
    if (!isThere && [-Errno.EOPNOTSUPP, -Errno.EISDIR, -Errno.ENOENT].includes(fd)) {
      staged.name = holdName(node);
      const create = Open.create | Open.exclusive | Open.readWrite | Open.noFollow;
      fd = this.#files.openBeneath(this.#rootFd, staged.name, create, 0o600);
    }
    staged.fd = this.#check(fd, rootId, "create");
    this.#stagedOpenCount++;
    if (passesAclsOn(this.#tree, rootId)) dropInheritedAcls(this.#files, fd, noName, false);
    return staged.fd;
  }

  #closeStaged(staged: Staged): void {
    if (staged.fd < 0) return;
    this.#files.close(staged.fd);
    this.#stagedOpenCount--;
  }

  write(node: number, position: number, bytes: Uint8Array, start: number, end: number): void {
    this.#operationCount++;
    const fd = this.#writableFd(node);
    const length = end - start;
    const result = this.isWritten ? 0 : this.#files.pwrite(fd, bytes, start, length, position);
    this.isWritten = false;
    if (result < 0) this.#check(result, node, "write");
    const tree = this.#tree;
    tree.size[node] = Math.max(tree.size[node]!, position + length);
  }

  zero(node: number, position: number, length: number): void {
    this.#operationCount++;
    const fd = this.#writableFd(node);
    // Beyond the end there is nothing to punch; a TRUNCATE that follows makes the hole.
    const inside = Math.min(length, this.#tree.size[node]! - position);
    if (inside <= 0) return;
    this.#check(punchHole(this.#files, fd, position, inside), node, "punch");
  }

  truncate(node: number, size: number): void {
    this.#operationCount++;
    this.#check(this.#files.ftruncate(this.#writableFd(node), size), node, "truncate");
    this.#tree.size[node] = size;
  }

  /** Copies within the target: by reflink where the filesystem can. */
  clone(
    node: number,
    position: number,
    from: { node: number; position: number },
    length: number,
  ): void {
    this.#operationCount++;
    const tree = this.#tree;
    if (node === from.node) malformed("a clone of a file into itself");
    this.#live(from.node);
    if (from.position + length > tree.size[from.node]!) malformed("a clone from beyond the end");
    const fromFd = this.#readableFd(from.node);
    const toFd = this.#writableFd(node);
    // A file that is shorter than it should be was changed by someone else: ENODATA.
    const result = this.#files.cloneRange(toFd, fromFd, from.position, length, position);
    this.#check(result, node, "clone");
    tree.size[node] = Math.max(tree.size[node]!, position + length);
  }

  /** Opens a file with a name for reading: a descriptor of the caller's, or a negative errno. */
  openToRead(node: number): number {
    const kept = this.#stagedOf(node);
    if (kept?.isKept) {
      return this.#files.openBeneath(this.#rootFd, kept.name!, Open.read | Open.noFollow, 0);
    }
    const isThere = this.#tree.firstName[node] !== 0 || this.#held.has(node);
    const isFile = this.#tree.isLive(node) && isThere;
    if (!isFile || (this.#tree.mode[node]! & Mode.typeMask) !== Mode.regular) return -Errno.EINVAL;
    return this.#openFile(node, Open.read);
  }

  #readableFd(node: number): number {
    const staged = this.#stagedOf(node);
    if (staged !== undefined && isRegular(staged)) return this.#stagedFd(node, staged);
    return this.#check(this.#readable.get(node), node, "open");
  }

  place(node: number, parent: number, name: Uint8Array): void {
    this.#operationCount++;
    const dirFd = this.directoryFd(parent);
    const staged = this.staged.get(node);
    if (staged !== undefined) {
      this.#placeStaged(node, staged, { dirFd, parent, name });
      const isInheriting = passesAclsOn(this.#tree, parent) || passesAclsOn(this.#tree, rootId);
      if (isInheriting && !isRegular(staged)) {
        dropInheritedAcls(this.#files, dirFd, name, this.#tree.isDirectory(node));
      }
    } else {
      if (!this.#held.has(node)) malformed(`node ${node} has a place already`);
      const [spot, isFolder] = [{ dirFd, parent, name }, this.#tree.isDirectory(node)];
      const result = this.#discard.rename(this.#rootFd, holdName(node), spot, isFolder);
      this.#check(result, parent, "rename");
      this.#keepRootTime();
      this.#discard.placed(node);
    }
    this.#names.placed(node, parent, name);
    if (staged?.refused === undefined) return;
    for (const [operation, result] of staged.refused) this.#problem(node, operation, result);
  }

  #placeStaged(node: number, staged: Staged, spot: Spot): void {
    const { dirFd, name } = spot;
    if (isRegular(staged)) this.#stagedFd(node, staged);
    if (staged.name !== undefined) {
      this.#check(this.#discard.rename(this.#rootFd, staged.name, spot), node, "rename");
      this.#keepRootTime();
    } else {
      let result = this.#make(node, staged, dirFd, name);
      if (result === -Errno.EEXIST && (staged.mode & Mode.typeMask) !== Mode.directory) {
        // Made under another name first, then renamed over the old one: that is atomic.
        this.#check(this.#make(node, staged, this.#rootFd, holdName(node)), node, "create");
        result = this.#discard.rename(this.#rootFd, holdName(node), spot);
        if (result < 0) this.#files.unlink(this.#rootFd, holdName(node), 0);
        this.#keepRootTime();
      }
      this.#check(result, node, "create");
    }
    this.#closeStaged(staged);
  }

  #make(node: number, staged: Staged, dirFd: number, name: Uint8Array): number {
    return makeStaged(this.#files, staged, { dirFd, name }, (result) =>
      this.#problem(node, "mknod", result),
    );
  }

  rename(
    fromParent: number,
    fromName: Uint8Array,
    toParent: number,
    toName: Uint8Array,
    exchange: boolean,
  ): void {
    this.#operationCount++;
    const tree = this.#tree;
    const node = this.#existingChild(fromParent, fromName);
    if (tree.isDirectory(node) && tree.isWithin(toParent, node)) malformed("a move into itself");
    if (fromParent === toParent && Buffer.compare(fromName, toName) === 0) {
      malformed("a move of a name to itself");
    }
    // Two names of one file: rename(2) would do nothing and leave both.
    if (!exchange && tree.child(toParent, toName) === node) {
      return this.unlink(fromParent, fromName);
    }
    const fromFd = this.directoryFd(fromParent);
    const toFd = this.directoryFd(toParent);
    const to = { dirFd: toFd, parent: toParent, name: toName };
    if (exchange) this.#existingChild(toParent, toName);
    const result = exchange
      ? this.#files.rename(fromFd, fromName, toFd, toName, Rename.exchange)
      : this.#discard.rename(fromFd, fromName, to);
    this.#check(result, node, "rename");
    this.#names.renamed(fromParent, fromName, toParent, toName, exchange);
  }

  link(node: number, parent: number, name: Uint8Array): void {
    this.#operationCount++;
    const tree = this.#tree;
    this.#live(node);
    const own = tree.firstName[node]!;
    if (own === 0 || tree.isDirectory(node)) malformed("this node cannot be linked");
    const ownName = tree.names.bytes(own).slice();
    const ownFd = this.directoryFd(tree.names.parent[own]!);
    const dirFd = this.directoryFd(parent);
    let result = this.#files.link(ownFd, ownName, dirFd, name);
    if (result === -Errno.EEXIST && tree.child(parent, name) !== node) {
      const hold = holdName(node);
      this.#check(this.#files.link(ownFd, ownName, this.#rootFd, hold), node, "link");
      result = this.#discard.rename(this.#rootFd, hold, { dirFd, parent, name });
      if (result < 0) this.#files.unlink(this.#rootFd, hold, 0);
      this.#keepRootTime();
    }
    this.#check(result, node, "link");
    this.#names.linked(node, parent, name);
  }

  unlink(parent: number, name: Uint8Array): void {
    this.#operationCount++;
    const node = this.#existingChild(parent, name);
    const spot = { dirFd: this.directoryFd(parent), parent, name };
    const isLast = this.#tree.names.nextOfNode[this.#tree.firstName[node]!] === 0;
    this.#check(this.#discard.remove(spot, isLast), node, "unlink");
    this.#names.unlinked(parent, name);
  }

  remove(node: number): void {
    this.#operationCount++;
    this.#live(node);
    if (node === rootId) malformed("the root is not removed");
    const tree = this.#tree;
    const staged = this.staged.get(node);
    if (staged !== undefined) {
      this.#closeStaged(staged);
      if (staged.name !== undefined) {
        this.#files.unlink(this.#rootFd, staged.name, 0);
        this.#keepRootTime();
      }
    } else if (this.#held.has(node)) {
      this.#check(this.#discard.removeHeld(node), node, "remove");
      this.#keepRootTime();
    } else {
      for (let id = tree.firstName[node]!; id !== 0; id = tree.names.nextOfNode[id]!) {
        const parent = tree.names.parent[id]!;
        const name = tree.names.bytes(id).slice();
        const spot = { dirFd: this.directoryFd(parent), parent, name };
        this.#check(this.#discard.remove(spot, true), node, "remove");
      }
    }
    this.#names.removed(node);
  }

  detach(node: number): void {
    this.#operationCount++;
    this.#live(node);
    const tree = this.#tree;
    const id = tree.firstName[node]!;
    if (node === rootId || id === 0 || tree.names.nextOfNode[id] !== 0) {
      malformed(`node ${node} cannot be detached`);
    }
    const [dirFd, name] = this.#at(node);
    this.#check(this.#files.rename(dirFd, name, this.#rootFd, holdName(node), 0), node, "rename");
    this.#keepRootTime();
    this.#discard.detached(node);
    this.#names.detached(node);
  }

  meta(node: number, mode: number, uid: number, gid: number): void {
    this.#operationCount++;
    const tree = this.#tree;
    this.#live(node);
    const kind = tree.mode[node]! & Mode.typeMask;
    const wanted = kind | (mode & Mode.permissionMask);
    const staged = this.staged.get(node);
    if (staged === undefined) this.#discard.beforeMetadata(node);
    const [fd, name] = staged ? this.#stagedAt(node, staged) : this.#at(node);
    const spot = { fd, name, isNew: staged !== undefined };
    applyOwner(this.#files, spot, { mode: wanted, uid, gid }, (operation, result) =>
      this.#tolerate(result, node, operation),
    );
    tree.mode[node] = wanted;
    tree.uid[node] = uid;
    tree.gid[node] = gid;
    this.changed.mark(node);
  }

  times(node: number, sec: number, nsec: number, ctimeSec: number, ctimeNsec: number): void {
    this.#operationCount++;
    const tree = this.#tree;
    this.#live(node);
    const staged = this.#stagedOf(node);
    const isDirectory = tree.isDirectory(node);
    if (isDirectory && staged === undefined) this.#discard.beforeMetadata(node);
    const known = isDirectory ? this.#directories : this.#writable;
    const open = staged === undefined ? known.peek(node) : this.#stagedAt(node, staged)[0];
    let result: number;
    if (open >= 0) {
      result = this.#files.setTimes(open, noName, sec, nsec);
    } else {
      const [fd, name] = this.#at(node);
      result = this.#files.setTimes(fd, name, sec, nsec);
    }
    if (result < 0) this.#tolerate(result, node, "utimensat");
    if ((tree.mode[node]! & setIdMask) !== 0 && staged === undefined) this.#keepSetId(node);
    tree.mtimeSec[node] = sec;
    tree.mtimeNsec[node] = nsec;
    this.origins.setChangeTime(node, ctimeSec, ctimeNsec);
    this.changed.mark(node);
  }

  origin(node: number, origin: Origin): void {
    this.#operationCount++;
    this.#live(node);
    this.origins.set(node, origin);
    this.changed.mark(node);
  }

  /** What was written before the times took these bits away, unless root wrote it. */
  #keepSetId(node: number): void {
    const mode = this.#tree.mode[node]!;
    if ((mode & Mode.typeMask) !== Mode.regular) return;
    const [fd, name] = this.#at(node);
    this.#tolerate(this.#files.chmodAt(fd, name, mode & Mode.permissionMask), node, "chmod");
  }

  attributes(node: number, attributes: Uint8Array): void {
    this.#operationCount++;
    this.#live(node);
    const staged = this.staged.get(node);
    const [fd, name] = staged ? this.#stagedAt(node, staged) : this.#at(node);
    applyAttributes(this.#files, fd, name, attributes, (operation, result) => {
      // Some filesystems have room for few attributes only (ext4: a block), and say ENOSPC then.
      const tooMany = result === -Errno.ENOSPC || result === -E2BIG;
      if (tooMany) this.#problem(node, operation, result);
      else this.#tolerate(result, node, operation);
    });
    if (attributes.length > 0) this.#tree.attributes.set(node, attributes.slice());
    else this.#tree.attributes.delete(node);
    this.changed.mark(node);
  }

  #forget(node: number): void {
    this.#discard.forget(node);
    this.#writable.forget(node);
    this.#readable.forget(node);
    this.#directories.forget(node);
  }

  #live(node: number): void {
    if (!this.#tree.isLive(node)) malformed(`there is no node ${node}`);
  }

  #existingChild(parent: number, name: Uint8Array): number {
    this.#live(parent);
    const node = this.#tree.child(parent, name);
    if (node === 0) malformed("there is no such name");
    return node;
  }

  /** A directory's descriptor, for calls before the next operation. */
  directoryFd(node: number): number {
    this.#live(node);
    if (!this.#tree.isDirectory(node)) malformed(`node ${node} is no directory`);
    return this.#check(this.#directories.get(node), node, "open");
  }

  /** The directory and name to reach a node by; the root by itself, a held node where it waits. */
  #at(node: number): [number, Uint8Array] {
    if (node === rootId) return [this.#rootFd, noName];
    const { names, firstName } = this.#tree;
    const id = firstName[node]!;
    if (id === 0 && this.#held.has(node)) return [this.#rootFd, holdName(node)];
    if (id === 0) malformed(`node ${node} has no place`);
    return [this.directoryFd(names.parent[id]!), names.bytes(id)];
  }

  #stagedAt(node: number, staged: Staged): [number, Uint8Array] {
    if (!isRegular(staged)) malformed("only a regular file has metadata before it has a place");
    return [this.#stagedFd(node, staged), noName];
  }

  /** Mostly there is none at all. */
  #stagedOf(node: number): Staged | undefined {
    return this.staged.size === 0 ? undefined : this.staged.get(node);
  }

  #writableFd(node: number): number {
    const staged = this.#stagedOf(node);
    if (staged !== undefined && isRegular(staged)) return this.#stagedFd(node, staged);
    this.#live(node);
    const fd = this.#writable.get(node);
    return fd >= 0 ? fd : this.#check(fd, node, "open");
  }

  #openFile(node: number, access: number): number {
    if ((this.#tree.mode[node]! & Mode.typeMask) !== Mode.regular) {
      malformed(`node ${node} is no regular file`);
    }
    const [dirFd, name] = this.#at(node);
    return openOwn(this.#files, { dirFd, name }, access, this.#tree.mode[node]!);
  }

  /** The result of a call that must succeed; throws what its errno means. */
  #check(result: number, node: number, operation: string): number {
    if (result >= 0) return result;
    const path = this.#tree.isLive(node) ? this.#tree.path(node) : "?";
    throw failedCall(result, `${operation} ${path}: ${errnoName(result)}`, this.mounts);
  }

  /** The result of setting metadata: what is refused is a problem of that path alone. */
  #tolerate(result: number, node: number, operation: string): void {
    if (result >= 0) return;
    if (!isRefused(result)) this.#check(result, node, operation);
    this.#problem(node, operation, result);
  }

  #problem(node: number, operation: string, result: number): void {
    const staged = this.staged.get(node);
    if (staged !== undefined) {
      (staged.refused ??= new Map()).set(operation, result);
      return;
    }
    const path = this.#tree.path(node);
    this.#problems.add({ side: "target", path, operation, errno: errnoName(result) });
  }
}
