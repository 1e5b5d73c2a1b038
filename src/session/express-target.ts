/**
 * `ExpressTarget`: the target's side of the express lane (world/express.ts,
 * docs/adr/0031-express-lane.md).
 *
 * Flow: after a lone write has been applied, `foretell` tells the addon where the next one to that
 * file would go. When it comes, the addon reads it, sees that it is a whole epoch of that kind,
 * writes its content and then calls JavaScript with the bytes, which does all the rest as ever.
 * Invariant: armed only while nothing else is under way; whoever does anything else disarms first.
 */
import type { Applier } from "../apply/index.ts";
import type { Tree } from "../tree/index.ts";
import type { DirectAccess, Link } from "../transport/index.ts";
import { FrameType, u32 } from "../wire/index.ts";
import {
  ExpressFile,
  expressFileCountMax,
  expressFileSlots,
  type ExpressPort,
  ExpressSlot,
  expressSlots,
} from "../world/index.ts";
import type { EpochJournal } from "./epoch-journal.ts";
import { RecentNodes } from "./recent-nodes.ts";

/** What is read at a time: small epochs; of more the rest is read in the ordinary way. */
const readBytes = 16384;

export class ExpressTarget {
  readonly #port: ExpressPort;
  readonly #slots: Float64Array = new Float64Array(expressSlots);
  readonly #recent: RecentNodes = new RecentNodes(expressFileCountMax);
  readonly #handle: unknown;
  /** What the addon has been told. */
  #map: unknown;

  private constructor(port: ExpressPort, direct: DirectAccess) {
    this.#port = port;
    const [slots, bytes] = [this.#slots, new Uint8Array(readBytes)];
    this.#handle = port.expressOpen(direct.poll, undefined, direct.handle, slots, bytes);
    direct.listen({
      bytes,
      get result() {
        return slots[ExpressSlot.result]!;
      },
    });
  }

  /** Undefined where the link is nothing that the addon can use by itself. */
  static open(options: { express?: ExpressPort; link: Link }): ExpressTarget | undefined {
    const { express, link } = options;
    const { direct } = link;
    return express && direct && new ExpressTarget(express, direct);
  }

  /** Nothing is under way, and this epoch was the last: the addon may write the next one. */
  foretell(
    applier: Applier,
    tree: Tree,
    epoch: Uint8Array,
    journal: EpochJournal | undefined,
  ): void {
    if (epoch[4] === FrameType.write) this.#recent.note(u32(epoch, 5));
    const slots = this.#slots;
    const ahead = journal?.ahead;
    if (journal !== undefined && ahead === undefined) return;
    slots[ExpressSlot.journalFd] = ahead?.fd ?? -1;
    if (ahead !== undefined) {
      slots[ExpressSlot.journalAt] = ahead.at;
      slots[ExpressSlot.journalEnd] = ahead.end;
      slots[ExpressSlot.journalGeneration] = ahead.generation;
      slots[ExpressSlot.journalNumber] = ahead.number;
      if (ahead.map !== this.#map) this.#port.expressJournal(this.#handle, ahead.map);
      this.#map = ahead.map;
    }
    let count = 0;
    for (const node of this.#recent.nodes) {
      const fd = tree.isLive(node) ? applier.peekWritable(node) : -1;
      if (fd < 0 || journal?.isDescribed(node) === false) continue;
      const at = ExpressSlot.files + count++ * expressFileSlots;
      slots[at + ExpressFile.fd] = fd;
      slots[at + ExpressFile.node] = node;
    }
    slots[ExpressSlot.fileCount] = count;
    slots[ExpressSlot.armed] = 1;
  }

  disarm(): void {
    this.#slots[ExpressSlot.armed] = 0;
  }

  /** Something was received. Whether it is an epoch whose content the addon has written. */
  received(): boolean {
    this.disarm();
    const isWritten = this.#slots[ExpressSlot.written] === 1;
    this.#slots[ExpressSlot.written] = 0;
    return isWritten;
  }

  close(): void {
    this.disarm();
    this.#port.expressClose(this.#handle);
  }
}
