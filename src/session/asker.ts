/**
 * `Asker`: the source's questions about the target's files, and what has come back so far.
 *
 * Bounded twice: by the count of asks that are out, and by the bytes of the signatures that they
 * will bring. Hostile answers end the session (PEER_MALFORMED).
 */
import { assert, SyncError } from "../base/index.ts";
import type { SignaturePort } from "../cut/index.ts";
import { blockBytesOf, type Signature, SignatureReader, signatureBytesOf } from "../delta/index.ts";
import type { Entropy } from "../world/index.ts";
import { type Answer, AnswerStatus, encodeAsk, saltBytes } from "../wire/index.ts";
import { askCountMax, signaturesBytesMax } from "./limits.ts";

interface Asked {
  fileBytes: number;
  salt: Uint8Array;
  reader: SignatureReader;
  bytes: number;
  result: Signature | "waiting" | "refused";
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
    this.#send(encodeAsk({ id, node, blockBytes, fileBytes, salt }));
    return id;
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
  onAnswer({ id, status, part }: Answer): boolean {
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
