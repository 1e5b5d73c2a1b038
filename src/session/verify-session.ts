/**
 * `VerifySession`: one link's worth of being compared. Answers the questions of a verifier about
 * the folder that it was granted, and changes nothing there.
 *
 * In: verifyAsk frames, at most `verifyAskCountMax` unanswered. Out: one verifyAnswer for each, in
 * their order; no answer is begun while the link holds more than it should.
 * It looks at the disk, not at what a mirror knows, and so works beside one: in steps of some
 * milliseconds, between which everything else has its turn; while a mirror is served beside it, it
 * rests after each step for as long as the step took. What it reads is held to the rate asked for.
 * A verifier that is silent for `silenceMsMax` is taken for lost (it pings).
 */
import { SyncError } from "../base/index.ts";
import type { Link } from "../transport/index.ts";
import { Pace, TreeReader } from "../verify/index.ts";
import type { RemoteEntry, RemoteTree } from "../verify/index.ts";
import {
  decodeBye,
  decodeVerifyAsk,
  encodeControl,
  encodeVerifyAnswer,
  FrameReader,
  FrameType,
  type Hello,
  OpWriter,
  type VerifyAnswer,
  type VerifyAsk,
  verifyAskCountMax,
  type VerifyEntry,
  VerifyKind,
} from "../wire/index.ts";
import { type Files, Stat, type Timer, type World } from "../world/index.ts";
import { asFailure, byeError, ourSide } from "./greeting.ts";
import { pingMs, silenceMsMax } from "./limits.ts";

/** Work without a turn for others; and while a mirror is served. */
const stepUs = 4_000;
const busyStepUs = 500;
/** So soon is seen, in a rest, that the session is over. */
const restMsLongest = 100;

const nothing = new Uint8Array(0);

export interface VerifySessionOptions {
  readonly world: World;
  readonly files: Files;
  readonly link: Link;
  /** Descriptor of the folder; the caller closes it when the session is done. */
  readonly rootFd: number;
  readonly hello: Hello;
  /** A mirror is served beside it. */
  readonly isBusy: () => boolean;
}

export class VerifySession {
  /** Resolves when the session has ended; undefined without error. */
  readonly done: Promise<SyncError | undefined>;
  /** Answers given. */
  answerCount = 0;
  readonly #options: VerifySessionOptions;
  readonly #reader: FrameReader;
  readonly #writer: OpWriter;
  readonly #tree: RemoteTree;
  readonly #pace: Pace;
  readonly #asks: VerifyAsk[] = [];
  #isAnswering = false;
  #isBlocked = false;
  #isOver = false;
  #silentCount = 0;
  #timer: Timer | undefined;
  #turnUs = 0;
  #end: (error: SyncError | undefined) => void = () => {};
  #error: SyncError | undefined;

