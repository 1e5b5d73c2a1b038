/**
 * `Asker`: the source's questions about the target's files, and what has come back so far.
 *
 * Bounded twice: by the count of asks that are out, and by the bytes of the signatures that they
 * will bring. Of digests one is out at a time, and only while no signature is. Hostile answers end
 * the session (PEER_MALFORMED).
 */
import { assert, SyncError } from "../base/index.ts";
import type { SignaturePort } from "../cut/index.ts";
import { blockBytesOf, type Signature, SignatureReader, signatureBytesOf } from "../delta/index.ts";
import type { Entropy } from "../world/index.ts";
import {
  type Answer,
  AnswerStatus,
  AskKind,
  decodeDigest,
  type Digest,
  encodeAsk,
  saltBytes,
} from "../wire/index.ts";
import { askCountMax, signaturesBytesMax } from "./limits.ts";

interface Asked {
  fileBytes: number;
  salt: Uint8Array;
  reader: SignatureReader;
  bytes: number;
  result: Signature | "waiting" | "refused";
}

export interface DigestWanted {
  node: number;
  from: number;
  length: number;
  salt: Uint8Array;
}

export class Asker implements SignaturePort {
  readonly #entropy: Entropy;
  readonly #send: (ask: Uint8Array) => void;
  readonly #asked: Map<number, Asked> = new Map();
  #lastId = 0;
  #bytes = 0;
  /** Asks that the target has not answered yet, those included that nobody waits for any more. */
  #openCount = 0;
  /** The target speaks the feature. */
  isEnabled = false;

  constructor(entropy: Entropy, send: (ask: Uint8Array) => void) {
    this.#entropy = entropy;
    this.#send = send;
  }

  hasRoom(fileBytes: number): boolean {
    if (!this.isEnabled || this.#openCount >= askCountMax) return false;
    return this.#bytes === 0 || this.#bytes + signatureBytesOf(fileBytes) <= signaturesBytesMax;
  }

  isWorth(fileBytes: number): boolean {
    return this.isEnabled && signatureBytesOf(fileBytes) <= signaturesBytesMax;
  }

  ask(node: number, fileBytes: number): number {
    assert(this.hasRoom(fileBytes), "an ask has room");
    this.#lastId++;
    const id = this.#lastId;
    const salt = this.#entropy.bytes(saltBytes);
    const bytes = signatureBytesOf(fileBytes);
    const blockBytes = blockBytesOf(fileBytes);
    const reader = new SignatureReader();
    this.#asked.set(id, { fileBytes, salt, reader, bytes, result: "waiting" });
    this.#bytes += bytes;
    this.#openCount++;
    this.#send(encodeAsk({ kind: AskKind.signature, id, node, blockBytes, fileBytes, salt }));
    return id;
  }

  /** Whether a digest may be asked for now. */
  get isQuiet(): boolean {
    return this.#openCount === 0 && this.#digest === undefined;
  }

  /** `done` gets the answer, or undefined when it is refused. */
  askDigest(wanted: DigestWanted, done: (digest: Digest | undefined) => void): void {
    assert(this.isQuiet, "one digest is asked for at a time");
    this.#lastId++;
    this.#digest = { id: this.#lastId, done };
    this.#send(encodeAsk({ kind: AskKind.digest, id: this.#lastId, ...wanted }));
  }

  #digest: { id: number; done: (digest: Digest | undefined) => void } | undefined;

  #onDigest({ status, part }: Answer, done: (digest: Digest | undefined) => void): void {
    if (status === AnswerStatus.part) throw new SyncError("PEER_MALFORMED", "a digest in parts");
    const digest = status === AnswerStatus.end ? decodeDigest(part) : undefined;
    this.#digest = undefined;
    done(digest);
  }

  result(id: number): Signature | "waiting" | "refused" {
    return this.#asked.get(id)?.result ?? "refused";
  }

  forget(id: number): void {
    const asked = this.#asked.get(id);
    if (asked === undefined) return;
    // What the target still sends is counted until it ends.
    if (asked.result === "waiting") asked.result = "refused";
    else this.#drop(id, asked);
  }

  #drop(id: number, asked: Asked): void {
    this.#asked.delete(id);
    this.#bytes -= asked.bytes;
  }

  /** True when an answer is complete. */
  onAnswer(answer: Answer): boolean {
    const { id, status, part } = answer;
    if (this.#digest?.id === id) {
      this.#onDigest(answer, this.#digest.done);
      return false;
    }
    const asked = this.#asked.get(id);
    if (asked === undefined) throw new SyncError("PEER_MALFORMED", "an answer to no question");
    const isWanted = asked.result === "waiting";
    if (part.length > 0) asked.reader.push(part);
    if (status === AnswerStatus.part) return false;
    this.#openCount--;
    if (!isWanted) this.#drop(id, asked);
    else if (status === AnswerStatus.end) asked.result = signatureOf(asked);
    else asked.result = "refused";
    return isWanted;
  }
}

/** What came, if it is the answer to what was asked. */
function signatureOf({ reader, fileBytes, salt }: Asked): Signature {
  if (!reader.done) throw new SyncError("PEER_MALFORMED", "a signature ended too early");
  const signature = reader.take();
  const fits =
    signature.fileBytes === fileBytes &&
    signature.blockBytes === blockBytesOf(fileBytes) &&
    Buffer.compare(signature.salt, salt) === 0;
  if (!fits) throw new SyncError("PEER_MALFORMED", "a signature of something else than was asked");
  return signature;
}
