/**
 * `VerifyLink`: the share of another device as a tree that can be asked, for a comparison.
 *
 * In: a link to a device that serves the share. Out: `RemoteTree`, by questions and answers.
 * Limits: at most `verifyAskCountMax` questions are out, further ones wait for their turn here; an
 * answer is at most a frame. Answers come in the order of the questions; any other is malformed.
 * A target that is silent for `silenceMsMax` is taken for lost (it answers pings while it reads).
 * Errors: whatever ends the link rejects all that is asked, then and later.
 */
import { SyncError } from "../base/index.ts";
import type { Link } from "../transport/index.ts";
import type { RemoteEntry, RemotePage, RemoteParts, RemoteTree } from "../verify/index.ts";
import { remotePathBytesMax } from "../verify/index.ts";
import {
  decodeBye,
  decodeVerifyAnswer,
  decodeWelcome,
  encodeControl,
  encodeVerifyAsk,
  FrameReader,
  FrameType,
  OpWriter,
  saltBytes,
  type VerifyAnswer,
  type VerifyAsk,
  verifyAskCountMax,
  type VerifyEntry,
  VerifyKind,
} from "../wire/index.ts";
import { Errno, Stat, statSlots, type Timer, type World } from "../world/index.ts";
import { byeError, checkProtocol, ourSide, verifyFeature } from "./greeting.ts";
import { greetingMsMax, pingMs, silenceMsMax } from "./limits.ts";

export interface VerifyLinkOptions {
  readonly world: World;
  readonly link: Link;
  readonly share: string;
  readonly subpath: string;
  /** Of this machine, for the other side's messages. */
  readonly device: string;
  /** Bytes that the target reads in a second, at most; 0 for no limit. */
  readonly rate: number;
}

interface Asked {
  readonly ask: VerifyAsk;
  readonly resolve: (answer: VerifyAnswer) => void;
  readonly reject: (error: SyncError) => void;
}

/** Greets the target. Rejects with its refusal, with PEER_VERSION, or with what ended the link. */
export function openVerifyLink(options: VerifyLinkOptions): Promise<VerifyLink> {
  return new Promise((resolve, reject) => {
    const verifying = new VerifyLink(options, () => resolve(verifying), reject);
    verifying.start();
  });
}

export class VerifyLink implements RemoteTree {
  readonly salt: Uint8Array;
  readonly sha256: RemoteTree["sha256"];
  readonly #options: VerifyLinkOptions;
  readonly #onWelcome: () => void;
  readonly #onRefused: (error: SyncError) => void;
  readonly #reader: FrameReader;
  readonly #writer: OpWriter;
  readonly #out: Asked[] = [];
  readonly #waiting: Asked[] = [];
  #aheadMs = 0;
  #nextId = 1;
  #isWelcome = false;
  #error: SyncError | undefined;
  #silentMs = 0;
  #timer: Timer | undefined;
  #isFlushing = false;
  #isInterrupted = false;

