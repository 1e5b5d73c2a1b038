/**
 * `ExpressSource`: the source's side of the express lane (world/express.ts,
 * docs/adr/0031-express-lane.md).
 *
 * Flow: after a lone write has been sent, `foretell` tells the addon what the next one to that
 * file would become. When it comes, the addon reads and sends it and then calls JavaScript, which
 * repeats the round with what was read (`tell`, `fstat`, `pread`, `wallMs`) and compares what comes
 * out with what has been sent (`settle`). So all state is changed in one place: the addon only runs
 * ahead.
 * Invariant: armed only while nothing else is under way; whoever does anything else disarms first.
 */
import { assert } from "../base/index.ts";
import type { CaptureBackend, ChangeSink } from "../capture/index.ts";
import { type ForecastParts, forecastLone, type ReadAlready } from "../cut/index.ts";
import type { Tree } from "../tree/index.ts";
import type { DirectAccess, Link } from "../transport/index.ts";
import {
  expressContentAt,
  ExpressFile,
  expressFileCountMax,
  expressFileSlots,
  expressFixedBytes,
  type ExpressPort,
  ExpressSlot,
  expressSlots,
  statSlots,
} from "../world/index.ts";
import { RecentNodes } from "./recent-nodes.ts";

/** Content of one write that goes this way: a block is where holes begin to matter. */
const contentBytesMax = 4095;

export interface ExpressOptions {
  /** Absent: there is no addon that could run ahead. */
  express?: ExpressPort;
  backend: CaptureBackend;
  link: Link;
  /** What is mounted and followed must be looked at with every round: no lane then. */
  followed?: unknown;
}

export class ExpressSource implements ReadAlready {
  /** Epochs that the addon has sent. */
  sentCount = 0;
  /** Whether what the addon has sent last has come out here, too. */
  isSettled = true;
  readonly #port: ExpressPort;
  readonly #link: Link;
  readonly #direct: DirectAccess;
  readonly #handle: unknown;
  readonly #slots: Float64Array = new Float64Array(expressSlots);
  readonly #stat: Float64Array = this.#slots.subarray(
    ExpressSlot.stat,
    ExpressSlot.stat + statSlots,
  );
  readonly #recent: RecentNodes = new RecentNodes(expressFileCountMax);
  readonly #bytes: Uint8Array = new Uint8Array(contentBytesMax + expressFixedBytes);

  private constructor(
    port: ExpressPort,
    handles: { poll: unknown; capture: unknown },
    link: Link,
    direct: DirectAccess,
  ) {
    this.#port = port;
    this.#link = link;
    this.#direct = direct;
    const { poll, capture } = handles;
    this.#handle = port.expressOpen(poll, capture, direct.handle, this.#slots, this.#bytes);
  }

  /** Undefined where the capture or the link is nothing that the addon can use by itself. */
  static open({ express, backend, link, followed }: ExpressOptions): ExpressSource | undefined {
    const { handles } = backend;
    const { direct } = link;
    if (express === undefined || handles === undefined || direct === undefined) return undefined;
    return followed === undefined ? new ExpressSource(express, handles, link, direct) : undefined;
  }

  /**
   * Nothing is under way, and this file was written last: the next event may be dealt with by the
   * addon, if it is what can be foretold.
   */
  foretell(parts: ForecastParts, tree: Tree, lastNode: number): void {
    if (this.#link.bufferedBytes > 0) return;
    this.#recent.note(lastNode);
    const slots = this.#slots;
    let count = 0;
    for (const node of this.#recent.nodes) {
      const forecast = forecastLone(parts, tree, node);
      if (forecast === undefined) continue;
      const at = ExpressSlot.files + count++ * expressFileSlots;
      slots[at + ExpressFile.fd] = forecast.fd;
      slots[at + ExpressFile.node] = node;
      slots[at + ExpressFile.ino] = tree.ino[node]!;
      slots[at + ExpressFile.gen] = tree.gen[node]!;
      slots[at + ExpressFile.mode] = tree.mode[node]!;
      slots[at + ExpressFile.hasOrigin] = forecast.hasOrigin ? 1 : 0;
    }
    slots[ExpressSlot.fileCount] = count;
    slots[ExpressSlot.lengthMax] = contentBytesMax;
    slots[ExpressSlot.epoch] = parts.counters.epochs + 1;
    slots[ExpressSlot.armed] = 1;
  }

  disarm(): void {
    this.#slots[ExpressSlot.armed] = 0;
  }

  /** Tells what the kernel told the addon. */
  tell(sink: ChangeSink): void {
    this.isSettled = false;
    const slots = this.#slots;
    const from = slots[ExpressSlot.position]!;
    const to = from + slots[ExpressSlot.length]!;
    const at = ExpressSlot.files + slots[ExpressSlot.chosen]! * expressFileSlots;
    const [ino, gen] = [slots[at + ExpressFile.ino]!, slots[at + ExpressFile.gen]!];
    sink.written(ino, gen, from, to, slots[ExpressSlot.timeUs]!, false, false);
  }

  fstat(_fd: number, out: Float64Array): number {
    out.set(this.#stat);
    return 0;
  }

  pread(_fd: number, into: Uint8Array, offset: number, length: number, position: number): number {
    const slots = this.#slots;
    const isSame = position === slots[ExpressSlot.position] && length === slots[ExpressSlot.length];
    assert(isSame, "what is read again is what was read");
    into.set(this.#bytes.subarray(expressContentAt, expressContentAt + length), offset);
    return length;
  }

  get wallMs(): number {
    return this.#slots[ExpressSlot.wallMs]!;
  }

  /** The epoch as it comes out here has been sent already. What `Link.send` returns. */
  settle(piece: Uint8Array): boolean {
    const sent = this.#bytes.subarray(0, this.#slots[ExpressSlot.frameBytes]);
    assert(Buffer.compare(piece, sent) === 0, "what ran ahead is what comes after it");
    this.isSettled = true;
    this.sentCount++;
    return this.#direct.wrote(piece, this.#slots[ExpressSlot.result]!);
  }

  close(): void {
    this.disarm();
    this.#port.expressClose(this.#handle);
  }
}
