/**
 * `SourceSession`: one link's worth of being a source. Greets the target, takes its manifest for
 * the synced tree, then cuts and sends epochs for as long as the link stands.
 *
 *   kernel -> capture --(changes)--> cut --(frames)--> send -> link
 *   link -> receive: credit and acknowledgements open the window for the cut
 *
 * On the quiet path all of it runs in one call from the kernel's event to the socket's write.
 * A session that ends leaves nothing behind but the target as it was at its last whole epoch; the
 * next one compares everything anew.
 */
import type { ActorHandle, Channel, Context, Graph, Shortcut } from "../actor/index.ts";
import { assert, SyncError } from "../base/index.ts";
import { Cutter, type ManifestTaker } from "../cut/index.ts";
import { Tree } from "../tree/index.ts";
import type { Timer } from "../world/index.ts";
import {
  ackBytes,
  type Bye,
  decodeAnswer,
  decodeBye,
  decodeProblem,
  decodeWelcome,
  encodeControl,
  f64,
  FrameReader,
  FrameType,
  OpWriter,
  type Welcome,
} from "../wire/index.ts";
import { Asker } from "./asker.ts";
import { type Barrier, Barriers } from "./barriers.ts";
import { beginManifest } from "./begin-manifest.ts";
import { ExpressSource } from "./express-source.ts";
import {
  asFailure,
  asSyncError,
  byeError,
  checkProtocol,
  deltaFeature,
  keepFeature,
  originsFeature,
  ourSide,
} from "./greeting.ts";
import { treeName } from "./index-place.ts";
import { drainHeard } from "./heard-drain.ts";
import { Heartbeat } from "./heartbeat.ts";
import { drainMsMax, greetingMsMax, timerEarlyUs, windowBytesMax } from "./limits.ts";
import { makeScrub } from "./scrub.ts";
import { listenerOf } from "./shared-listener.ts";
import { type Scrubber, startScrub } from "./scrubber.ts";
import { wireSource } from "./source-graph.ts";
import type { SentEpoch, SourceSessionOptions, SourceStatus } from "./source-options.ts";
import { noEpoch } from "./source-options.ts";

const idleMs = 2000;
/** As many epochs on their way to the target are live work, which a scrub does not add to. */
const quietEpochCount = 16;
const noScrub = makeScrub(0);
/** Full native drains in one step; then the event loop has its turn. */
const drainCountPerStep = 64;

type Phase = "greeting" | "manifest" | "mirroring" | "ended";

export class SourceSession {
  /** Resolves when the session has ended; undefined after an orderly stop. */
  readonly done: Promise<SyncError | undefined>;
  readonly graph: Graph;
  readonly #options: SourceSessionOptions;
  readonly #tree: Tree = new Tree();
  readonly #cutter: Cutter;
  readonly #barriers: Barriers;
  readonly #asker: Asker;
  readonly #reader: FrameReader;
  readonly #control: OpWriter;
  readonly #writer: OpWriter;
  readonly #frames: Channel<Uint8Array>;
  readonly #changes: Channel<number>;
  readonly #capture: ActorHandle;
  readonly #cut: ActorHandle;
  readonly #send: ActorHandle;
  readonly #quick: Shortcut<undefined>;
  /** The cut is being taken inside the shortcut. */
  #isQuick = false;
  readonly #outbox: Uint8Array[] = [];
  readonly #sent: SentEpoch[] = [];
  #phase: Phase = "greeting";
  #sentBytes = 0;
  #consumedBytes = 0;
  #isBlocked = false;
  readonly #heartbeat: Heartbeat = new Heartbeat();
  #startedUs = 0;
  #end: (error: SyncError | undefined) => void = () => {};
  #roundTripUs = 0;
  #lagUs = 0;
  #acked = noEpoch;
  #isLive = false;
  #isStopping = false;

