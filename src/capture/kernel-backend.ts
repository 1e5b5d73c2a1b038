/**
 * The `ebpf` and `fanotify` backends: one fanotify mark on the whole filesystem for names and
 * metadata; bytes by eBPF, or by FAN_MODIFY (which knows the file but not the extent).
 *
 * In: the addon's drain. Out: calls of a ChangeSink. Allocates only for names.
 */
import { assert, SyncError } from "../base/index.ts";
import { type Files, type Kernel, PollEvent } from "../world/index.ts";
import type { BackendName, CaptureBackend, CaptureHandles, ChangeSink } from "./backend.ts";
import { type CallsUnderWay, KernelCallsUnderWay } from "./calls-under-way.ts";
import type { HotReading } from "./hot-reading.ts";
import { CaptureMode, RecordFlag, RecordKind, recordSlots, RecordSlot } from "./records.ts";

/** Bytes of the eBPF ring: a power of two. 16 MiB hold some 300,000 writes not yet drained. */
export const ringBytesMax = 16777216;
/** Bytes of records that one drain hands over. */
export const drainBytesMax = 1048576;

const failures: Readonly<Record<string, string>> = {
  NO_BTF: "this kernel has no BTF (/sys/kernel/btf/vmlinux)",
  BPF_OPEN: "the eBPF program cannot be prepared",
  BPF_LOAD: "the kernel refused the eBPF program (it needs CAP_BPF and CAP_PERFMON)",
  BPF_ATTACH: "the kernel refused to attach the eBPF program",
  BPF_MAP: "the ring buffer cannot be mapped",
  FANOTIFY_INIT: "fanotify is refused (it needs CAP_SYS_ADMIN)",
  FANOTIFY_MARK: "fanotify cannot watch this filesystem",
  EPOLL: "the event descriptors cannot be joined",
};

/**
 * Opens the backend on a directory descriptor, which must outlive it. `follows`: filesystems
 * mounted below may be followed. Throws BACKEND_UNAVAILABLE.
 */
export function openKernelBackend(
  kernel: Kernel & Files,
  name: Exclude<BackendName, "inotify">,
  rootFd: number,
  follows: boolean,
): CaptureBackend {
  const bytes = name === "ebpf" ? CaptureMode.bpf : CaptureMode.modify;
  const mode = CaptureMode.names | bytes | (follows ? CaptureMode.follow : 0);
  let handle: unknown;
  try {
    handle = kernel.captureOpen(mode, rootFd, ringBytesMax);
  } catch (error) {
    const { code = "", message } = error as { code?: string; message: string };
    throw new SyncError(
      "BACKEND_UNAVAILABLE",
      `backend ${name}: ${failures[code] ?? code}: ${message}`,
      { cause: error },
    );
  }
  return new KernelBackend(kernel, name, handle);
}

class KernelBackend implements CaptureBackend {
  readonly name: BackendName;
  readonly tellsExtents: boolean;
  readonly #kernel: Kernel;
  readonly #handle: unknown;
  readonly #bytes: Uint8Array = new Uint8Array(drainBytesMax);
  readonly #slots: Float64Array = new Float64Array(this.#bytes.buffer);
  readonly #underWay: KernelCallsUnderWay | undefined;
  #poll: unknown;
  #overflows = 0;
  #droppedAtClose = 0;
  #isClosed = false;

  constructor(kernel: Kernel, name: BackendName, handle: unknown) {
    this.#kernel = kernel;
    this.name = name;
    this.tellsExtents = name === "ebpf";
    this.#handle = handle;
    if (!this.tellsExtents) return;
    this.readHot = (reading, sink) => this.#readHot(reading, sink);
    this.#underWay = new KernelCallsUnderWay(kernel, handle);
  }

  readonly readHot: CaptureBackend["readHot"];

  get underWay(): CallsUnderWay | undefined {
    return this.#isClosed ? undefined : this.#underWay;
  }

  get droppedCount(): number {
    const dropped = this.#isClosed
      ? this.#droppedAtClose
      : this.#kernel.captureDropped(this.#handle);
    return dropped + this.#overflows;
  }

