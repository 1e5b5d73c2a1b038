/**
 * `TargetSession`: one link's worth of being a target. Receives frames, holds each epoch until it
 * is whole, applies it, acknowledges it.
 *
 *   link --(receive)--> epochs --> apply --> acks --> (send) link
 *
 * Until the source marks the first epoch `live` the frames are applied as they come: the target is
 * being made equal and has no consistent past yet. From then on an epoch is applied whole or not at
 * all; what is held of an unfinished one is thrown away when the link ends.
 */
import type { ActorHandle, Channel, Context, Graph, Shortcut } from "../actor/index.ts";
import {
  Applier,
  Backup,
  DigestReader,
  NewFileLane,
  OriginMemory,
  ownerFiles,
} from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import type { Problem } from "../model/index.ts";
import { Tree } from "../tree/index.ts";
import type { Timer } from "../world/index.ts";
import {
  type Commit,
  CommitFlag,
  commitFrameBytes,
  decodeAsk,
  decodeBye,
  decodeCommit,
  decodeEpoch,
  decodeExpand,
  encodeControl,
  firstOperationType,
  FrameReader,
  FrameType,
  OpWriter,
  wholeEpoch,
} from "../wire/index.ts";
import { asFailure, asSyncError, closingError } from "./greeting.ts";
import { ArrivingEpoch } from "./arriving-epoch.ts";
import { Answerer } from "./answerer.ts";
import { EarlyFiles } from "./early-files.ts";
import { EpochJournal } from "./epoch-journal.ts";
import { EpochWork } from "./epoch-work.ts";
import { ExpressTarget } from "./express-target.ts";
import { EpochBackup } from "./epoch-backup.ts";
import { Heartbeat } from "./heartbeat.ts";
import { dropSpareChunks, HeldEpoch, releaseAll } from "./held-epoch.ts";
import { creditBytesMin, lowEpochCountMax, timerEarlyUs, windowBytesMax } from "./limits.ts";
import type { ManifestTeller } from "./manifest-teller.ts";
import { lowLookMs, SpaceFloor } from "./space-floor.ts";
import { problemWord, welcomeWord } from "./target-words.ts";
import { type Holder, TargetHold } from "./target-hold.ts";
import { wireTarget } from "./target-graph.ts";
import { tellerOf } from "./teller-of.ts";
import { noStatus, type TargetSessionOptions, type TargetStatus } from "./target-options.ts";

const idleMs = 1000;

export class TargetSession {
  /** Resolves when the session has ended; undefined without error. */
  readonly done: Promise<SyncError | undefined>;
  readonly graph: Graph;
  readonly #options: TargetSessionOptions;
  readonly #tree: Tree = new Tree();
  readonly #applier: Applier;
  readonly #backup: Backup | undefined;
  /** In front of the applier until the target is live. */
  #lane: NewFileLane | undefined;
  readonly #memory: OriginMemory | undefined;
  readonly #early: EarlyFiles;
  readonly #work: EpochWork;
  readonly #floor: SpaceFloor;
  readonly #hold: TargetHold;
  /** Tells the manifest, from the first step to the source's first operation. */
  #teller: ManifestTeller | undefined;
  #isMirroring = false;
  readonly #reader: FrameReader;
  readonly #writer: OpWriter;
  readonly #epochs: Channel<HeldEpoch>;
  /** Numbers of applied epochs. */
  readonly #acks: Channel<number>;
  readonly #receive: ActorHandle;
  readonly #apply: ActorHandle;
  readonly #send: ActorHandle;
  readonly #quick: Shortcut<Uint8Array>;
  readonly #ready: HeldEpoch[] = [];
  readonly #arriving: ArrivingEpoch;
  #held: HeldEpoch;
  #isStreaming = true;
  #consumed = 0;
  #credited = 0;
  #isPaused = false;
  readonly #heartbeat: Heartbeat = new Heartbeat();
  readonly #answerer: Answerer;
  /** Epochs, and parts of the first, handed over to be applied; and applied. */
  #handedOverCount = 0;
  #appliedCount = 0;
  #isBlocked = false;
  #closed = false;
  #isStopping = false;
  #end: (error: SyncError | undefined) => void = () => {};
  readonly status: TargetStatus = { ...noStatus };