  constructor(options: SourceSessionOptions) {
    this.#options = options;
    const { world, link } = options;
    this.done = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#reader = new FrameReader((type, bytes, start, end) =>
      this.#onFrame(type, bytes, start, end),
    );
    this.#control = new OpWriter((piece) => {
      this.#express?.disarm();
      if (!link.send(piece)) this.#isBlocked = true;
      this.#control.release(piece);
    });
    this.#writer = new OpWriter((piece) => {
      this.#express?.disarm();
      this.#outbox.push(piece);
    });

    const wired = wireSource(world, {
      capture: (context) => this.#stepCapture(context),
      cut: (context) => this.#stepCut(context),
      mayStopCut: () => this.#mayStopCut(),
      send: (context) => this.#stepSend(context),
      quick: () => this.#sendLone(),
      failed: (cause) => this.#fail(cause),
      marked: () => this.#express?.disarm(),
    });
    this.graph = wired.graph;
    this.#frames = wired.frames;
    this.#changes = wired.changes;
    this.#capture = wired.capture;
    this.#cut = wired.cut;
    this.#send = wired.send;
    this.#quick = wired.quick;
    // In order with the operations: the answer is to tell of what was sent before it.
    this.#asker = new Asker(world.entropy, (ask) => this.#writer.control(FrameType.ask, ask));
    this.#cutter = this.#makeCutter();
    this.#barriers = new Barriers({
      cutter: this.#cutter,
      tree: this.#tree,
      clock: world.clock,
      acked: () => this.#acked,
      drain: () => this.#capture.wakeNow(),
      wakeCut: () => this.#cut.wake(),
    });
    const listener = listenerOf(this.#cutter, this.#tree, () => this.#capture.wake());
    options.backend.share?.attach(listener);
  }

  #makeCutter(): Cutter {
    const { world, backend } = this.#options;
    const cutter = new Cutter({
      ...this.#options,
      clock: world.clock,
      tree: this.#tree,
      writer: this.#writer,
      signatures: this.#asker,
      tellsExtents: backend.tellsExtents,
      readHot: backend.readHot,
      drain: () => this.#pullCapture(),
      watchDirectory: (fd, ino, gen) => backend.watchDirectory(fd, ino, gen),
      unwatchDirectory: (ino, gen) => backend.unwatchDirectory(ino, gen),
      hasRoom: () => this.#hasRoom(),
      storesCleaned: (node, from, to) =>
        backend.share?.cleaned(this.#tree.ino[node]!, this.#tree.gen[node]!, from, to),
    });
    cutter.onCommit = (epoch, live, oldestUs, wallMs) => {
      const freedIds = this.#tree.takeFreedIds();
      this.#sent.push({ epoch, oldestUs, wallMs, live, freedIds });
    };
    return cutter;
  }

  #context: Context | undefined;
  #express: ExpressSource | undefined;

  /** Starts the link and says hello. */
  start(): void {
    const { link, share, subpath, device, world } = this.#options;
    this.#startedUs = world.clock.monotonicUs();
    this.graph.start();
    this.#express = ExpressSource.open(this.#options);
    link.start({
      onData: (bytes) => this.#onData(bytes),
      onDrain: () => {
        this.#isBlocked = false;
        this.#send.wakeNow();
      },
      onClose: (error) =>
        this.#finish(error ?? new SyncError("LINK_LOST", "the target closed the link")),
    });
    const origin = treeName(this.#options.files, this.#options.rootFd);
    const wanted = { intent: "send", share, subpath, device, origin, ...this.#options.promises };
    this.#control.control(FrameType.hello, encodeControl({ ...ourSide(), ...wanted }));
  }

  /**
   * The kernel has events: drain, cut and send, all before this returns if nothing is in the way.
   * `isDealt`: the addon has done that, and only what is known of it is to follow.
   */
  kernelReadable(isDealt = false): void {
    this.#cutter.again = isDealt ? this.#express : undefined;
    const isDone = this.#quick.take(undefined);
    this.#cutter.again = undefined;
    if (isDealt) assert(isDone && this.#express?.isSettled === true, "nothing was in the way");
    else if (!isDone) this.#capture.wakeNow();
  }

  /** Nothing comes of it while the target is not live, or when the session ends before. */
  barrier(barrier: Barrier): void {
    if (this.#isLive && this.#phase === "mirroring") this.#barriers.add(barrier);
  }

  /** Sends what has happened so far, then ends. */
  stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#scrubber?.stop();
    if (this.#phase !== "mirroring") return this.#finish(undefined);
    if (this.#targetHalt !== undefined) return this.#finish(this.#targetHalt);
    this.#capture.wakeNow();
    this.graph.requestShutdown({ deadlineMs: drainMsMax, voteEveryMs: 10 });
    void this.graph.stopped.then(() => this.#finish(undefined));
  }

  /** What the target waits for. */
  #targetHalt: SyncError | undefined;

  get targetHalt(): SyncError | undefined {
    return this.#targetHalt;
  }

  /** A person wants the target to go on, short of space or not. It answers when it does. */
  resumeTarget(): void {
    if (this.#phase !== "ended") this.#control.control(FrameType.resume, new Uint8Array(0));
  }

  #onHalt(bye: Bye): void {
    const halt = bye.code === "" ? undefined : new SyncError(byeError(bye).code, bye.message);
    if (halt !== undefined && halt.kind !== "halt") {
      throw new SyncError("PEER_MALFORMED", `${bye.code} is no halt`);
    }
    this.#targetHalt = halt;
    this.#options.onTargetHalt?.(halt);
    this.#cut.wake();
  }

  status(): SourceStatus {
    const { dirty, counters } = this.#cutter;
    return {
      ...counters,
      ...this.#cutter.progress,
      ...(this.#options.scrub ?? noScrub).counters,
      live: this.#isLive,
      sentEpoch: counters.epochs,
      ackedEpoch: this.#acked.epoch,
      bytesSent: this.#options.link.counters.bytesSent,
      bytesReceived: this.#options.link.counters.bytesReceived,
      bytesInFlight: this.#sentBytes - this.#consumedBytes,
      nodes: this.#tree.nodeCount,
      names: this.#tree.nameCount,
      dirtyNames: dirty.nameCount,
      dirtyNodes: dirty.nodeCount,
      captureDropped: this.#options.backend.droppedCount,
      changes: dirty.changeCount,
      roundTripUs: this.#roundTripUs,
      lagUs: this.#lagUs,
      epochsAhead: this.#express?.sentCount ?? 0,
      ackedWallMs: this.#acked.wallMs,
    };
  }

  #hasRoom(): boolean {
    return (
      this.#outbox.length === 0 &&
      this.#targetHalt === undefined &&
      this.#frames.tx.vacant() > 0 &&
      this.#sentBytes - this.#consumedBytes < windowBytesMax
    );
  }

  #stepCapture(context: Context): void {
    if (this.#phase === "ended") return;
    if (this.#drainKernel()) context.wake();
    // Most events of a busy filesystem are not about our folder.
    const hasChanges = !this.#cutter.dirty.isEmpty || this.#cutter.stores.count > 0;
    // Asking a full channel for room would have us called again as soon as there is some.
    if (hasChanges && this.#changes.rx.available() === 0) this.#changes.tx.send(1);
  }

  /** True when there is more than one step should take. */
  #drainKernel(): boolean {
    const more = drainHeard(this.#options, this.#cutter, drainCountPerStep);
    if (more) this.#unfinished();
    else this.#barriers.drained();
    return more;
  }

  /** The kernel has more to tell: what was told so far is no moment of the source. */
  #unfinished(): void {
    this.#cutter.dirty.unfinished();
    this.#options.backend.share?.unfinished();
  }

  /** What this drains decides whether a cut is clean: it must not be skipped in silence. */
  #pullCapture(): void {
    if (this.#cutter.again !== undefined) return;
    if (this.#isQuick) {
      if (this.#drainKernel()) this.#capture.wake();
      return;
    }
    const done = this.#context?.pull(this.#capture) ?? false;
    assert(done || this.#phase === "ended", "capture can be drained while a cut is validated");
  }

  /**
   * The shortcut: one small write while nothing else is under way is drained, cut and sent without
   * a channel between. What is left over, because it became more than that, is the actors' to do.
   */
  #sendLone(): boolean {
    const { link } = this.#options;
    const cutter = this.#cutter;
    const { dirty, stores, again } = cutter;
    const express = this.#express;
    if (this.#phase !== "mirroring" || !cutter.isIdle || !this.#hasRoom()) return false;
    if (this.#isBlocked || this.#frames.rx.available() > 0) return false;
    if (again !== undefined) {
      express!.tell(dirty);
    } else if (drainHeard(this.#options, cutter, 1)) {
      this.#unfinished();
      return false;
    }
    if (stores.count > 0) return false;
    const { loneNode } = dirty;
    // Most events of a busy filesystem are not about our folder.
    if (loneNode === 0) return dirty.isEmpty;
    const { nextDueUs } = cutter.rules;
    this.#isQuick = true;
    const more = this.#cutOn();
    this.#isQuick = false;
    while (this.#outbox.length > 0 && !this.#isBlocked) {
      const piece = this.#outbox.length === 1 ? this.#outbox.pop()! : this.#outbox.shift()!;
      this.#sentBytes += piece.length;
      const isTaken = again === undefined ? link.send(piece) : express!.settle(piece);
      if (!isTaken) this.#isBlocked = true;
      this.#writer.release(piece);
    }
    const isLeft = more || !cutter.isIdle || this.#outbox.length > 0;
    if (isLeft || cutter.rules.nextDueUs !== nextDueUs) this.#cut.wake();
    else express?.foretell(cutter, this.#tree, loneNode);
    return true;
  }

  /** Cuts as far as there is room. True when it only took a breath. */
  #cutOn(): boolean {
    try {
      return this.#cutter.step();
    } catch (error) {
      this.#finish(asSyncError(error));
      return false;
    }
  }

  #stepCut(context: Context): void {
    this.#context = context;
    if (this.#changes.rx.available() > 0) this.#changes.rx.commit(1);
    if (this.#manifest !== undefined) return this.#stepManifest(context, this.#manifest);
    if (this.#phase !== "mirroring") return;
    this.#flushOutbox();
    const now = this.#options.world.clock.monotonicUs();
    const { stores, rules } = this.#cutter;
    this.#cutter.guard.tick(now);
    rules.settle(now);
    if (stores.count > 0) this.#cutter.settleStores(context.stopping ? Infinity : now);
    this.#barriers.step();
    const more = this.#cutOn();
    this.#flushOutbox();
    // What it wrote may have been all that was in its way; if not, #stepSend or #onAck wakes it.
    this.#isCutShort = !more && !this.#cutter.isIdle;
    const isFree = this.#isCutShort && !this.#cutter.isWaiting && this.#hasRoom();
    if (more || isFree) context.wake();
    const dueUs = Math.min(stores.nextDueUs, rules.nextDueUs);
    const isDue = dueUs < Infinity;
    this.#cutAfter(context, isDue ? Math.max(1, (dueUs - now) / 1000) : idleMs, now);
    if (!this.#cutter.isIdle || this.#changedSince()) this.#busyUs = now;
    else if (now - this.#busyUs > idleMs * 1000) this.#cutter.closeIdle();
  }

  /** The cut has work and lacks room in the frames or in the window. */
  #isCutShort = false;
  #busyUs = 0;
  #lastChanges = 0;
  #wakeAtUs = 0;

  #changedSince(): boolean {
    const { changeCount } = this.#cutter.dirty;
    const changed = changeCount !== this.#lastChanges;
    this.#lastChanges = changeCount;
    return changed;
  }

  /** One timer at a time, moved forward only when it must ring earlier; it may ring a bit early. */
  #cutAfter(context: Context, delayMs: number, nowUs: number): void {
    const at = nowUs + delayMs * 1000;
    if (this.#wakeAtUs > nowUs + timerEarlyUs && this.#wakeAtUs <= at) return;
    this.#wakeAtUs = at;
    this.#cutTimer?.cancel();
    this.#cutTimer = context.after(Math.ceil(delayMs));
  }

  #cutTimer: Timer | undefined;

  #flushOutbox(): void {
    let taken = 0;
    for (const piece of this.#outbox) {
      if (!this.#frames.tx.fits(piece)) break;
      this.#frames.tx.send(piece);
      this.#sentBytes += piece.length;
      taken++;
    }
    if (taken > 0) this.#outbox.splice(0, taken);
  }

  #mayStopCut(): true | string {
    if (this.#phase !== "mirroring") return true;
    if (!this.#cutter.isIdle) return "changes are being read";
    if (this.#outbox.length > 0) return "frames are being sent";
    if (this.#sent.length > 0) return "the target has not acknowledged the last epoch";
    return true;
  }

  #stepSend(context: Context): void {
    const { rx } = this.#frames;
    while (!this.#isBlocked && rx.available() > 0) {
      const piece = rx.peek(0);
      if (!this.#options.link.send(piece)) this.#isBlocked = true;
      this.#writer.release(piece);
      rx.commit(1);
    }
    if (this.#isCutShort && !this.#isBlocked) this.#cut.wake();
    this.#listen(context);
  }

  /** Asks a quiet peer, and gives up on a silent one. */
  #listen(context: Context): void {
    if (this.#phase === "ended" || !this.#heartbeat.isDue(context)) return;
    const now = this.#options.world.clock.monotonicUs();
    if (this.#heartbeat.isLost()) {
      this.#finish(new SyncError("LINK_LOST", "the target has been silent for too long"));
    } else if (this.#phase === "greeting") {
      if (now - this.#startedUs > greetingMsMax * 1000) {
        this.#finish(new SyncError("PEER_UNREACHABLE", "the target did not answer the hello"));
      }
    } else {
      const payload = new Uint8Array(8);
      new DataView(payload.buffer).setFloat64(0, now, true);
      this.#control.control(FrameType.ping, payload);
    }
  }

  #onData(bytes: Uint8Array): void {
    if (this.#phase === "ended") return;
    this.#heartbeat.heard();
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  #onFrame(type: number, bytes: Uint8Array, start: number, end: number): void {
    switch (type) {
      case FrameType.ack:
        return this.#onAck(bytes, start, end);
      case FrameType.answer:
        if (this.#asker.onAnswer(decodeAnswer(bytes, start, end))) this.#cut.wakeNow();
        return;
      case FrameType.pong:
        return this.#onPong(bytes, start, end);
      case FrameType.welcome:
        return this.#onWelcome(decodeWelcome(bytes, start, end));
      case FrameType.problem: {
        const { count, ...problem } = decodeProblem(bytes, start, end);
        this.#options.problems.add({ side: "target", ...problem }, count);
        return;
      }
      case FrameType.halt:
        return this.#onHalt(decodeBye(bytes, start, end));
      case FrameType.bye:
        return this.#finish(byeError(decodeBye(bytes, start, end)));
    }
    if (this.#manifest?.take(type, bytes, start, end) === true) return this.#cut.wake();
    throw new SyncError("PEER_MALFORMED", `frame type ${type} has no place here`);
  }

  #onWelcome(welcome: Welcome): void {
    if (this.#phase !== "greeting") throw new SyncError("PEER_MALFORMED", "a second welcome");
    checkProtocol(welcome.protocol);
    this.#asker.isEnabled = welcome.features.includes(deltaFeature);
    const canKeep = this.#asker.isEnabled && welcome.features.includes(keepFeature);
    this.#cutter.kept.isEnabled = canKeep;
    this.#cutter.origins.isEnabled = welcome.features.includes(originsFeature);
    this.#welcome = welcome;
    this.#manifest = beginManifest(this.#options, welcome, this.#cutter, this.#tree, this.#control);
    this.#phase = "manifest";
    this.#cut.wake();
  }

  #welcome: Welcome | undefined;
  #scrubber: Scrubber | undefined;

  #startScrub(): void {
    const parts = { cutter: this.#cutter, tree: this.#tree, asker: this.#asker };
    this.#scrubber = startScrub(this.#options, this.#welcome!, {
      ...parts,
      drain: () => {
        if (this.#drainKernel() || !this.#cutter.dirty.isEmpty) this.#capture.wake();
      },
      isSending: () =>
        this.#outbox.length + this.#frames.rx.available() > 0 ||
        this.#isBlocked ||
        this.#sent.length >= quietEpochCount,
      wakeCut: () => this.#cut.wakeNow(),
      diverged: (error) => this.#finish(error),
      failed: (cause) => this.#fail(cause),
    });
  }

  /** The target tells what it has, from the welcome to the first cut. */
  #manifest: ManifestTaker | undefined;

  #stepManifest(context: Context, manifest: ManifestTaker): void {
    try {
      if (manifest.step()) context.wake();
    } catch (error) {
      return this.#finish(asSyncError(error));
    }
    if (!manifest.isDone) return;
    this.#manifest = undefined;
    this.#phase = "mirroring";
    this.#cutter.begin(manifest);
    context.wake();
  }

  #onAck(bytes: Uint8Array, start: number, end: number): void {
    if (end - start !== ackBytes)
      throw new SyncError("PEER_MALFORMED", "an acknowledgement is too short");
    const epoch = f64(bytes, start);
    this.#consumedBytes = Math.min(this.#sentBytes, f64(bytes, start + 8));
    while (this.#sent.length > 0 && this.#sent[0]!.epoch <= epoch) {
      const sent = this.#sent.shift()!;
      this.#acked = sent;
      this.#tree.giveBackIds(sent.freedIds);
      if (sent.oldestUs !== Infinity) {
        this.#lagUs = this.#options.world.clock.monotonicUs() - sent.oldestUs;
      }
      if (sent.live) {
        this.#isLive = true;
        if (!this.#isStopping) this.#startScrub();
        this.#options.onLive();
      }
    }
    this.#barriers.acked();
    if (this.#isCutShort) this.#cut.wakeNow();
  }

  #onPong(bytes: Uint8Array, start: number, end: number): void {
    if (end - start !== 8) throw new SyncError("PEER_MALFORMED", "a pong is too short");
    this.#roundTripUs = this.#options.world.clock.monotonicUs() - f64(bytes, start);
  }

  #fail(cause: unknown): void {
    if (!(cause instanceof SyncError)) {
      this.#bug = cause instanceof Error ? cause : new Error(String(cause), { cause });
    }
    this.#finish(asFailure(cause, "source", this.#options.world.log));
  }

  #bug: Error | undefined;

  /** The bug that ended the session, if one did. */
  get bug(): Error | undefined {
    return this.#bug;
  }

  #finish(error: SyncError | undefined): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#scrubber?.stop();
    this.#options.backend.share?.detach();
    this.#express?.close();
    const isOrderly = error === undefined || (error.kind === "retry" && this.#bug === undefined);
    const bye = { code: isOrderly ? "" : error.code, message: error?.message ?? "" };
    this.#control.control(FrameType.bye, encodeControl(bye));
    this.#options.link.close();
    this.graph.requestShutdown({ deadlineMs: 0, voteEveryMs: 10 });
    this.#cutter.close();
    this.#end(error);
  }
}
