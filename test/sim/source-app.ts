/**
 * The simulated application: changes the source's folder by single system calls, in programs of
 * several calls that leave things half done between two of them.
 *
 * `step` makes the next call of the program that runs, or begins another. Whoever drives it may
 * call it at any moment, also while the engine is between two calls of its own: that is where cuts
 * tear.
 */
import { Errno, Fallocate, type Files, Mode, Open, Rename } from "../../src/world/index.ts";
import type { Chance } from "./chance.ts";
import type { Inode, SimDisk } from "./sim-disk.ts";
import { SimProcess } from "./sim-files.ts";
import type { SimFilesOptions } from "./sim-table.ts";

export interface SourceAppOptions {
  readonly disk: SimDisk;
  readonly chance: Chance;
  readonly folder: string;
  readonly tell: NonNullable<SimFilesOptions["tell"]>;
  readonly nowUs: () => number;
  /** Called after each system call that may have changed something. */
  readonly onChange: (what: string) => void;
  /** Whether it stores through mappings. */
  readonly stores: boolean;
  /** Names that a folder may have, and bytes that a file may have, about. */
  readonly nameCount: number;
  readonly fileBytesMax: number;
}

type Call = () => void;

interface Place {
  readonly directory: Inode;
  readonly path: string;
  readonly depth: number;
}

const depthMax = 3;
const callCountMax = 40;

export class SourceApp {
  readonly #options: SourceAppOptions;
  readonly #process: SimProcess;
  readonly #files: Files;
  readonly #chance: Chance;
  readonly #rootFd: number;
  /** The rest of the program that runs. */
  #calls: Call[] = [];
  readonly #open: Map<string, number> = new Map();
  #stamp = 0;
  stepCount = 0;

  constructor(options: SourceAppOptions) {
    this.#options = options;
    this.#chance = options.chance;
    this.#process = new SimProcess(options);
    this.#files = this.#process.files;
    this.#files.umask(0);
    this.#rootFd = this.#files.openPath(Buffer.from(options.folder), Open.read | Open.directory);
  }

  get isBetweenPrograms(): boolean {
    return this.#calls.length === 0;
  }

  step(): void {
    if (this.#calls.length === 0) this.#begin();
    const call = this.#calls.shift();
    if (call === undefined) return;
    this.stepCount++;
    call();
  }

  /** Ends the program that runs and closes everything. */
  finish(): void {
    while (this.#calls.length > 0) this.#calls.shift()!();
    for (const name of [...this.#open.keys()]) this.#close(name);
  }

  /** The machine has lost its power. */
  kill(): void {
    this.#calls = [];
    this.#open.clear();
    this.#process.kill();
  }

  // --- what there is ----------------------------------------------------------------------------

  get #root(): Inode {
    return this.#process.inodeOf(this.#rootFd)!;
  }

  #directories(): Place[] {
    const found: Place[] = [{ directory: this.#root, path: "", depth: 0 }];
    for (let i = 0; i < found.length; i++) {
      const { directory, path, depth } = found[i]!;
      for (const [name, { inode }] of directory.entries!) {
        if (inode.isDirectory) {
          found.push({ directory: inode, path: join(path, name), depth: depth + 1 });
        }
      }
    }
    return found;
  }

  #entries(isWanted: (inode: Inode) => boolean): string[] {
    const found: string[] = [];
    for (const { directory, path } of this.#directories()) {
      for (const [name, { inode }] of directory.entries!) {
        if (isWanted(inode)) found.push(join(path, name));
      }
    }
    return found.sort();
  }

  #anyFile(): string | undefined {
    const found = this.#entries((inode) => inode.isRegular);
    return found.length === 0 ? undefined : this.#chance.pick(found);
  }

  #any(): string | undefined {
    const found = this.#entries(() => true);
    return found.length === 0 ? undefined : this.#chance.pick(found);
  }

  /** A path in a folder that is there; what has that name, if anything, is left to chance. */
  #newPath(): string {
    const places = this.#directories();
    const place = this.#chance.pick(places);
    const name = `n${this.#chance.below(this.#options.nameCount)}`;
    return join(place.path, name);
  }