  constructor(
    options: VerifyLinkOptions,
    onWelcome: () => void,
    onRefused: (error: SyncError) => void,
  ) {
    this.#options = options;
    this.#onWelcome = onWelcome;
    this.#onRefused = onRefused;
    this.salt = options.world.entropy.bytes(saltBytes);
    this.sha256 = options.world.hashes.sha256;
    this.#writer = new OpWriter((piece) => {
      // What is out is bounded, so there is nothing to hold back.
      options.link.send(piece);
      this.#writer.release(piece);
    });
    this.#reader = new FrameReader((type, bytes, start, end) => {
      this.#onFrame(type, bytes, start, end);
    });
  }

  start(): void {
    const { link, share, subpath, device, rate } = this.#options;
    link.start({
      onData: (bytes) => this.#onData(bytes),
      onDrain: () => {},
      onClose: (error) => {
        this.#fail(error ?? new SyncError("LINK_LOST", "the target has closed the link"));
      },
    });
    const place = { intent: "verify", share, subpath, device };
    const verify = { salt: Buffer.from(this.salt).toString("hex"), rate };
    const hello = { ...ourSide(), ...place, verify };
    this.#writer.control(FrameType.hello, encodeControl(hello));
    this.#listen();
  }

  get aheadMs(): number {
    return this.#aheadMs;
  }

  async list(path: Uint8Array, after: string): Promise<RemotePage | number> {
    const id = this.#nextId++;
    const name = Buffer.from(after, "latin1");
    const answer = await this.#ask({ kind: VerifyKind.list, id, path, after: name });
    if (answer.kind === "failed") return -answer.errno;
    if (answer.kind !== "list") return this.#refuse();
    return { hasMore: answer.hasMore, entries: answer.entries.map(entryOf) };
  }

  async look(path: Uint8Array): Promise<RemoteEntry | number> {
    const answer = await this.#ask({ kind: VerifyKind.look, id: this.#nextId++, path });
    if (answer.kind === "failed") return -answer.errno;
    return answer.kind === "look" ? entryOf(answer.entry) : this.#refuse();
  }

  async parts(path: Uint8Array, from: number, partBytes: number): Promise<RemoteParts | number> {
    const id = this.#nextId++;
    const answer = await this.#ask({ kind: VerifyKind.parts, id, path, from, partBytes });
    if (answer.kind === "failed") return -answer.errno;
    if (answer.kind !== "parts") return this.#refuse();
    const { parts } = answer;
    const stat = new Float64Array(statSlots);
    stat[Stat.ino] = parts.ino;
    stat[Stat.dev] = parts.dev;
    stat[Stat.ctimeSec] = parts.ctimeSec;
    stat[Stat.ctimeNsec] = parts.ctimeNsec;
    stat[Stat.size] = parts.size;
    return { stat, isUnchanged: parts.isUnchanged, runs: parts.runs };
  }

  /** Nobody waits for answers any more: all that is asked, then and later, is EINTR. */
  interrupt(): void {
    this.#isInterrupted = true;
    for (const { ask, resolve } of [...this.#out, ...this.#waiting]) resolve(interrupted(ask));
    this.#waiting.length = 0;
  }

  /** Says that all is said. */
  close(): void {
    if (this.#error !== undefined) return;
    this.#writer.control(FrameType.bye, encodeControl({ code: "", message: "" }));
    this.#fail(new SyncError("LINK_LOST", "the comparison is over"));
  }

  #ask(ask: VerifyAsk): Promise<VerifyAnswer> {
    if (ask.path.length > remotePathBytesMax) {
      return Promise.resolve({ kind: "failed", id: ask.id, errno: Errno.ENAMETOOLONG });
    }
    if (this.#isInterrupted) return Promise.resolve(interrupted(ask));
    return new Promise((resolve, reject) => {
      if (this.#error !== undefined) return reject(this.#error);
      this.#waiting.push({ ask, resolve, reject });
      this.#sendWaiting();
    });
  }

  #sendWaiting(): void {
    while (this.#out.length < verifyAskCountMax) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      // Silence counts from when there is something to say.
      if (this.#out.length === 0) this.#silentMs = 0;
      this.#out.push(next);
      this.#writer.controlLater(FrameType.verifyAsk, encodeVerifyAsk(next.ask));
      this.#flushSoon();
    }
  }

  /** Several questions of one turn leave together. */
  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#options.world.clock.defer(() => {
      this.#isFlushing = false;
      if (this.#error === undefined) this.#writer.flush();
    });
  }

  #onData(bytes: Uint8Array): void {
    if (this.#error !== undefined) return;
    this.#silentMs = 0;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      const { code, message } = error;
      this.#writer.control(FrameType.bye, encodeControl({ code, message }));
      this.#fail(error);
    }
  }

  #onFrame(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#error !== undefined || type === FrameType.pong) return;
    if (type === FrameType.bye) {
      const error = byeError(decodeBye(bytes, start, end));
      // An older program does not even know that one can ask for it.
      const isOld = !this.#isWelcome && error.code === "PEER_MALFORMED";
      return this.#fail(isOld ? noVerify() : error);
    }
    if (type === FrameType.welcome && !this.#isWelcome) {
      const welcome = decodeWelcome(bytes, start, end);
      checkProtocol(welcome.protocol);
      if (!welcome.features.includes(verifyFeature)) throw noVerify();
      this.#isWelcome = true;
      return this.#onWelcome();
    }
    if (type !== FrameType.verifyAnswer || !this.#isWelcome) {
      throw new SyncError("PEER_MALFORMED", `frame type ${type} has no place here`);
    }
    const answer = decodeVerifyAnswer(bytes, start, end);
    const asked = this.#out[0];
    if (asked === undefined || asked.ask.id !== answer.id) {
      throw new SyncError("PEER_MALFORMED", "an answer to nothing that was asked");
    }
    this.#out.shift();
    if (answer.kind === "list" || answer.kind === "look") {
      this.#aheadMs = answer.wallMs - this.#options.world.clock.wallMs();
    }
    asked.resolve(answer);
    this.#sendWaiting();
  }

  #refuse(): never {
    const error = new SyncError("PEER_MALFORMED", "an answer of another kind than the question");
    this.#fail(error);
    throw error;
  }

  #listen(): void {
    this.#timer = this.#options.world.clock.after(pingMs, () => {
      if (this.#error !== undefined) return;
      this.#silentMs += pingMs;
      if (this.#silentMs > (this.#isWelcome ? silenceMsMax : greetingMsMax)) {
        return this.#fail(new SyncError("LINK_LOST", "the target has been silent for too long"));
      }
      if (this.#isWelcome) this.#writer.control(FrameType.ping, new Uint8Array(8));
      this.#listen();
    });
  }

  #fail(error: SyncError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#timer?.cancel();
    this.#options.link.close();
    if (!this.#isWelcome) this.#onRefused(error);
    for (const { reject } of [...this.#out, ...this.#waiting]) reject(error);
    this.#out.length = 0;
    this.#waiting.length = 0;
  }
}

function interrupted({ id }: VerifyAsk): VerifyAnswer {
  return { kind: "failed", id, errno: Errno.EINTR };
}

function noVerify(): SyncError {
  return new SyncError("PEER_VERSION", "the peer's version does not know verify over a link");
}

function entryOf(entry: VerifyEntry): RemoteEntry {
  const name = Buffer.from(entry.name).toString("latin1");
  const attributes = entry.attributesErrno > 0 ? -entry.attributesErrno : entry.attributes;
  const link = entry.linkErrno > 0 ? -entry.linkErrno : entry.link;
  if (entry.errno > 0) return { name, stat: -entry.errno, link, attributes };
  const stat = new Float64Array(statSlots);
  stat[Stat.ino] = entry.ino;
  stat[Stat.mode] = entry.mode;
  stat[Stat.nlink] = entry.nlink;
  stat[Stat.uid] = entry.uid;
  stat[Stat.gid] = entry.gid;
  stat[Stat.rdev] = entry.rdev;
  stat[Stat.size] = entry.size;
  stat[Stat.mtimeSec] = entry.mtimeSec;
  stat[Stat.mtimeNsec] = entry.mtimeNsec;
  stat[Stat.ctimeSec] = entry.ctimeSec;
  stat[Stat.ctimeNsec] = entry.ctimeNsec;
  stat[Stat.blocks] = entry.blocks;
  stat[Stat.dev] = entry.dev;
  stat[Stat.attributeBytes] = typeof attributes === "number" ? -1 : attributes.length;
  stat[Stat.mount] = entry.isForeign ? 1 : 0;
  return { name, stat, link, attributes };
}