  constructor(options: TargetSessionOptions) {
    const files = options.privileged ? options.files : ownerFiles(options.files);
    this.#options = { ...options, files };
    const { world, link, rootFd, problems, privileged } = options;
    this.done = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#held = new HeldEpoch(options.spool);
    this.#arriving = new ArrivingEpoch(options.consistency ?? "bounded");
    const tree = this.#tree;
    const { journal, lanes, index, backup: place } = options;
    if (place !== undefined) {
      const roomBytes = (): number => this.#floor.roomBytes();
      const mounts = (): readonly string[] => this.#applier.mounts;
      const own = { files, rootFd, tree, problems, place, roomBytes, mounts };
      this.#backup = new Backup({ ...own, clock: world.clock });
    }
    this.#applier = new Applier(files, rootFd, tree, problems, this.#backup);
    if (journal !== undefined) {
      this.#journal = new EpochJournal({ ...journal, files, rootFd, tree, applier: this.#applier });
      this.#isStreaming = !this.#journal.isAtCut;
    }
    if (lanes && this.#isStreaming)
      this.#lane = new NewFileLane({ lanes, applier: this.#applier, tree, rootFd });
    const own = { files, rootFd, tree, applier: this.#applier, world };
    this.#memory = index && new OriginMemory({ ...own, place: index });
    this.#floor = new SpaceFloor({
      ...this.#options,
      clock: world.clock,
      tell: (message) => this.#tellLow(message),
    });
    const backup =
      this.#backup && new EpochBackup(this.#backup, (n) => this.#applier.openToRead(n));
    const goOn = (): void => this.#apply.wakeNow();
    const about = { clock: world.clock, slices: options.slices, status: this.status, goOn };
    this.#work = new EpochWork({ ...about, floor: this.#floor, journal: this.#journal, backup });
    this.#early = new EarlyFiles(this.#applier, journal !== undefined, this.#floor);
    this.#hold = new TargetHold(world.clock, () => this.#apply.wake());
    this.#writer = new OpWriter((piece) => {
      if (!link.send(piece)) this.#isBlocked = true;
      this.#writer.release(piece);
    });
    const { sha256 } = world.hashes;
    this.#answerer = new Answerer(
      files,
      new DigestReader({ files, rootFd, tree: this.#tree, sha256, privileged }),
      (node) => this.#openToRead(node),
      (answer) => this.#writer.control(FrameType.answer, answer),
    );
    this.#reader = new FrameReader((type, bytes, start, end) =>
      this.#onFrame(type, bytes, start, end),
    );

    const wired = wireTarget(world, {
      receive: (context) => this.#stepReceive(context),
      apply: (context) => this.#stepApply(context),
      send: () => this.#stepSend(),
      quick: (bytes) => this.#applyWhole(bytes),
      failed: (cause) => this.#fail(cause),
      marked: () => this.#express?.disarm(),
    });
    this.graph = wired.graph;
    this.#epochs = wired.epochs;
    this.#acks = wired.acks;
    this.#receive = wired.receive;
    this.#apply = wired.apply;
    this.#send = wired.send;
    this.#quick = wired.quick;
  }

  /** Says welcome and begins. `early` are bytes that came behind the hello. */
  start(early: Uint8Array): void {
    const hasOrigins = this.#memory?.isOn === true;
    const word = welcomeWord(this.#options.privileged, hasOrigins);
    this.#writer.control(FrameType.welcome, word);
    this.#express = ExpressTarget.open(this.#options);
    this.graph.start();
    if (early.length > 0) this.onData(early);
  }

  onDrain(): void {
    this.#isBlocked = false;
    this.#send.wakeNow();
    this.#receive.wakeNow();
    if (!this.#answerer.isIdle) this.#apply.wakeNow();
  }

  onClose(error: SyncError | undefined): void {
    this.#finish(error);
  }

  /** Keeps a live target as it is; gives how to let go. Undefined when it cannot. */
  hold(holder: Holder): (() => void) | undefined {
    return this.status.live && !this.#closed ? this.#hold.begin(holder) : undefined;
  }

  /** Bytes that may be written on its filesystem besides what is mirrored. */
  roomBytes(): number {
    return this.#floor.roomBytes();
  }

  /** Ends the session after what is whole has been applied. `isLast`: so does the process. */
  stop(isLast = false): void {
    this.#isStopping = isLast;
    if (this.#closed) this.#drain();
    this.#bye(new SyncError("LINK_LOST", "the target is stopping"));
  }

  /** The same, and the source waits until a person wants it to go on. */
  promote(): void {
    this.#bye(new SyncError("TARGET_PROMOTED", "the target is promoted: no source writes to it"));
  }

  /**
   * Lets the source's user see what went wrong with one path here, or how many more paths had the
   * same. Bounded by the problem log.
   */
  tellProblem(problem: Problem, count?: number): void {
    if (this.#closed) return;
    this.#writer.control(FrameType.problem, problemWord(problem, count));
  }

  onData(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#heartbeat.heard();
    this.#isWritten = this.#express?.received() ?? false;
    if (this.#quick.take(bytes)) return;
    try {
      this.#reader.push(bytes);
      if (this.#isStreaming && !this.#held.isEmpty) this.#handOver();
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#receive.wakeNow();
  }

  /** What is applied from here on makes the target another past state of the source, or nothing. */
  #journal: EpochJournal | undefined;

  /** The shortcut: one whole epoch, while nothing waits, is applied from where it is. */
  #applyWhole(bytes: Uint8Array): boolean {
    if (this.#isStreaming || this.#isBroken || this.#hold.isOn) return false;
    if (!this.#reader.isEmpty || !this.#held.isEmpty) return false;
    const waitingCount = this.#ready.length + this.#epochs.rx.available();
    if (!this.#arriving.isEmpty || waitingCount > 0 || this.#acks.rx.available() > 0) return false;
    try {
      const commit = wholeEpoch(bytes);
      if (commit === undefined || this.#arriving.isPartOfNext(commit)) return false;
      if (!this.#floor.passes(bytes.length)) return false;
      if (this.#journal?.beginWhole(bytes, this.#isWritten) === false) return false;
      this.#applier.isWritten = this.#isWritten;
      decodeEpoch(bytes, this.#applier);
      this.#consumed += bytes.length;
      this.#applied(commit);
    } catch (error) {
      this.#isBroken = true;
      this.#bye(asSyncError(error));
      return true;
    }
    this.#acknowledge();
    if (!this.#idleArmed) this.#apply.wake();
    else this.#express?.foretell(this.#applier, this.#tree, bytes, this.#journal);
    return true;
  }

  #express: ExpressTarget | undefined;
  /** The addon has written the content of the epoch that has just been received. */
  #isWritten = false;

  #onFrame(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (type === FrameType.commit) {
      if (!this.#isMirroring) this.#endManifest();
      this.#onCommit(bytes, start, end);
    } else if (type >= firstOperationType) {
      if (!this.#isMirroring) this.#endManifest();
      this.#onOperation(type, bytes, start, end);
    } else if (type === FrameType.ask) {
      if (this.#isStreaming && !this.#held.isEmpty) this.#handOver();
      this.#answerer.add(decodeAsk(bytes, start, end), this.#handedOverCount);
      this.#consumed += end - start + 5;
      this.#apply.wake();
    } else if (type === FrameType.expand && this.#teller !== undefined) {
      this.#teller.expand(decodeExpand(bytes, start, end));
    } else if (type === FrameType.ping) {
      // Who does not read hears enough when it does.
      if (!this.#isBlocked) this.#writer.control(FrameType.pong, bytes.slice(start, end));
    } else if (type === FrameType.resume) {
      this.resume();
    } else if (type === FrameType.bye) {
      this.#finish(closingError(decodeBye(bytes, start, end)));
    } else if (type !== FrameType.pong) {
      throw new SyncError("PEER_MALFORMED", `frame type ${type} has no place here`);
    }
  }

  #endManifest(): void {
    if (this.#teller?.isScanning !== false) {
      throw new SyncError("PEER_MALFORMED", "operations before the manifest was sent");
    }
    this.#isMirroring = true;
    this.#teller = undefined;
  }

  #onOperation(type: number, bytes: Uint8Array, start: number, end: number): void {
    this.#arriving.add(bytes, start, end);
    if (!this.#isStreaming && this.#early.take(type, bytes, start, end)) {
      this.#consumed += end - start + 5;
    } else {
      this.#held.add(type, bytes, start, end);
      // A few bytes that may copy many: between two of them the link is listened to.
      if (this.#isStreaming && type === FrameType.clone) this.#handOver();
    }
  }

  #onCommit(bytes: Uint8Array, start: number, end: number): void {
    const commit = decodeCommit(bytes, start, end);
    this.#arriving.end(commit);
    if (this.#arriving.isPartOfNext(commit) && !this.#isStreaming) {
      this.#consumed += commitFrameBytes;
      return;
    }
    this.#early.clear();
    this.#held.commit = commit;
    if (commit.flags & CommitFlag.live) this.#isStreaming = false;
    this.#handOver();
  }

  #handOver(): void {
    this.#ready.push(this.#held);
    this.#handedOverCount++;
    this.#held = new HeldEpoch(this.#options.spool);
  }

  #stepReceive(context: Context): void {
    if (!this.#isMirroring) this.#stepManifest(context);
    while (this.#ready.length > 0 && this.#epochs.tx.fits(this.#ready[0]!)) {
      this.#epochs.tx.send(this.#ready.shift()!);
    }
    this.#pauseWhen(this.#ready.length > 0 && !this.#isListeningLow());
    if (this.#owesCredit) this.#send.wake();
    this.#listen(context);
  }

  /** While it is low it goes on listening, for the word of a person; the source sends no more. */
  #isListeningLow(): boolean {
    const isListening = this.#floor.isLow || this.#hold.isOn;
    if (!isListening || this.#ready.length > lowEpochCountMax) return false;
    return this.#ready.reduce((sum, { bytes }) => sum + bytes, 0) <= windowBytesMax;
  }

  #tellLow(message: string): void {
    this.status.halt = message;
    const halt = message === "" ? undefined : new SyncError("TARGET_LOW", message);
    this.#options.onLow?.(halt);
    this.#apply.wake();
    if (this.#closed) return;
    if (this.#options.sourceFeatures.includes("halts")) {
      const code = halt?.code ?? "";
      this.#writer.control(FrameType.halt, encodeControl({ code, message }));
    } else if (halt !== undefined) {
      this.#bye(new SyncError("TARGET_FULL", message));
    }
  }

  /** A person wants it to go on, short of space or not. */
  resume(): void {
    this.#floor.confirm();
    this.#apply.wakeNow();
  }

  #pauseWhen(full: boolean): void {
    if (full === this.#isPaused) return;
    this.#isPaused = full;
    if (full) this.#options.link.pause();
    else this.#options.link.resume();
  }

  #stepManifest(context: Context): void {
    if (this.#isBlocked) return;
    try {
      this.#teller ??= tellerOf(this.#options, {
        tree: this.#tree,
        applier: this.#applier,
        memory: this.#memory,
        backup: this.#backup,
        writer: this.#writer,
      });
      const more = this.#teller.step();
      this.#writer.flush();
      if (more) context.wake();
    } catch (error) {
      this.#bye(asSyncError(error));
    }
  }

  #stepApply(context: Context): void {
    if (this.#isBroken) this.#discard();
    this.#lowTimer?.cancel();
    this.#lowTimer = this.#floor.isStillLow() ? context.after(lowLookMs) : undefined;
    try {
      this.#work.begin();
      while (this.#work.isUnderWay || this.#hasNext()) {
        const epoch = this.#epochs.rx.peek(0);
        if (!this.#work.isUnderWay) {
          if (this.#acks.tx.vacant() === 0 || this.#work.mustWait(epoch)) break;
          if (!this.#work.isBackedUp(epoch)) return context.wake();
        }
        if (!this.#applyEpoch(epoch)) return this.#work.rest();
        // Of a stream without end in sight the source hears as often as its window needs it.
        if (epoch.commit !== undefined || this.#owesCredit) this.#acks.tx.send(this.status.epoch);
        this.#epochs.rx.commit(1);
        if (this.#work.isOver(epoch) && this.#epochs.rx.available() > 0) return this.#work.rest();
      }
    } catch (error) {
      this.#isBroken = true;
      this.#bye(asSyncError(error));
      this.#discard();
      return;
    }
    if (!this.#isBlocked && !this.#answerer.isIdle) this.#answer(context);
    this.#scheduleIdle(context);
  }

  #lowTimer: Timer | undefined;

  #answer(context: Context): void {
    if (this.#answerer.step(this.#appliedCount)) context.wake();
    // Asks are bytes too: when all are answered the source is to know that none is under way.
    if (this.#answerer.isIdle && this.#epochs.rx.available() === 0) this.#acknowledge();
  }

  #openToRead(node: number): number {
    this.#lane?.settle();
    return this.#applier.openToRead(node);
  }

  /** An operation failed: nothing that follows may be applied any more. */
  #isBroken = false;
  /** No epoch is begun any more. */
  #isDropping = false;

  #discard(): void {
    this.#work.abandon();
    releaseAll(this.#epochs.rx, this.#ready);
  }

  /** Between two epochs: whether the next may be begun. */
  #hasNext(): boolean {
    if (this.#isDropping) this.#discard();
    return !this.#hold.stops(this.status) && this.#epochs.rx.available() > 0;
  }

  /** False: there is more of it to do. */
  #applyEpoch({ bytes, commit }: HeldEpoch): boolean {
    const { rx } = this.#epochs;
    const to = this.#lane ?? this.#applier;
    if (!this.#work.step(rx.available(), (index) => rx.peek(index), to)) return false;
    this.#consumed += bytes;
    if (commit !== undefined) this.#consumed += commitFrameBytes;
    this.#appliedCount++;
    this.#applied(commit);
    return true;
  }

  #applied(commit: Commit | undefined): void {
    const { status } = this;
    if (commit !== undefined) this.#settle(commit);
    this.#journal?.applied(commit);
    status.operations = (this.#lane ?? this.#applier).operationCount;
    status.nodes = this.#tree.nodeCount;
    this.#tree.takeFreedIds(); // ids are chosen by the source
    if (commit === undefined) return;
    const { problems } = this.#options;
    if (problems.hasUntold) problems.flush();
    this.#memory?.committed(commit.wallMs);
    status.epoch = commit.epoch;
    status.cutWallMs = commit.wallMs;
    status.isFuzzy = (commit.flags & CommitFlag.fuzzy) !== 0;
    if (status.isFuzzy) status.fuzzyEpochs++;
    if (this.#isWritten) status.epochsAhead++;
    if (commit.flags & CommitFlag.live) {
      status.live = true;
      this.#backup?.goLive();
      this.#options.onLive();
    }
  }

  /** What is acknowledged has been carried out. */
  #settle({ flags }: Commit): void {
    this.#lane?.settle();
    if ((flags & CommitFlag.live) === 0) return;
    this.#lane?.finish();
    this.#lane = undefined;
  }

  #idleAt = 0;
  #idleArmed = false;

  /** Closes descriptors a moment after the last write, so that a copied program can be run. */
  #scheduleIdle(context: Context): void {
    const now = this.#options.world.clock.monotonicUs();
    if (this.#epochs.rx.available() > 0) return;
    if (!this.#idleArmed) {
      this.#idleArmed = true;
      this.#idleAt = now + idleMs * 1000;
      context.after(idleMs);
    } else if (now >= this.#idleAt - timerEarlyUs) {
      this.#idleArmed = false;
      this.#floor.tick();
      this.#lane?.settle();
      this.#applier.closeIdle();
      dropSpareChunks();
    }
  }

  #stepSend(): void {
    const applied = this.#acks.rx.available();
    this.#acks.rx.commit(applied);
    if (applied > 0 || this.#owesCredit) this.#acknowledge();
  }

  get #owesCredit(): boolean {
    return this.#consumed + this.#held.bytes - this.#credited >= creditBytesMin;
  }

  #acknowledge(): void {
    const { status } = this;
    status.heldBytes = this.#held.bytes;
    status.spoolBytes = this.#held.spoolBytes;
    status.journalBytes = this.#journal?.bytes ?? 0;
    this.#credited = this.#consumed + this.#held.bytes;
    this.#writer.ack(status.epoch, this.#credited);
  }

  #listen(context: Context): void {
    if (!this.#heartbeat.isDue(context)) return;
    if (this.#isPaused) this.#heartbeat.heard();
    // Who does not read answers no ping.
    if (this.#isPaused && this.#hold.isOn) this.#acknowledge();
    if (!this.#heartbeat.isLost()) return;
    this.#bye(new SyncError("LINK_LOST", "the source has been silent for too long"));
  }

  #bye(error: SyncError): void {
    if (this.#closed) return;
    this.#writer.control(
      FrameType.bye,
      encodeControl({ code: error.code, message: error.message }),
    );
    this.#options.link.close();
    this.#finish(error);
  }

  #fail(cause: unknown): void {
    this.#bye(asFailure(cause, "target", this.#options.world.log));
  }

  #finish(error: SyncError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#express?.close();
    this.#hold.lost();
    // What waits for space is not applied any more.
    if (this.#floor.isLow) this.#isDropping = true;
    this.#apply.wake();
    // Whole epochs that wait are applied first; the unfinished one is not.
    this.#drain();
    void this.graph.stopped.then(async () => {
      this.#discard();
      this.#held.release();
      this.#answerer.close();
      this.#lane?.close();
      this.#applier.close(this.#journal?.isPending === true);
      this.#journal?.close(this.#isStopping);
      this.#backup?.close();
      this.#options.link.close();
      await this.#memory?.close(error === undefined);
      this.#end(error);
    });
  }

  #drain(): void {
    const deadlineMs = this.#work.drainMs(this.#isStopping);
    this.graph.requestShutdown({ deadlineMs, voteEveryMs: 20 });
  }
}
