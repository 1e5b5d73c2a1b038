/**
 * `OpWriter`: encodes frames into slabs and hands full pieces to `emit`.
 *
 * Ownership: a piece belongs to the receiver of `emit`, who gives it back by `release` when it is
 * done with it, in the order of `emit`; until then the writer does not touch it. Slabs are
 * bump-allocated and used again: a quiet writer always writes to the same few cache lines.
 * Cost: one copy of a name, none of file data (`beginWrite` lends the space to read into).
 */
import { assert } from "../base/index.ts";
import { ctimeBytes, originBytes, putOrigin, timesBytes } from "./origin.ts";
import {
  ackBytes,
  FrameType,
  frameBytesMax,
  mixChecksum,
  nameBytesMax,
  writeBytesMax,
  attributesBytesMax,
} from "./protocol.ts";

const headerBytes = 5;
/** Two full writes, so that little of a slab is wasted in a bulk transfer. */
const slabBytes = 2 * (writeBytesMax + 64) + 4096;
/** Slabs kept for use again; those of a receiver that never gives back are left to collect. */
export const spareSlabCountMax = 16;

export class OpWriter {
  #slab: Uint8Array = new Uint8Array(slabBytes);
  #view: DataView = new DataView(this.#slab.buffer);
  #start = 0;
  #at = 0;
  #count = 0;
  #checksum = 0;
  /** Full slabs, oldest first, with the count of bytes emitted up to their last piece. */
  readonly #full: { slab: Uint8Array; endBytes: number }[] = [];
  readonly #spare: Uint8Array[] = [];
  #emittedBytes = 0;
  #releasedBytes = 0;
  readonly #emit: (bytes: Uint8Array) => void;

  constructor(emit: (bytes: Uint8Array) => void) {
    this.#emit = emit;
  }

  /** Operations since the last commit. */
  get operationCount(): number {
    return this.#count;
  }

  /** Bytes encoded and not yet emitted. */
  get pendingBytes(): number {
    return this.#at - this.#start;
  }

  /** Space of `length` bytes for a WRITE of `node` at `position`; finish with `endWrite`. */
  beginWrite(
    node: number,
    position: number,
    length: number,
  ): { bytes: Uint8Array; offset: number } {
    assert(length <= writeBytesMax, "a write is too long for its frame");
    const at = this.#begin(FrameType.write, 12 + length);
    this.#view.setUint32(at, node, true);
    this.#view.setFloat64(at + 4, position, true);
    this.#lent.bytes = this.#slab;
    this.#lent.offset = at + 12;
    return this.#lent;
  }

  readonly #lent: { bytes: Uint8Array; offset: number } = { bytes: this.#slab, offset: 0 };

  /** Ends the frame that beginWrite began, with the bytes really read; 0 takes it back. */
  endWrite(length: number): void {
    if (length === 0) return;
    this.#end(12 + length);
  }

  create(node: number, mode: number, rdev: number, symlinkTarget: Uint8Array): void {
    const at = this.#begin(FrameType.create, 16 + symlinkTarget.length);
    this.#view.setUint32(at, node, true);
    this.#view.setUint32(at + 4, mode, true);
    this.#view.setFloat64(at + 8, rdev, true);
    this.#slab.set(symlinkTarget, at + 16);
    this.#end(16 + symlinkTarget.length);
  }

  zero(node: number, position: number, length: number): void {
    const at = this.#begin(FrameType.zero, 20);
    this.#view.setUint32(at, node, true);
    this.#view.setFloat64(at + 4, position, true);
    this.#view.setFloat64(at + 12, length, true);
    this.#end(20);
  }

  truncate(node: number, size: number): void {
    const at = this.#begin(FrameType.truncate, 12);
    this.#view.setUint32(at, node, true);
    this.#view.setFloat64(at + 4, size, true);
    this.#end(12);
  }

