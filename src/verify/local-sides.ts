/** `LocalSides`: source and target of a comparison, both folders of this machine. */
import { type Files, Open, Stat } from "../world/index.ts";
import { ContentComparer } from "./content.ts";
import { DifferenceKind } from "./difference.ts";
import { DirectoryReader, nameBytes } from "./directory-reader.ts";
import { DirectoryStack, type Frame, type StackError } from "./directory-stack.ts";
import { Listing } from "./listing.ts";
import { type Finding, type Look, MetadataComparer } from "./metadata.ts";
import {
  holesFinding,
  isStill,
  lookAt,
  openFailed,
  type Seen,
  type SeenPair,
  type Sides,
  type SidesContext,
  unreadable,
} from "./sides.ts";

export class LocalSides implements Sides {
  readonly targetAheadMs = 0;
  readonly #files: Files;
  readonly #roots: readonly [number, number];
  readonly #context: SidesContext;
  readonly #stack: DirectoryStack;
  readonly #content: ContentComparer;
  readonly #metadata: MetadataComparer;
  readonly #sourceReader: DirectoryReader;
  readonly #targetReader: DirectoryReader;

  constructor(files: Files, roots: readonly [number, number], context: SidesContext) {
    this.#files = files;
    this.#roots = roots;
    this.#context = context;
    this.#stack = new DirectoryStack(files, context.crosses);
    this.#content = new ContentComparer(files);
    this.#metadata = new MetadataComparer(files);
    this.#sourceReader = new DirectoryReader(files);
    this.#targetReader = new DirectoryReader(files);
  }

  get top(): Frame | undefined {
    return this.#stack.top;
  }

  enterRoots(): StackError | undefined {
    return this.#stack.enterRoots(...this.#roots);
  }

  enter(name: string): StackError | undefined {
    return this.#stack.enter(name);
  }

  leave(): StackError | undefined {
    return this.#stack.leave();
  }

  closeAll(): void {
    this.#stack.closeAll();
  }

  pathOf(name: string): Uint8Array {
    return this.#stack.pathOf(name);
  }

  async *names(): AsyncGenerator<SeenPair, StackError | undefined, undefined> {
    const frame = this.#stack.top;
    if (frame === undefined) return undefined;
    const targets = new Listing();
    const below = this.#targetReader;
    below.start(frame.target);
    while (below.next()) {
      targets.add(below.name, below.stat);
      if (await this.#context.pause(0)) return undefined;
    }
    if (below.errno < 0) return { side: "target", errno: below.errno };
    const reader = this.#sourceReader;
    reader.start(frame.source);
    while (reader.next()) {
      const { name, stat } = reader;
      yield { name, source: stat, target: targets.take(name) ?? "absent" };
    }
    if (reader.errno < 0) return { side: "source", errno: reader.errno };
    for (const name of targets.names()) {
      yield { name, source: "absent", target: targets.take(name) ?? "absent" };
    }
    return undefined;
  }

  look(name: string): [Seen, Seen] {
    const { source, target } = this.#stack.top!;
    const bytes = nameBytes(name);
    return [lookAt(this.#files, source, bytes), lookAt(this.#files, target, bytes)];
  }

  compareLinks(name: string, source: Float64Array, target: Float64Array, out: Finding[]): boolean {
    return this.#metadata.compareLinks(...this.#looks(source, target), nameBytes(name), out);
  }

  compareAttributes(
    name: string,
    source: Float64Array,
    target: Float64Array,
    out: Finding[],
  ): boolean {
    return this.#metadata.compareAttributes(...this.#looks(source, target), nameBytes(name), out);
  }

  #looks(source: Float64Array, target: Float64Array): [Look, Look] {
    const frame = this.#stack.top!;
    return [
      { directory: frame.source, stat: source },
      { directory: frame.target, stat: target },
    ];
  }

  async examineFile(
    name: string,
    source: Float64Array,
    target: Float64Array,
    out: Finding[],
  ): Promise<boolean> {
    const frame = this.#stack.top!;
    // Without waiting, should a pipe have taken the name.
    const flags = Open.read | Open.noFollow | Open.nonBlock;
    const bytes = nameBytes(name);
    const sourceFd = this.#files.openBeneath(frame.source, bytes, flags, 0);
    if (sourceFd < 0) return openFailed("source", sourceFd, out);
    try {
      const targetFd = this.#files.openBeneath(frame.target, bytes, flags, 0);
      if (targetFd < 0) return openFailed("target", targetFd, out);
      try {
        const same = (): boolean =>
          isStill(this.#files, sourceFd, source) && isStill(this.#files, targetFd, target);
        if (!same()) return true;
        const { content, cursor, pause } = this.#context;
        if (content && !cursor.hasRead(name)) {
          const isCut = await this.#compareBytes(sourceFd, targetFd, source, out);
          if (out.length === 0 && !isCut) cursor.noteRead(name, source[Stat.size] ?? 0);
        }
        if (await this.#content.lostHoles(source, target, sourceFd, pause)) {
          out.push(holesFinding(source, target));
        }
        return !same();
      } finally {
        this.#files.close(targetFd);
      }
    } finally {
      this.#files.close(sourceFd);
    }
  }

  /** True when the comparison is to end. */
  async #compareBytes(
    sourceFd: number,
    targetFd: number,
    source: Float64Array,
    out: Finding[],
  ): Promise<boolean> {
    const size = source[Stat.size] ?? 0;
    const result = await this.#content.compare(sourceFd, targetFd, size, this.#context.pause);
    if (result.outcome === "different") {
      const detail = `first difference at byte ${result.position}`;
      out.push({ kind: DifferenceKind.content, detail });
    } else if (result.outcome === "failed") {
      out.push(unreadable(result.side, result.errno));
    }
    return result.outcome === "cancelled";
  }
}
