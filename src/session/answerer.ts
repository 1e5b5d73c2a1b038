/**
 * `Answerer`: answers what the source asks about the target's files, in steps, oldest first.
 *
 * In: asks, each with the count of epochs that were sent before it. Out: answer frames. An ask
 * waits until those epochs are applied, so a signature tells what the source believes to be there,
 * which sends nothing about that file until it has the answer; a digest tells what is really there.
 */
import type { DigestReader } from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import { basisBytesMax, blockBytesOf, SignatureWriter } from "../delta/index.ts";
import { type Files, Stat, statSlots } from "../world/index.ts";
import {
  AnswerStatus,
  type Ask,
  AskKind,
  encodeAnswer,
  encodeDigest,
  type DigestAsk,
  type SignatureAsk,
} from "../wire/index.ts";
import { askCountMax } from "./limits.ts";

const nothing: Uint8Array = new Uint8Array(0);
/** A file of this size of which less than half is there is sent whole: its holes cost nothing. */
const sparseBytesMin = 1 << 24;
const sectorBytes = 512;

interface Pending {
  ask: Ask;
  afterEpochCount: number;
  fd: number;
  writer: SignatureWriter | undefined;
}

export class Answerer {
  readonly #files: Files;
  readonly #open: (node: number) => number;
  readonly #tell: (answer: Uint8Array) => void;
  readonly #digests: DigestReader;
  readonly #pending: Pending[] = [];
  readonly #stat: Float64Array = new Float64Array(statSlots);

  /** `open` gives a descriptor for reading, to be closed here, or a negative errno. */
  constructor(
    files: Files,
    digests: DigestReader,
    open: (node: number) => number,
    tell: (answer: Uint8Array) => void,
  ) {
    this.#files = files;
    this.#digests = digests;
    this.#open = open;
    this.#tell = tell;
  }

  get isIdle(): boolean {
    return this.#pending.length === 0;
  }

  add(ask: Ask, afterEpochCount: number): void {
    if (this.#pending.length >= askCountMax) {
      throw new SyncError("PEER_MALFORMED", "too many asks at once");
    }
    const isFit =
      ask.kind === AskKind.digest ||
      (ask.fileBytes <= basisBytesMax && ask.blockBytes === blockBytesOf(ask.fileBytes));
    if (!isFit) {
      throw new SyncError("PEER_MALFORMED", `a signature with blocks of ${ask.blockBytes} bytes`);
    }
    this.#pending.push({ ask, afterEpochCount, fd: -1, writer: undefined });
  }

  /** Works on the oldest ask for one part. True when there is more that can be done now. */
  step(appliedEpochCount: number): boolean {
    const first = this.#pending[0];
    if (first === undefined || first.afterEpochCount > appliedEpochCount) return false;
    if (first.ask.kind === AskKind.digest) {
      this.#stepDigest(first, first.ask);
    } else if (first.writer === undefined && !this.#begin(first, first.ask)) {
      this.#end(first, AnswerStatus.refused);
    } else {
      const part = first.writer!.step();
      if (typeof part === "number") this.#end(first, AnswerStatus.refused);
      else if (part === undefined) this.#end(first, AnswerStatus.end);
      else this.#tell(encodeAnswer(first.ask.id, AnswerStatus.part, part));
    }
    const next = this.#pending[0];
    return next !== undefined && next.afterEpochCount <= appliedEpochCount;
  }

  #stepDigest(pending: Pending, ask: DigestAsk): void {
    const digest = this.#digests.step(ask);
    if (digest === "more") return;
    if (digest === "refused") this.#end(pending, AnswerStatus.refused);
    else this.#end(pending, AnswerStatus.end, encodeDigest(digest));
  }

  #begin(pending: Pending, ask: SignatureAsk): boolean {
    pending.fd = this.#open(ask.node);
    if (pending.fd < 0 || this.#files.fstat(pending.fd, this.#stat) < 0) return false;
    const size = this.#stat[Stat.size]!;
    const isSparse = this.#stat[Stat.blocks]! * sectorBytes < size / 2;
    if (size !== ask.fileBytes || (isSparse && size >= sparseBytesMin)) return false;
    const { blockBytes, fileBytes, salt } = ask;
    pending.writer = new SignatureWriter(this.#files, pending.fd, { blockBytes, fileBytes, salt });
    return true;
  }

  #end(pending: Pending, status: AnswerStatus, part: Uint8Array = nothing): void {
    this.#pending.shift();
    if (pending.fd >= 0) this.#files.close(pending.fd);
    this.#tell(encodeAnswer(pending.ask.id, status, part));
  }

  close(): void {
    this.#digests.close();
    for (const { fd } of this.#pending) if (fd >= 0) this.#files.close(fd);
    this.#pending.length = 0;
  }
}