  /** Bytes that the target has already, copied within it. */
  clone(
    node: number,
    position: number,
    from: { node: number; position: number },
    length: number,
  ): void {
    const at = this.#begin(FrameType.clone, 32);
    this.#view.setUint32(at, node, true);
    this.#view.setUint32(at + 4, from.node, true);
    this.#view.setFloat64(at + 8, position, true);
    this.#view.setFloat64(at + 16, from.position, true);
    this.#view.setFloat64(at + 24, length, true);
    this.#end(32);
  }

  place(node: number, parent: number, name: Uint8Array): void {
    this.#named(FrameType.place, node, parent, name);
  }

  link(node: number, parent: number, name: Uint8Array): void {
    this.#named(FrameType.link, node, parent, name);
  }

  unlink(parent: number, name: Uint8Array): void {
    this.#named(FrameType.unlink, 0, parent, name);
  }

  #named(type: number, node: number, parent: number, name: Uint8Array): void {
    assert(name.length > 0 && name.length <= nameBytesMax, "a name has 1 to 255 bytes");
    const at = this.#begin(type, 8 + name.length);
    this.#view.setUint32(at, node, true);
    this.#view.setUint32(at + 4, parent, true);
    this.#slab.set(name, at + 8);
    this.#end(8 + name.length);
  }

  rename(
    fromParent: number,
    fromName: Uint8Array,
    toParent: number,
    toName: Uint8Array,
    flags: number,
  ): void {
    const length = 10 + fromName.length + toName.length;
    const at = this.#begin(FrameType.rename, length);
    this.#view.setUint32(at, fromParent, true);
    this.#view.setUint32(at + 4, toParent, true);
    this.#slab[at + 8] = flags;
    this.#slab[at + 9] = fromName.length;
    this.#slab.set(fromName, at + 10);
    this.#slab.set(toName, at + 10 + fromName.length);
    this.#end(length);
  }

  /** Has a new file stay when the link ends before it has a name. The key is `isKeepKey`. */
  keep(node: number, key: Uint8Array): void {
    const at = this.#begin(FrameType.keep, 4 + key.length);
    this.#view.setUint32(at, node, true);
    this.#slab.set(key, at + 4);
    this.#end(4 + key.length);
  }

  remove(node: number): void {
    this.#node(FrameType.remove, node);
  }

  detach(node: number): void {
    this.#node(FrameType.detach, node);
  }

  #node(type: number, node: number): void {
    const at = this.#begin(type, 4);
    this.#view.setUint32(at, node, true);
    this.#end(4);
  }

  meta(node: number, mode: number, uid: number, gid: number): void {
    const at = this.#begin(FrameType.meta, 16);
    this.#view.setUint32(at, node, true);
    this.#view.setUint32(at + 4, mode, true);
    this.#view.setUint32(at + 8, uid, true);
    this.#view.setUint32(at + 12, gid, true);
    this.#end(16);
  }

  times(node: number, mtimeSec: number, mtimeNsec: number): void {
    const at = this.#begin(FrameType.times, timesBytes);
    this.#view.setUint32(at, node, true);
    this.#view.setFloat64(at + 4, mtimeSec, true);
    this.#view.setUint32(at + 12, mtimeNsec, true);
    this.#end(timesBytes);
  }

  /** The same with the time of the source's last change; for a peer that remembers origins. */
  timesWithOrigin(
    node: number,
    mtimeSec: number,
    mtimeNsec: number,
    ctimeSec: number,
    ctimeNsec: number,
  ): void {
    const at = this.#begin(FrameType.times, timesBytes + ctimeBytes);
    this.#view.setUint32(at, node, true);
    this.#view.setFloat64(at + 4, mtimeSec, true);
    this.#view.setUint32(at + 12, mtimeNsec, true);
    this.#view.setFloat64(at + 16, ctimeSec, true);
    this.#view.setUint32(at + 24, ctimeNsec, true);
    this.#end(timesBytes + ctimeBytes);
  }

  /** What the source's inode is as the target has it from now on; inode 0 when that is unknown. */
  origin(node: number, ino: number, gen: number, ctimeSec: number, ctimeNsec: number): void {
    const at = this.#begin(FrameType.origin, 4 + originBytes);
    this.#view.setUint32(at, node, true);
    putOrigin(this.#view, at + 4, { ino, gen, ctimeSec, ctimeNsec });
    this.#end(4 + originBytes);
  }

  attributes(node: number, attributes: Uint8Array): void {
    assert(attributes.length <= attributesBytesMax, "the attributes are too long for a frame");
    const at = this.#begin(FrameType.attributes, 4 + attributes.length);
    this.#view.setUint32(at, node, true);
    this.#slab.set(attributes, at + 4);
    this.#end(4 + attributes.length);
  }

  /** Ends the epoch: COMMIT carries how many operations it has and their checksum. Then flushes. */
  commit(epoch: number, flags: number, wallMs: number): void {
    const at = this.#begin(FrameType.commit, 25);
    this.#view.setFloat64(at, epoch, true);
    this.#view.setUint32(at + 8, this.#count, true);
    this.#view.setUint32(at + 12, this.#checksum, true);
    this.#slab[at + 16] = flags;
    this.#view.setFloat64(at + 17, wallMs, true);
    this.#finish(25);
    this.#count = 0;
    this.#checksum = 0;
    this.flush();
  }

  /** Acknowledges epochs up to this one, and all bytes consumed so far. */
  ack(epoch: number, consumedBytes: number): void {
    const at = this.#begin(FrameType.ack, ackBytes);
    this.#view.setFloat64(at, epoch, true);
    this.#view.setFloat64(at + 8, consumedBytes, true);
    this.#finish(ackBytes);
    this.flush();
  }

  /** A frame outside the epoch: control messages. */
  control(type: number, payload: Uint8Array): void {
    this.controlLater(type, payload);
    this.flush();
  }

  /** The same, for one of many: it leaves with the next flush, or when a slab is full. */
  controlLater(type: number, payload: Uint8Array): void {
    const at = this.#begin(type, payload.length);
    this.#slab.set(payload, at);
    this.#finish(payload.length);
  }

  flush(): void {
    if (this.#at === this.#start) return;
    const piece = this.#slab.subarray(this.#start, this.#at);
    this.#start = this.#at;
    this.#emittedBytes += piece.length;
    this.#emit(piece);
  }

  /** Gives the oldest piece that is still out back. */
  release(piece: Uint8Array): void {
    this.#releasedBytes += piece.length;
    while (this.#full.length > 0 && this.#full[0]!.endBytes <= this.#releasedBytes) {
      this.#keep(this.#full.shift()!.slab);
    }
    if (this.#releasedBytes < this.#emittedBytes || this.#at > this.#start) return;
    this.#start = 0;
    this.#at = 0;
  }

  #keep(slab: Uint8Array): void {
    if (slab.length === slabBytes && this.#spare.length < spareSlabCountMax) this.#spare.push(slab);
  }

  #nextSlab(need: number): void {
    this.#full.push({ slab: this.#slab, endBytes: this.#emittedBytes });
    if (this.#full.length > spareSlabCountMax) this.#full.shift();
    const spare = need <= slabBytes ? this.#spare.pop() : undefined;
    this.#slab = spare ?? new Uint8Array(Math.max(slabBytes, need));
    this.#view = new DataView(this.#slab.buffer);
    this.#start = 0;
    this.#at = 0;
  }

  /** Room for a frame; returns where its payload starts. */
  #begin(type: number, payloadBytes: number): number {
    const need = headerBytes + payloadBytes;
    assert(need <= frameBytesMax, "a frame is too long");
    if (this.#at + need > this.#slab.length) {
      this.flush();
      this.#nextSlab(need);
    }
    this.#slab[this.#at + 4] = type;
    return this.#at + headerBytes;
  }

  #end(payloadBytes: number): void {
    const start = this.#at;
    this.#finish(payloadBytes);
    this.#count++;
    this.#checksum = mixChecksum(this.#checksum, this.#slab, start + 4, this.#at);
  }

  #finish(payloadBytes: number): void {
    this.#view.setUint32(this.#at, payloadBytes + 1, true);
    this.#at += headerBytes + payloadBytes;
  }
}