  get handles(): CaptureHandles | undefined {
    const isUsable = this.tellsExtents && this.#poll !== undefined && !this.#isClosed;
    return isUsable ? { poll: this.#poll, capture: this.#handle } : undefined;
  }

  start(readable: (isDealt: boolean) => void): void {
    const ready = (events: number): void => readable(events === PollEvent.dealt);
    this.#poll = this.#kernel.pollStart(this.#kernel.captureFd(this.#handle), ready);
  }

  drain(sink: ChangeSink): boolean {
    if (this.#isClosed) return false;
    if (this.#underWay !== undefined) this.#underWay.nextLook++;
    return this.#tellAll(sink, this.#kernel.captureDrain(this.#handle, this.#bytes));
  }

  #readHot({ slots, data }: HotReading, sink: ChangeSink): boolean {
    if (this.#isClosed) return false;
    if (this.#underWay !== undefined) this.#underWay.nextLook++;
    const result = this.#kernel.captureReadHot(this.#handle, slots, data, this.#bytes);
    return this.#tellAll(sink, result);
  }

  /** True when more waits. */
  #tellAll(sink: ChangeSink, result: number): boolean {
    const end = result >>> 1;
    for (let at = 0; at < end;) {
      const slot = at >>> 3;
      const nameBytes = this.#slots[slot + RecordSlot.nameBytes]!;
      this.#tell(sink, slot, nameBytes);
      at += (recordSlots * 8 + nameBytes + 7) & ~7;
    }
    return (result & 1) === 1;
  }

  follow(number: number, directoryFd: number, device: number): number {
    return this.#kernel.captureFollow(this.#handle, number, directoryFd, device);
  }

  unfollow(number: number): void {
    if (!this.#isClosed) this.#kernel.captureUnfollow(this.#handle, number);
  }

  stillFollows(number: number): boolean {
    return !this.#isClosed && this.#kernel.captureFollows(this.#handle, number) === 1;
  }

  watchDirectory(): number {
    return 0;
  }

  unwatchDirectory(): void {}

  close(): void {
    if (this.#isClosed) return;
    this.#droppedAtClose = this.#kernel.captureDropped(this.#handle);
    this.#isClosed = true;
    if (this.#poll !== undefined) this.#kernel.pollStop(this.#poll);
    this.#kernel.captureClose(this.#handle);
  }

  #tell(sink: ChangeSink, slot: number, nameBytes: number): void {
    const s = this.#slots;
    const ino = s[slot + RecordSlot.ino]!;
    const gen = s[slot + RecordSlot.gen]!;
    const position = s[slot + RecordSlot.position]!;
    const length = s[slot + RecordSlot.length]!;
    const timeUs = s[slot + RecordSlot.timeUs]!;
    const flags = s[slot + RecordSlot.flags]!;
    switch (s[slot + RecordSlot.kind]) {
      case RecordKind.write:
        if (flags & RecordFlag.append) return sink.appended(ino, gen, timeUs);
        return sink.written(
          ino,
          gen,
          position,
          position + length,
          timeUs,
          (flags & RecordFlag.sharedPosition) !== 0,
          (flags & RecordFlag.mapped) !== 0,
        );
      case RecordKind.truncate:
        return sink.truncated(ino, gen, position, timeUs, length === 1);
      case RecordKind.unknown:
      case RecordKind.modified:
        return sink.unknownContent(ino, gen);
      case RecordKind.store:
        return sink.stored(ino, gen, position, position + length);
      case RecordKind.mapped:
        return sink.mapped(ino, gen);
      case RecordKind.attr:
      case RecordKind.attributes:
        return sink.attributes(ino, gen);
      case RecordKind.closed:
        return sink.closed(ino, gen);
      case RecordKind.lost:
        return sink.lost(ino, gen);
      case RecordKind.overflow:
      case RecordKind.rescan:
        this.#overflows++;
        return sink.overflow();
      case RecordKind.name:
        return sink.name(ino, gen, this.#name(slot, nameBytes), position, length, flags);
      case RecordKind.path:
        return this.#tellPath(sink, slot, nameBytes);
      default:
        assert(false, "the addon makes only records of the known kinds");
    }
  }

  #tellPath(sink: ChangeSink, slot: number, nameBytes: number): void {
    const s = this.#slots;
    const detail = s[slot + RecordSlot.position]!;
    const truncatedTo = detail % 256 === RecordKind.truncate ? Math.floor(detail / 256) : Infinity;
    const start = {
      processId: s[slot + RecordSlot.processId]!,
      directoryFd: s[slot + RecordSlot.directoryFd]!,
      ino: s[slot + RecordSlot.ino]!,
      gen: s[slot + RecordSlot.gen]!,
    };
    sink.path(this.#name(slot, nameBytes), start, truncatedTo);
  }

  #name(slot: number, nameBytes: number): Uint8Array {
    const start = (slot + recordSlots) * 8;
    return this.#bytes.slice(start, start + nameBytes);
  }
}
