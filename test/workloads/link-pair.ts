/** Two devices, each with a home of its own, for workloads that go over a real link. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { makeHome, runProgram, Running, scratchFolder } from "../cli/program.ts";

/** A source and a target folder, and two paired devices that mirror the one into the other. */
export interface LinkPair {
  source: string;
  target: string;
  /** `serve` with further arguments. */
  serve: (...args: string[]) => Promise<Running>;
  /** `sync SOURCE URL` with further arguments. */
  sync: (...args: string[]) => Running;
  /** `verify SOURCE URL` with further arguments. */
  verify: (...args: string[]) => Running;
  /** Of the share. */
  url: string;
  /** Homes of the two devices. */
  near: string;
  far: string;
  /** Put before what runs at the target. */
  farPrefix: readonly string[];
}

export interface LinkPlace {
  /** Where the target listens; a free port of loopback when absent. */
  readonly address?: string;
  /** Put before what runs on each device. */
  readonly near?: readonly string[];
  readonly far?: readonly string[];
}

/** On loopback, unless there is another place. */
export async function linkPair(context: TestContext, place?: LinkPlace): Promise<LinkPair> {
  const folder = scratchFolder(context);
  const [near, far] = [makeHome(folder, "near"), makeHome(folder, "far")];
  const [source, target] = [join(folder, "source"), join(folder, "target")];
  mkdirSync(source);
  mkdirSync(target);
  const run = async (home: string, ...args: string[]): Promise<string> => {
    const { exit, stdout, stderr } = await runProgram(context, args, { home });
    assert.equal(exit, 0, stderr);
    return stdout.trim();
  };
  const [nearId, farId] = [await run(near, "id"), await run(far, "id")];
  const address = place?.address ?? `127.0.0.1:${await freePort()}`;
  const farPrefix = place?.far ?? [];
  const nearLaunch = { home: near, prefix: place?.near ?? [] };
  await run(near, "peers", "add", farId, "--name", "far", "--address", address);
  await run(far, "peers", "add", nearId, "--name", "near");
  await run(far, "peers", "grant", nearId, "x", "--send");
  const serve = async (...more: string[]): Promise<Running> => {
    const args = ["serve", "--json", "--listen", address, "--share", `x=${target}`];
    const running = new Running(context, [...args, ...more], {
      home: far,
      prefix: farPrefix,
    });
    await running.said(/\n/);
    return running;
  };
  const url = `lockstep://${farId}@${address}/x`;
  const sync = (...args: string[]): Running =>
    new Running(context, ["sync", "--json", source, url, ...args], nearLaunch);
  const verify = (...args: string[]): Running =>
    new Running(context, ["verify", source, url, ...args], { ...nearLaunch, stdin: "" });
  return { source, target, serve, sync, verify, url, near, far, farPrefix };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}
