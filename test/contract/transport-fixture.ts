/**
 * What the transport tests share: the real world with a log that is kept, joined links of every
 * kind, and a recorder of what a link's handlers saw.
 */
import type { SyncError } from "../../src/base/index.ts";
import { dial, listen, linkLimits, listenLimits } from "../../src/transport/index.ts";
import { memoryLinkPair, temporaryIdentity } from "../../src/transport/index.ts";
import type { Identity, Link, Listener, ListenOptions } from "../../src/transport/index.ts";
import type { LinkLimits } from "../../src/transport/index.ts";
import type { NetworkWorld } from "../../src/world/index.ts";
import { nodeWorld } from "../../src/world/node/index.ts";

export const logLines: string[] = [];

export const world: NetworkWorld = nodeWorld({
  write: (level, message, fields) => {
    logLines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
  },
});

const made = new Map<string, Promise<Identity>>();

/** The same identity for the same name within one test process. */
export function identityNamed(name: string): Promise<Identity> {
  let identity = made.get(name);
  if (identity === undefined) {
    identity = temporaryIdentity();
    made.set(name, identity);
  }
  return identity;
}

/** Resolves when `condition` holds; rejects with `what` after `limitMs`. */
export function until(condition: () => boolean, what: string, limitMs = 5_000): Promise<void> {
  return new Promise((resolve, reject) => {
    const endUs = world.clock.monotonicUs() + limitMs * 1_000;
    const look = () => {
      if (condition()) resolve();
      else if (world.clock.monotonicUs() > endUs) reject(new Error(`never: ${what}`));
      else setTimeout(look, 1);
    };
    look();
  });
}

/** Everything that a link told its handlers. */
export class Recorder {
  readonly link: Link;
  readonly chunks: Uint8Array[] = [];
  readonly closes: (SyncError | undefined)[] = [];
  byteCount = 0;
  drains = 0;
  onBytes: (bytes: Uint8Array) => void = () => undefined;

  constructor(link: Link) {
    this.link = link;
  }

  start(): this {
    this.link.start({
      onData: (bytes) => {
        this.chunks.push(new Uint8Array(bytes));
        this.byteCount += bytes.length;
        this.onBytes(bytes);
      },
      onDrain: () => {
        this.drains += 1;
      },
      onClose: (error) => {
        this.closes.push(error);
      },
    });
    return this;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

export interface Pair {
  readonly near: Link;
  readonly far: Link;
  stop(): void;
}

export async function tlsPair(limits: LinkLimits, host = "127.0.0.1"): Promise<Pair> {
  const [a, b] = await Promise.all([identityNamed("a"), identityNamed("b")]);
  let onLink: (link: Link) => void = () => undefined;
  const accepted = new Promise<Link>((resolve) => {
    onLink = resolve;
  });
  const settings = { world, host, port: 0, limits: listenLimits, linkLimits: limits };
  const isTrusted = (id: string) => id === a.id;
  const listener = await listen({ ...settings, identity: b, isTrusted, onLink });
  const { port } = listener;
  const dialling = { world, identity: a, host, port, expectPeerId: b.id, timeoutMs: 5_000, limits };
  const near = await dial(dialling);
  const far = await accepted;
  return {
    near,
    far,
    stop: () => {
      near.destroy();
      far.destroy();
      listener.close();
    },
  };
}

/** The same, seen from the end that accepted. */
export async function tlsPairReversed(limits: LinkLimits): Promise<Pair> {
  const { near, far, stop } = await tlsPair(limits, "::1");
  return { near: far, far: near, stop };
}

export function memoryPair(limits: LinkLimits): Promise<Pair> {
  const [near, far] = memoryLinkPair({ clock: world.clock, limits });
  const stop = () => {
    near.destroy();
    far.destroy();
  };
  return Promise.resolve({ near, far, stop });
}

export interface ServerOptions extends Partial<ListenOptions> {
  readonly identity: Identity;
}

/** A listener that records its links. */
export async function serverOf(
  options: ServerOptions,
): Promise<{ listener: Listener; links: Link[] }> {
  const links: Link[] = [];
  const listener = await listen({
    world,
    host: "127.0.0.1",
    port: 0,
    isTrusted: () => false,
    onLink: (link) => links.push(link),
    limits: listenLimits,
    linkLimits,
    ...options,
  });
  return { listener, links };
}
