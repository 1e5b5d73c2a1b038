/** Threads that overwrite the same pages: native/hot.c. */
import { join } from "node:path";
import { run } from "../processes.ts";
import { program } from "../programs.ts";
import type { Load } from "./load.ts";

export interface Hammer {
  readonly name: string;
  readonly how: "write" | "store";
  readonly threads: number;
  readonly pages: number;
  /** Microseconds that each thread sleeps after each page; 0: it never sleeps. */
  readonly pauseUs: number;
}

export function hammer({ name, how, threads, pages, pauseUs }: Hammer): Load {
  return {
    name,
    unavailable: async () => undefined,
    prepare: async (pair) => {
      const file = join(pair.source, "hot.bin");
      const hot = async (durationMs: number): Promise<number> => {
        const args = [file, how, threads, pages, pauseUs, durationMs].map(String);
        const printed = await run(program("hot"), args, { timeoutMs: durationMs + 30_000 });
        const { written, seconds } = JSON.parse(printed) as { written: number; seconds: number };
        return written / seconds;
      };
      await hot(1);
      return { run: hot, stop: async () => {} };
    },
  };
}