  constructor(options: VerifySessionOptions) {
    this.#options = options;
    const { world, files, link, rootFd, hello } = options;
    this.done = new Promise((resolve) => {
      this.#end = resolve;
    });
    const { salt = "", rate = 0 } = hello.verify ?? {};
    this.#pace = new Pace(rate === 0 ? Infinity : rate);
    this.#tree = new TreeReader(files, rootFd, {
      sha256: world.hashes.sha256,
      salt: Buffer.from(salt, "hex"),
      nowUs: () => world.clock.monotonicUs(),
      pause: (bytes) => this.#pause(bytes),
    });
    this.#writer = new OpWriter((piece) => {
      if (!link.send(piece)) this.#isBlocked = true;
      this.#writer.release(piece);
    });
    this.#reader = new FrameReader((type, bytes, start, end) => {
      this.#onFrame(type, bytes, start, end);
    });
  }

  /** Says welcome and begins. `early` are bytes that came behind the hello. */
  start(early: Uint8Array): void {
    const welcome = encodeControl({ ...ourSide(), privileged: false });
    this.#writer.control(FrameType.welcome, welcome);
    this.#listen();
    if (early.length > 0) this.onData(early);
  }

  onData(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#silentCount = 0;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  onDrain(): void {
    this.#isBlocked = false;
    this.#answer();
  }

  onClose(error: SyncError | undefined): void {
    this.#finish(error);
  }

  stop(why = "the target is stopping"): void {
    this.#bye(new SyncError("LINK_LOST", why));
  }

  #onFrame(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (type === FrameType.verifyAsk) {
      if (this.#asks.length >= verifyAskCountMax) {
        throw new SyncError("PEER_MALFORMED", "too many questions at once");
      }
      this.#asks.push(decodeVerifyAsk(bytes, start, end));
      this.#answer();
    } else if (type === FrameType.ping) {
      // A verifier that does not read hears enough when it does.
      if (!this.#isBlocked) this.#writer.control(FrameType.pong, bytes.slice(start, end));
    } else if (type === FrameType.bye) {
      const bye = decodeBye(bytes, start, end);
      this.#finish(bye.code === "" ? undefined : byeError(bye));
    } else {
      throw new SyncError("PEER_MALFORMED", `frame type ${type} has no place here`);
    }
  }

  /** Answers what waits, one after the other, unless that is under way. */
  #answer(): void {
    if (this.#isAnswering) return;
    this.#isAnswering = true;
    void this.#answerAll()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#isAnswering = false;
        if (this.#isOver) this.#end(this.#error);
      });
  }

  async #answerAll(): Promise<void> {
    this.#turnUs = this.#options.world.clock.monotonicUs();
    for (;;) {
      const ask = this.#asks[0];
      if (ask === undefined || this.#isOver || this.#isBlocked) return;
      const answer = encodeVerifyAnswer(await this.#answerTo(ask));
      if (this.#isOver) return;
      this.#asks.shift();
      this.answerCount += 1;
      const isLast = this.#asks.length === 0;
      this.#writer.controlLater(FrameType.verifyAnswer, answer);
      if (isLast || this.#writer.pendingBytes > 65_536) this.#writer.flush();
    }
  }

  async #answerTo(ask: VerifyAsk): Promise<VerifyAnswer> {
    const { id, path } = ask;
    const wallMs = this.#options.world.clock.wallMs();
    const failed = (errno: number): VerifyAnswer => ({ kind: "failed", id, errno: -errno });
    if (ask.kind === VerifyKind.list) {
      const page = await this.#tree.list(path, Buffer.from(ask.after).toString("latin1"));
      if (typeof page === "number") return failed(page);
      const entries = page.entries.map(wireEntry);
      return { kind: "list", id, wallMs, hasMore: page.hasMore, entries };
    }
    if (ask.kind === VerifyKind.look) {
      const entry = await this.#tree.look(path);
      if (typeof entry === "number") return failed(entry);
      return { kind: "look", id, wallMs, entry: wireEntry(entry) };
    }
    const parts = await this.#tree.parts(path, ask.from, ask.partBytes);
    if (typeof parts === "number") return failed(parts);
    const { stat, isUnchanged, runs } = parts;
    const [ino, dev, size] = [stat[Stat.ino]!, stat[Stat.dev]!, stat[Stat.size]!];
    const times = { ctimeSec: stat[Stat.ctimeSec]!, ctimeNsec: stat[Stat.ctimeNsec]! };
    return { kind: "parts", id, parts: { ino, dev, size, ...times, isUnchanged, runs } };
  }

  /** Lets others have their turn, and keeps to the rate. True when the session is over. */
  async #pause(bytes: number): Promise<boolean> {
    const { clock } = this.#options.world;
    const nowUs = clock.monotonicUs();
    const workedUs = nowUs - this.#turnUs;
    const isBusy = this.#options.isBusy();
    let restMs = bytes === 0 ? 0 : this.#pace.waitMs(bytes, nowUs);
    // A timer knows whole milliseconds.
    if (isBusy && workedUs >= busyStepUs) restMs = Math.max(restMs, workedUs / 1000, 1);
    const untilUs = nowUs + restMs * 1000;
    if (restMs >= 1) this.#writer.flush();
    for (let now = nowUs; restMs >= 1 && now < untilUs && !this.#isOver;) {
      const delayMs = Math.min(restMsLongest, (untilUs - now) / 1000);
      await new Promise<void>((resolve) => clock.after(Math.ceil(delayMs), resolve));
      now = clock.monotonicUs();
    }
    if (restMs >= 1 || workedUs >= (isBusy ? busyStepUs : stepUs)) {
      await new Promise<void>((resolve) => clock.defer(resolve));
      this.#turnUs = clock.monotonicUs();
    }
    return this.#isOver;
  }

  #listen(): void {
    this.#timer = this.#options.world.clock.after(pingMs, () => {
      if (this.#isOver) return;
      // It may be this side that does not send on.
      if (this.#isBlocked) this.#silentCount = 0;
      if (++this.#silentCount * pingMs > silenceMsMax) {
        this.#bye(new SyncError("LINK_LOST", "the verifier has been silent for too long"));
      } else {
        this.#listen();
      }
    });
  }

  #fail(cause: unknown): void {
    this.#bye(asFailure(cause, "target", this.#options.world.log));
  }

  #bye({ code, message }: SyncError): void {
    if (this.#isOver) return;
    this.#writer.control(FrameType.bye, encodeControl({ code, message }));
    this.#finish(new SyncError(code, message));
  }

  #finish(error: SyncError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    this.#timer?.cancel();
    this.#asks.length = 0;
    this.#options.link.close();
    // What is being answered still uses the folder.
    if (!this.#isAnswering) this.#end(error);
  }
}

function wireEntry(entry: RemoteEntry): VerifyEntry {
  const { stat } = entry;
  const at = (slot: number): number => (typeof stat === "number" ? 0 : stat[slot]!);
  const { link, attributes } = entry;
  return {
    name: Buffer.from(entry.name, "latin1"),
    errno: typeof stat === "number" ? -stat : 0,
    isForeign: at(Stat.mount) !== 0,
    mode: at(Stat.mode),
    nlink: at(Stat.nlink),
    uid: at(Stat.uid),
    gid: at(Stat.gid),
    rdev: at(Stat.rdev),
    size: at(Stat.size),
    blocks: at(Stat.blocks),
    mtimeSec: at(Stat.mtimeSec),
    mtimeNsec: at(Stat.mtimeNsec),
    ctimeSec: at(Stat.ctimeSec),
    ctimeNsec: at(Stat.ctimeNsec),
    ino: at(Stat.ino),
    dev: at(Stat.dev),
    linkErrno: typeof link === "number" ? -link : 0,
    link: typeof link === "number" ? nothing : link,
    attributesErrno: typeof attributes === "number" ? -attributes : 0,
    attributes: typeof attributes === "number" ? nothing : attributes,
  };
}
