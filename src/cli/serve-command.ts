/** `lockstep serve`: lets paired devices mirror into named folders of this machine. */
import { ExitCode, SyncError } from "../base/index.ts";
import { MountLog, ProblemLog } from "../model/index.ts";
import {
  type Durability,
  type FreeLimit,
  type GrantedTarget,
  type GrantedVerify,
  serveLink,
  type TargetSession,
  type VerifySession,
} from "../session/index.ts";
import {
  formatAddress,
  type Link,
  linkLimits,
  listen,
  type Listener,
  listenLimits,
  loadIdentity,
  parseAddress,
  TrustStore,
} from "../transport/index.ts";
import { errnoName, Errno, type Files, Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import type { Hello } from "../wire/index.ts";
import { BackupDir, parseBackupShares, parseKeepDays } from "./backup-dirs.ts";
import { type CommandIo, stateDirectory } from "./command-io.ts";
import { publishStatus, type ResumeAnswer } from "./control-socket.ts";
import type { TalkAnswers } from "./control-talk.ts";
import { tellHalt, tellResume } from "./halts.ts";
import { tellMount } from "./mount-notice.ts";
import { checkTarget, openDirectory, openStateDirectory, partsOf } from "./places.ts";
import { finishTargets, promotionAnswers, readBootId } from "./promotion-desk.ts";
import { snapshotAnswers } from "./snapshot-desk.ts";
import { defaultPort } from "./sync-command.ts";
import { areJournalsKept } from "./test-hooks.ts";

export interface ServeOptions {
  /** host:port; every address and the default port when absent. */
  listen: string | undefined;
  /** NAME=PATH */
  shares: string[];
  /** How much of the shares' filesystems is to stay free; nothing when absent. */
  minFree: FreeLimit | undefined;
  /** SHARE=PATH: where what goes is kept, and for how many days. */
  backupDirs: readonly string[];
  backupKeep: string | undefined;
  /** At least; a source may ask for more. */
  durability: Durability;
}

interface Serving {
  peerId: string;
  share: string;
  path: string;
  session: TargetSession;
  problems: ProblemLog;
}

interface Verifying {
  readonly peerId: string;
  readonly share: string;
  readonly path: string;
  readonly session: VerifySession;
}

export async function runServe(options: ServeOptions, io: CommandIo): Promise<ExitCode> {
  const shares = parseShares(options.shares);
  const stateDir = stateDirectory(process.env);
  const files = native();
  files.umask(0);
  const stateFd = openStateDirectory(files, stateDir);
  const identity = await loadIdentity({
    stateDir,
    credentialsDirectory: process.env["CREDENTIALS_DIRECTORY"],
  });
  const trust = TrustStore.open({ stateDir, clock: io.world.clock });
  const backups = openBackups(options, files, io, shares);
  const { minFree, durability } = options;
  const server = new Server(io, files, stateFd, shares, trust, minFree, backups, durability);
  const { host, port } =
    options.listen === undefined ? { host: "::", port: defaultPort } : parseAddress(options.listen);
  const folders = [...shares].map(([name, path]) => ({ path, backup: backups.get(name) }));
  finishTargets({ world: io.world, files, stateFd }, folders);
  const listener = await listen({
    world: io.world,
    identity,
    host,
    port,
    isTrusted: (peerId) => server.isTrusted(peerId),
    onLink: (link) => void server.serve(link),
    limits: listenLimits,
    linkLimits,
  });
  io.event("listening", { id: identity.id, host: listener.host, port: listener.port });
  io.say(`device ${identity.id}`);
  io.say(`listening on ${formatAddress(listener)} for ${[...shares.keys()].join(", ")}`);
  const published = publishStatus(
    stateDir,
    () => server.describe(listener),
    io.world.log,
    () => server.resume(),
    server.talks(),
  );
  await new Promise<void>((resolve) => {
    io.onStop(() => {
      listener.close();
      void server.stop().then(() => resolve());
    });
  });
  published.close();
  files.close(stateFd);
  for (const backup of backups.values()) backup.close();
  io.event("end", { exit: 0 });
  return ExitCode.done;
}

/** Names and real paths of the shares. Throws USAGE or what is wrong with a path. */
function parseShares(texts: readonly string[]): ReadonlyMap<string, string> {
  const shares = new Map<string, string>();
  for (const text of texts) {
    const equals = text.indexOf("=");
    const name = text.slice(0, equals);
    if (equals < 1 || name.includes("/")) {
      throw new SyncError("USAGE", `--share ${text}: expected NAME=PATH`);
    }
    if (shares.has(name)) throw new SyncError("USAGE", `--share ${name} is given twice`);
    shares.set(name, checkTarget(text.slice(equals + 1)));
  }
  if (shares.size === 0) throw new SyncError("USAGE", "serve needs at least one --share NAME=PATH");
  return shares;
}

/** By share. Throws what is wrong with one of them. */
function openBackups(
  { backupDirs, backupKeep }: ServeOptions,
  files: Files,
  io: CommandIo,
  shares: ReadonlyMap<string, string>,
): ReadonlyMap<string, BackupDir> {
  const keepDays = parseKeepDays(backupKeep);
  if (backupKeep !== undefined && backupDirs.length === 0) {
    throw new SyncError("USAGE", "--backup-keep needs --backup-dir");
  }
  const { clock, log } = io.world;
  const opened = new Map<string, BackupDir>();
  for (const [share, path] of parseBackupShares(backupDirs, shares)) {
    const others = [...[...opened.values()].map((backup) => backup.path), ...shares.values()];
    const options = { files, clock, log, keepDays };
    opened.set(share, new BackupDir(options, path, shares.get(share)!, others));
  }
  return opened;
}

class Server {
  readonly #io: CommandIo;
  readonly #files: Files;
  readonly #stateFd: number;
  readonly #shares: ReadonlyMap<string, string>;
  readonly #trust: TrustStore;
  readonly #minFree: FreeLimit | undefined;
  readonly #backups: ReadonlyMap<string, BackupDir>;
  readonly #serving: Set<Serving> = new Set();
  readonly #verifying: Set<Verifying> = new Set();
  readonly #bootId: string = readBootId();
  readonly #durability: Durability;
  readonly #ends: Set<Promise<unknown>> = new Set();

  constructor(
    io: CommandIo,
    files: Files,
    stateFd: number,
    shares: ReadonlyMap<string, string>,
    trust: TrustStore,
    minFree: FreeLimit | undefined,
    backups: ReadonlyMap<string, BackupDir>,
    durability: Durability,
  ) {
    this.#durability = durability;
    this.#backups = backups;
    this.#io = io;
    this.#files = files;
    this.#stateFd = stateFd;
    this.#shares = shares;
    this.#trust = trust;
    this.#minFree = minFree;
  }

  isTrusted(peerId: string): boolean {
    this.#trust.reload();
    return this.#trust.isTrusted(peerId);
  }

  async serve(link: Link): Promise<void> {
    const files = this.#files;
    const ended = serveLink(link, {
      world: this.#io.world,
      files,
      lanes: native(),
      express: native(),
      spool: { files, dirFd: this.#stateFd },
      privileged: process.getuid?.() === 0,
      bootId: this.#bootId,
      durability: this.#durability,
      keepsJournal: areJournalsKept(process.env, this.#io.world.log),
      ...(this.#minFree === undefined ? {} : { minFree: this.#minFree }),
      grant: (hello, peerId) => this.#grant(hello, peerId),
      grantVerify: (hello, peerId) => this.#grantVerify(hello, peerId),
    });
    this.#ends.add(ended);
    const error = await ended;
    this.#ends.delete(ended);
    this.#io.event("disconnected", {
      peer: link.peerId,
      code: error?.code,
      message: error?.message,
    });
    const level = error === undefined || error.kind === "retry" ? "info" : "warn";
    this.#io.world.log.write(
      level,
      `link with ${link.peerId} ended: ${error?.message ?? "by the peer"}`,
    );
  }

  stop(): Promise<unknown> {
    for (const { session } of this.#serving) session.stop(true);
    for (const { session } of this.#verifying) session.stop();
    return Promise.all(this.#ends);
  }

  resume(): ResumeAnswer {
    const halted = [...this.#serving].filter(({ session }) => session.status.halt !== "");
    for (const { session } of halted) session.resume();
    if (halted.length === 0) return { refused: "it is not halted" };
    return { resumed: halted.map(() => "TARGET_LOW") };
  }

  /** `snapshot` and `promote`. */
  talks(): TalkAnswers {
    const place = { world: this.#io.world, files: this.#files, stateFd: this.#stateFd };
    const promotions = promotionAnswers({ ...place, targets: () => [...this.#serving] });
    const snapshots = snapshotAnswers({
      world: this.#io.world,
      files: this.#files,
      targets: () =>
        [...this.#serving].map(({ path, share, session }) => {
          return { path, base: this.#shares.get(share)!, session };
        }),
      apart: () => [
        ...this.#shares.values(),
        ...[...this.#backups.values()].map((backup) => backup.path),
      ],
    });
    return { ...snapshots, ...promotions };
  }

  describe(listener: Listener): Record<string, unknown> {
    return {
      command: "serve",
      listen: formatAddress(listener),
      shares: Object.fromEntries(this.#shares),
      refusals: listener.refusals,
      halts: [...this.#serving].flatMap(({ session, path }) => {
        const { halt } = session.status;
        return halt === "" ? [] : [{ code: "TARGET_LOW", message: `${path}: ${halt}` }];
      }),
      links: [...this.#serving].map(({ peerId, share, path, session, problems }) => ({
        peer: this.#trust.find(peerId)?.name ?? peerId,
        share,
        path,
        problems: problems.count,
        problemKinds: problems.kinds,
        ...session.status,
      })),
      verifies: [...this.#verifying].map(({ peerId, share, path, session }) => ({
        peer: this.#trust.find(peerId)?.name ?? peerId,
        share,
        path,
        answers: session.answerCount,
      })),
    };
  }

  /** Folder of the share that a peer may send into, and the peer. Throws PEER_REFUSED. */
  #granted(share: string, peerId: string | undefined): { root: string; peerId: string } {
    const root = this.#shares.get(share);
    const allowed =
      peerId !== undefined && this.#trust.isGranted(peerId, { share, direction: "send" });
    if (root !== undefined && allowed) return { root, peerId };
    // One answer for both: a peer does not learn which shares exist.
    throw new SyncError("PEER_REFUSED", `no grant to send into a share ${JSON.stringify(share)}`);
  }

  /** Whoever may change all of a share may compare it. */
  #grantVerify(hello: Hello, asker: string | undefined): GrantedVerify {
    const { share, subpath } = hello;
    const { root, peerId } = this.#granted(share, asker);
    // One for each device; an older one may be of a link that is dead and was not noticed to be.
    for (const other of this.#verifying) {
      if (other.peerId === peerId) other.session.stop("this device has begun another verify");
    }
    const path = subpath === "" ? root : `${root}/${subpath}`;
    return {
      rootFd: this.#openBelow(root, subpath),
      isBusy: () => this.#serving.size > 0,
      onSession: (session) => {
        const verifying = { peerId, share, path, session };
        this.#verifying.add(verifying);
        this.#io.event("verifying", { peer: peerId, share });
        void session.done.then(() => this.#verifying.delete(verifying));
      },
    };
  }

  #grant(hello: Hello, asker: string | undefined): GrantedTarget {
    const { share, subpath } = hello;
    const { root, peerId } = this.#granted(share, asker);
    const path = subpath === "" ? root : `${root}/${subpath}`;
    for (const other of this.#serving) {
      if (other.path !== path || other.peerId !== peerId) continue;
      // The same peer is back while its old link has not been noticed to be dead.
      other.session.stop();
      throw new SyncError("LINK_LOST", "an older link of this device is being closed");
    }
    let told: TargetSession | undefined;
    const problems = new ProblemLog(
      (problem) => {
        this.#io.world.log.write("warn", `${problem.operation} ${problem.path}: ${problem.errno}`);
        told?.tellProblem(problem);
      },
      (problem, count) => told?.tellProblem(problem, count),
    );
    const backup = this.#backups.get(share);
    const below = partsOf(subpath).map((part) => Buffer.from(part));
    return {
      rootFd: this.#openRoot(root, subpath),
      ...(backup === undefined
        ? {}
        : { backup: { dirFd: backup.dirFd, path: backup.path, below } }),
      path,
      problems,
      mounts: new MountLog((at) => tellMount(this.#io, "target", `${path}/${at}`)),
      onSession: (session) => {
        told = session;
        this.#onSession({ peerId, share, path, session, problems });
      },
      onLow: this.#onLow({ peer: peerId, share }),
      onLive: () => {
        this.#io.event("live", { peer: peerId, share });
        this.#io.say(`live: ${path} equals its source`);
      },
    };
  }

  #onLow(place: Readonly<Record<string, string>>): (halt: SyncError | undefined) => void {
    let last: SyncError | undefined;
    return (halt) => {
      if (halt !== undefined) tellHalt(this.#io, place, halt);
      else if (last !== undefined) tellResume(this.#io, place, last);
      last = halt;
    };
  }

  #onSession(serving: Serving): void {
    this.#serving.add(serving);
    this.#io.event("connected", { peer: serving.peerId, share: serving.share });
    void serving.session.done.then(() => this.#serving.delete(serving));
  }

  /** The share's folder or one below it that exists. */
  #openBelow(root: string, subpath: string): number {
    const files = this.#files;
    let fd = openDirectory(files, root);
    for (const part of partsOf(subpath)) {
      const next = files.openBeneath(fd, Buffer.from(part), Open.read | Open.directory, 0);
      files.close(fd);
      if (next < 0) throw new SyncError("ROOT_MISSING", `${subpath}: ${errnoName(next)}`);
      fd = next;
    }
    return fd;
  }

  /** The share's folder or one below it, made if need be; never outside of the share. */
  #openRoot(root: string, subpath: string): number {
    const files = this.#files;
    let fd = openDirectory(files, root);
    for (const part of partsOf(subpath)) {
      const name = Buffer.from(part);
      const made = files.mkdir(fd, name, 0o755);
      const next =
        made < 0 && made !== -Errno.EEXIST
          ? made
          : files.openBeneath(fd, name, Open.read | Open.directory, 0);
      files.close(fd);
      if (next < 0) throw new SyncError("ROOT_UNWRITABLE", `${subpath}: ${errnoName(next)}`);
      fd = next;
    }
    return fd;
  }
}
