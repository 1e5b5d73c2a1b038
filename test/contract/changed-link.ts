/** Links that are another's but for something, for tests of sessions. */
import type { Link, LinkHandlers } from "../../src/transport/index.ts";

/** The same link, with these members in the place of its own. */
export function linkWith(link: Link, changes: Partial<Link>): Link {
  return new Proxy(link, {
    get: (_, name) => {
      if (name in changes) return Reflect.get(changes, name) as unknown;
      const value: unknown = Reflect.get(link, name);
      return typeof value === "function" ? (value as () => unknown).bind(link) : value;
    },
  });
}

/** The same link; `deliver` is called with what comes, and the handler for it. */
export function linkDelivering(
  link: Link,
  deliver: (bytes: Uint8Array, onData: LinkHandlers["onData"]) => void,
): Link {
  return linkWith(link, {
    start: (handlers) => {
      const onData = handlers.onData.bind(handlers);
      link.start({ ...handlers, onData: (bytes) => deliver(bytes, onData) });
    },
  });
}

/** What arrives through it waits while it is shut. */
export class Gate {
  isShut = false;
  #waiting: (() => void)[] = [];

  open(): void {
    this.isShut = false;
    for (const deliver of this.#waiting.splice(0)) deliver();
  }

  through(link: Link): Link {
    return linkDelivering(link, (bytes, onData) => {
      const own = this.isShut ? bytes.slice() : bytes;
      if (this.isShut) this.#waiting.push(() => onData(own));
      else onData(bytes);
    });
  }
}
