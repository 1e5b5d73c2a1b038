/**
 * Worker threads of Node behind the ports of world/threads.ts.
 * A running thread keeps the process alive. Source: Node.js documentation, worker_threads.
 */
import { parentPort, Worker, workerData } from "node:worker_threads";
import type { Thread, ThreadHandlers, Threads, ThreadSelf } from "../threads.ts";

export const nodeThreads: Threads = {
  start(name: string, url: URL, data: unknown, handlers: ThreadHandlers): Thread {
    const worker = new Worker(url, { name, workerData: data });
    let cause: unknown = undefined;
    worker.on("message", (message: unknown) => {
      handlers.onMessage(message);
    });
    worker.on("error", (error) => {
      cause = error;
    });
    worker.on("exit", (code) => {
      handlers.onExit({ code, cause });
    });
    return {
      terminate: () => {
        void worker.terminate();
      },
    };
  },
};

/** The thread that this is called in; for programs started by nodeThreads. */
export const nodeThreadSelf: ThreadSelf = {
  data: workerData as unknown,
  post: (message: unknown) => {
    parentPort?.postMessage(message);
  },
};