  // --- calls ------------------------------------------------------------------------------------

  /** Does `act` with the directory of a path; nothing when that has gone. */
  #within(path: string, act: (dirFd: number, name: Uint8Array) => number): number {
    const at = path.lastIndexOf("/");
    const above = path.slice(0, Math.max(0, at));
    const flags = Open.read | Open.directory;
    const fd = this.#files.openBeneath(this.#rootFd, Buffer.from(above, "latin1"), flags, 0);
    if (fd < 0) return fd;
    const result = act(fd, Buffer.from(path.slice(at + 1), "latin1"));
    this.#files.close(fd);
    return result;
  }

  #do(what: string, act: () => number): Call {
    return () => {
      const result = act();
      this.#options.onChange(`${what} = ${result}`);
    };
  }

  #openAs(slot: string, path: string, flags: number): Call {
    return this.#do(`open ${path} ${flags}`, () => {
      this.#close(slot);
      const all = flags | Open.nonBlock | Open.noFollow;
      const creates = (flags & Open.create) !== 0;
      const fd = this.#within(path, (dirFd, name) =>
        this.#files.openBeneath(dirFd, name, all, creates ? 0o644 : 0),
      );
      if (fd >= 0) this.#open.set(slot, fd);
      return fd < 0 ? fd : 0;
    });
  }

  #close(slot: string): number {
    const fd = this.#open.get(slot);
    this.#open.delete(slot);
    return fd === undefined ? -Errno.EBADF : this.#files.close(fd);
  }

  #closeCall(slot: string): Call {
    return this.#do(`close ${slot}`, () => this.#close(slot));
  }

  /** With an open file, if it could be opened. */
  #with(slot: string, what: string, act: (fd: number) => number): Call {
    return this.#do(`${what} ${slot}`, () => {
      const fd = this.#open.get(slot);
      return fd === undefined ? -Errno.EBADF : act(fd);
    });
  }

  #bytes(length: number): Uint8Array {
    const stamp = ++this.#stamp;
    const out = Buffer.alloc(length);
    for (let at = 0; at < length; at += 8) out.write(`<${stamp}.${at / 8}>`.slice(0, 8), at);
    return out;
  }

  #length(): number {
    const { fileBytesMax } = this.#options;
    const kind = this.#chance.below(8);
    if (kind < 4) return this.#chance.between(1, 64);
    if (kind < 6) return this.#chance.pick([4096, 4095, 4097, 8192, 512]);
    return this.#chance.between(1, fileBytesMax);
  }

  #position(): number {
    const kind = this.#chance.below(4);
    if (kind === 0) return 0;
    if (kind === 1) return 4096 * this.#chance.below(8);
    return this.#chance.below(this.#options.fileBytesMax);
  }

  #write(slot: string): Call {
    const bytes = this.#bytes(this.#length());
    const position = this.#position();
    return this.#with(slot, `write ${bytes.length} at ${position} to`, (fd) =>
      this.#files.pwrite(fd, bytes, 0, bytes.length, position),
    );
  }

  #append(slot: string): Call {
    const bytes = this.#bytes(this.#length());
    return this.#with(slot, `append ${bytes.length} to`, (fd) => this.#process.append(fd, bytes));
  }

  // --- programs ---------------------------------------------------------------------------------

  #begin(): void {
    const programs = [
      ...[this.#writes, this.#writes, this.#writes, this.#appends, this.#truncates],
      ...[this.#creates, this.#creates, this.#creates, this.#saves, this.#saves],
      ...[this.#makesFolder, this.#makesFolder, this.#moves, this.#moves, this.#moves],
      ...[this.#exchanges, this.#links, this.#symlinks, this.#pipes, this.#removes, this.#removes],
      ...[this.#modes, this.#owners, this.#times, this.#attributes, this.#stores, this.#stores],
      ...[this.#punches, this.#transacts, this.#transacts, this.#hammers, this.#unnamed],
      ...[
        this.#counts,
        this.#counts,
        this.#orphans,
        this.#swapsFolders,
        this.#clones,
        this.#removesTree,
      ],
    ];
    let program = this.#chance.pick(programs);
    if (program === this.#stores && !this.#options.stores) program = this.#writes;
    this.#calls = program.call(this).slice(0, callCountMax);
  }

  #repeat(count: number, make: () => Call): Call[] {
    return Array.from({ length: count }, make);
  }

  #writes(): Call[] {
    const path = this.#anyFile();
    if (path === undefined) return this.#creates();
    const count = this.#chance.between(1, 4);
    return [
      this.#openAs("f", path, Open.readWrite),
      ...this.#repeat(count, () => this.#write("f")),
      this.#closeCall("f"),
    ];
  }

  #appends(): Call[] {
    const path = this.#anyFile() ?? this.#newPath();
    const count = this.#chance.between(1, 8);
    return [
      this.#openAs("log", path, Open.write | Open.create),
      ...this.#repeat(count, () => this.#append("log")),
      this.#closeCall("log"),
    ];
  }

  #truncates(): Call[] {
    const path = this.#anyFile() ?? this.#newPath();
    const size = this.#chance.below(this.#options.fileBytesMax);
    return [
      this.#openAs("f", path, Open.readWrite | Open.create),
      this.#with("f", `truncate to ${size}`, (fd) => this.#files.ftruncate(fd, size)),
      this.#write("f"),
      this.#closeCall("f"),
    ];
  }

  #creates(): Call[] {
    const path = this.#newPath();
    return [
      this.#openAs("f", path, Open.readWrite | Open.create | Open.truncate),
      ...this.#repeat(this.#chance.below(3), () => this.#append("f")),
      this.#closeCall("f"),
    ];
  }

  #saves(): Call[] {
    const path = this.#anyFile() ?? this.#newPath();
    const beside = `${path}~`;
    return [
      this.#openAs("f", beside, Open.readWrite | Open.create | Open.truncate),
      ...this.#repeat(this.#chance.between(1, 3), () => this.#append("f")),
      this.#with("f", "fsync", (fd) => this.#files.fsync(fd, 0)),
      this.#closeCall("f"),
      this.#rename(beside, path, 0),
    ];
  }

  #rename(from: string, to: string, flags: number): Call {
    return this.#do(`rename ${from} ${to} ${flags}`, () =>
      this.#within(from, (fromFd, fromName) =>
        this.#within(to, (toFd, toName) =>
          this.#files.rename(fromFd, fromName, toFd, toName, flags),
        ),
      ),
    );
  }

  #makesFolder(): Call[] {
    const places = this.#directories().filter(({ depth }) => depth < depthMax);
    const place = this.#chance.pick(places);
    const path = join(place.path, `d${this.#chance.below(3)}`);
    const mode = this.#chance.pick([0o755, 0o700, 0o2775]);
    return [
      this.#do(`mkdir ${path}`, () =>
        this.#within(path, (dirFd, name) => this.#files.mkdir(dirFd, name, mode)),
      ),
      ...this.#writesInto(join(path, `n${this.#chance.below(4)}`)),
    ];
  }

  #writesInto(path: string): Call[] {
    return [
      this.#openAs("f", path, Open.readWrite | Open.create),
      this.#append("f"),
      this.#closeCall("f"),
    ];
  }

  #moves(): Call[] {
    const from = this.#any();
    if (from === undefined) return this.#creates();
    return [this.#rename(from, this.#newPath(), this.#chance.is(1, 4) ? Rename.noReplace : 0)];
  }

  #exchanges(): Call[] {
    const [one, other] = [this.#any(), this.#any()];
    if (one === undefined || other === undefined) return this.#creates();
    return [this.#rename(one, other, Rename.exchange)];
  }

  /** The classic: by way of a third name. */
  #swapsFolders(): Call[] {
    const found = this.#entries((inode) => inode.isDirectory);
    if (found.length < 2) return this.#makesFolder();
    const [one, other] = [this.#chance.pick(found), this.#chance.pick(found)];
    return [
      this.#rename(one, "swap", Rename.noReplace),
      this.#rename(other, one, Rename.noReplace),
      this.#rename("swap", other, Rename.noReplace),
    ];
  }

  #links(): Call[] {
    const from = this.#anyFile();
    if (from === undefined) return this.#creates();
    const to = this.#newPath();
    return [
      this.#do(`link ${from} ${to}`, () =>
        this.#within(from, (fromFd, fromName) =>
          this.#within(to, (toFd, toName) => this.#files.link(fromFd, fromName, toFd, toName)),
        ),
      ),
    ];
  }

  #symlinks(): Call[] {
    const path = this.#newPath();
    const target = Buffer.from(`to/${++this.#stamp}`);
    return [
      this.#do(`symlink ${path}`, () =>
        this.#within(path, (dirFd, name) => this.#files.symlink(dirFd, name, target)),
      ),
    ];
  }

  #pipes(): Call[] {
    const path = this.#newPath();
    return [
      this.#do(`mkfifo ${path}`, () =>
        this.#within(path, (dirFd, name) => this.#files.mknod(dirFd, name, Mode.fifo | 0o640, 0)),
      ),
    ];
  }

  #remove(path: string): Call {
    return this.#do(`remove ${path}`, () =>
      this.#within(path, (dirFd, name) => {
        const result = this.#files.unlink(dirFd, name, 0);
        return result === -Errno.EISDIR ? this.#files.unlink(dirFd, name, 1) : result;
      }),
    );
  }

  #removes(): Call[] {
    const path = this.#any();
    return path === undefined ? this.#creates() : [this.#remove(path)];
  }

  /** As `rm -r`: the deepest first. */
  #removesTree(): Call[] {
    const found = this.#entries((inode) => inode.isDirectory);
    if (found.length === 0) return this.#makesFolder();
    const path = this.#chance.pick(found);
    const inside = this.#entries(() => true).filter((own) => own.startsWith(`${path}/`));
    return [...inside.reverse(), path].map((own) => this.#remove(own));
  }

  #modes(): Call[] {
    const path = this.#any();
    if (path === undefined) return this.#creates();
    const mode = this.#chance.pick([0o600, 0o644, 0o755, 0o4755, 0o2750, 0o1777]);
    return [
      this.#do(`chmod ${path}`, () =>
        this.#within(path, (dirFd, name) => this.#files.chmodAt(dirFd, name, mode)),
      ),
    ];
  }

  #owners(): Call[] {
    const path = this.#any();
    if (path === undefined) return this.#creates();
    const [uid, gid] = [this.#chance.below(3), this.#chance.below(3)];
    return [
      this.#do(`chown ${path}`, () =>
        this.#within(path, (dirFd, name) => this.#files.chown(dirFd, name, uid, gid)),
      ),
    ];
  }

  #times(): Call[] {
    const path = this.#any();
    if (path === undefined) return this.#creates();
    const sec = 1_000_000 + ++this.#stamp;
    return [
      this.#do(`utimes ${path}`, () =>
        this.#within(path, (dirFd, name) => this.#files.setTimes(dirFd, name, sec, 5)),
      ),
    ];
  }

  #attributes(): Call[] {
    const path = this.#any();
    if (path === undefined) return this.#creates();
    const attribute = Buffer.from(this.#chance.pick(["user.a", "user.b", "trusted.c"]));
    const value = this.#chance.is(1, 4) ? undefined : this.#bytes(this.#chance.between(1, 40));
    return [
      this.#do(`setxattr ${path}`, () =>
        this.#within(path, (dirFd, name) =>
          value === undefined
            ? this.#files.removeAttribute(dirFd, name, attribute)
            : this.#files.setAttribute(dirFd, name, attribute, value),
        ),
      ),
    ];
  }

  #stores(): Call[] {
    const path = this.#anyFile();
    if (path === undefined) return this.#creates();
    const count = this.#chance.between(1, 6);
    return [
      this.#openAs("m", path, Open.readWrite),
      this.#with("m", "mmap", (fd) => (this.#process.map(fd), 0)),
      ...this.#repeat(count, () => {
        const bytes = this.#bytes(this.#chance.between(1, 32));
        const position = this.#position();
        return this.#with("m", `store ${bytes.length} at ${position} to`, (fd) =>
          this.#process.store(fd, bytes, position),
        );
      }),
      this.#closeCall("m"),
    ];
  }

  #punches(): Call[] {
    const path = this.#anyFile();
    if (path === undefined) return this.#creates();
    const [position, length] = [this.#position(), this.#length()];
    const mode = this.#chance.pick([
      ...[Fallocate.punchHole | Fallocate.keepSize, Fallocate.zeroRange],
      ...[Fallocate.keepSize, 0],
    ]);
    return [
      this.#openAs("f", path, Open.readWrite),
      this.#with("f", `fallocate ${mode} ${position} ${length}`, (fd) =>
        this.#files.fallocate(fd, mode, position, length),
      ),
      this.#closeCall("f"),
    ];
  }

  /** A database with a journal: what the one has and what the other has must fit together. */
  #transacts(): Call[] {
    const [journal, table] = ["journal", "table"];
    const count = this.#chance.between(1, 3);
    return [
      this.#openAs("j", journal, Open.readWrite | Open.create),
      ...this.#repeat(count, () => this.#append("j")),
      this.#openAs("t", table, Open.readWrite | Open.create),
      ...this.#repeat(count, () => this.#write("t")),
      this.#with("j", "truncate", (fd) => this.#files.ftruncate(fd, 0)),
    ];
  }

  /** Writes to one file after each write to another: of other files in turn. */
  #counts(): Call[] {
    const slots = ["1", "2", "3", "4"];
    const write = (slot: string): Call => {
      const bytes = this.#bytes(8);
      return this.#with(slot, `count in ${slot},`, (fd) => this.#files.pwrite(fd, bytes, 0, 8, 0));
    };
    return [
      ...[...slots, "0"].map((slot) =>
        this.#openAs(slot, `c${slot}`, Open.readWrite | Open.create),
      ),
      ...Array.from({ length: 4 }, () => slots.flatMap((slot) => [write(slot), write("0")])).flat(),
    ];
  }

  #hammers(): Call[] {
    const path = this.#anyFile();
    if (path === undefined) return this.#creates();
    const position = this.#position();
    return [
      this.#openAs("h", path, Open.readWrite),
      ...this.#repeat(this.#chance.between(5, 30), () => {
        const bytes = this.#bytes(16);
        return this.#with("h", `hammer at ${position} on`, (fd) =>
          this.#files.pwrite(fd, bytes, 0, bytes.length, position),
        );
      }),
      this.#closeCall("h"),
    ];
  }

  #unnamed(): Call[] {
    const path = this.#newPath();
    const slot = "u";
    return [
      this.#do("open unnamed", () => {
        this.#close(slot);
        const flags = Open.temporary | Open.readWrite;
        const fd = this.#files.openBeneath(this.#rootFd, new Uint8Array(0), flags, 0o640);
        if (fd >= 0) this.#open.set(slot, fd);
        return fd < 0 ? fd : 0;
      }),
      this.#append(slot),
      this.#with(slot, `link as ${path}`, (fd) =>
        this.#within(path, (dirFd, name) => this.#files.link(fd, new Uint8Array(0), dirFd, name)),
      ),
      this.#append(slot),
      this.#closeCall(slot),
    ];
  }

  /** Written to after it has lost its name. */
  #orphans(): Call[] {
    const path = this.#anyFile();
    if (path === undefined) return this.#creates();
    return [
      this.#openAs("o", path, Open.readWrite),
      this.#write("o"),
      this.#remove(path),
      this.#write("o"),
      this.#closeCall("o"),
    ];
  }

  #clones(): Call[] {
    const from = this.#anyFile();
    if (from === undefined) return this.#creates();
    const length = this.#length();
    return [
      this.#openAs("c", from, Open.readWrite),
      this.#openAs("f", this.#newPath(), Open.readWrite | Open.create),
      this.#with("f", `copy ${length} of ${from} to`, (fd) => {
        const fromFd = this.#open.get("c");
        if (fromFd === undefined) return -Errno.EBADF;
        return this.#files.cloneRange(fd, fromFd, 0, length, this.#position());
      }),
      this.#closeCall("f"),
      this.#closeCall("c"),
    ];
  }
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}
