/**
 * The port to worker threads. Each side of a thread sees its half: the starter a `Thread`, the
 * thread itself a `ThreadSelf`. What passes by message is rare; data goes through shared memory.
 * The real ones are in world/node/; a simulation runs what would be threads in its own.
 */

/** A running thread, as its starter sees it. */
export interface Thread {
  /** Ends it at once, wherever it is; onExit follows. */
  terminate(): void;
}

export interface ThreadHandlers {
  onMessage(message: unknown): void;
  /** The thread has ended, after its last message. `cause`: what it did not catch, if it threw. */
  onExit(exit: { readonly code: number; readonly cause: unknown }): void;
}

export interface Threads {
  /** Starts the program at `url`; `data` reaches it by structured clone, shared memory as such. */
  start(name: string, url: URL, data: unknown, handlers: ThreadHandlers): Thread;
}

export interface ThreadSelf {
  /** What the starter passed as `data`. */
  readonly data: unknown;
  /** Sends a message to the starter; works while this thread blocks. */
  post(message: unknown): void;
}
