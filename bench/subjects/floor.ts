/**
 * The C floor (bench/native/floor): BPF ring, pread, plain TCP, pwrite, in two processes. The least
 * that a synchronizer of this kind can cost on this machine; ratios are formed against it.
 */
import { join } from "node:path";
import { start } from "../processes.ts";
import { buildFloor, program } from "../programs.ts";
import { copyToTarget } from "../workspace.ts";
import { stopAll, type Subject } from "./subject.ts";

const readyMs = 20_000;

export const floor: Subject = {
  name: "floor",
  speed: "fast",
  configuration: "BPF ring -> pread -> plain TCP -> pwrite, C, one file",
  unavailable: async () =>
    process.getuid?.() === 0 ? await buildFloor() : "needs root to load a BPF program",
  start: async ({ pair, file, fileBytes }) => {
    await copyToTarget(pair, file, fileBytes);
    const receiver = start(program("floor-receiver"), [join(pair.target, file)]);
    try {
      const port = await receiver.waitFor(
        (line) => (line.startsWith("port ") ? Number(line.slice(5)) : undefined),
        readyMs,
      );
      const sender = start(program("floor-sender"), [
        pair.source,
        join(pair.source, file),
        `${port}`,
      ]);
      await sender
        .waitFor((line) => (line === "live" ? true : undefined), readyMs)
        .catch(async (error: unknown) => {
          await sender.end();
          throw error;
        });
      return { port, stop: () => stopAll([sender, receiver]) };
    } catch (error) {
      await receiver.end();
      throw error;
    }
  },
};
