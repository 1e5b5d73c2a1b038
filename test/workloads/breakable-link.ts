/**
 * `BreakableLink`: two network namespaces of this machine, joined by a pair of virtual interfaces,
 * for tests of what becomes of programs when the network between them fails.
 *
 * Invariants: the names have this process's number; namespaces of processes that are gone are
 * removed before new ones are made, and their own when the test ends. Nothing outside of the two
 * namespaces is changed.
 * Source: man 8 ip-netns, ip-link, ip-neighbour, ss (-K), tc-tbf.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { TestContext } from "node:test";

const namePattern = /^lockstep-(?:near|far)-(\d+)$/;
/** The near end has one of two. */
const nearAddresses = ["10.211.0.1", "10.211.0.3"] as const;
const farAddress = "10.211.0.2";
/** Nobody has it. */
const wrongMac = "02:00:00:00:de:ad";
const device = "veth0";

export type LinkEnd = "near" | "far";

/** Why there can be no such link here; false if there can. */
export function whyNoBreakableLink(): string | false {
  if (process.getuid?.() !== 0) return "needs root, to make network namespaces";
  for (const [command, ...args] of [
    ["ip", "-V"],
    ["nsenter", "-V"],
    ["ss", "-V"],
  ] as const) {
    if (spawnSync(command, args).status !== 0) return `needs ${command}`;
  }
  const name = `lockstep-near-${process.pid}`;
  const made = spawnSync("ip", ["netns", "add", name]);
  if (made.status !== 0) return "network namespaces cannot be made here";
  spawnSync("ip", ["netns", "del", name]);
  return false;
}

export class BreakableLink {
  readonly #macs: Record<LinkEnd, string>;
  #nearAddress: string = nearAddresses[0];

  constructor(context: TestContext) {
    for (const stale of staleNames()) spawnSync("ip", ["netns", "del", stale]);
    context.after(() => {
      for (const end of ["near", "far"] as const) spawnSync("ip", ["netns", "del", nameOf(end)]);
    });
    for (const end of ["near", "far"] as const) run("ip", "netns", "add", nameOf(end));
    const [near, far] = [nameOf("near"), nameOf("far")];
    const peer = ["peer", "name", device, "netns", far];
    run("ip", "link", "add", device, "netns", near, "type", "veth", ...peer);
    for (const end of ["near", "far"] as const) {
      this.#ip(end, "link", "set", "lo", "up");
      const address = end === "near" ? this.#nearAddress : farAddress;
      this.#ip(end, "address", "add", `${address}/24`, "dev", device);
      this.#ip(end, "link", "set", device, "up");
    }
    this.#macs = { near: this.#macOf("near"), far: this.#macOf("far") };
  }

  /** Where a program at the far end can be reached. */
  readonly address: string = `${farAddress}:7420`;

  /** Put before a command so that it runs at this end. */
  prefix(end: LinkEnd): readonly string[] {
    return ["nsenter", `--net=${spaceOf(end)}`];
  }

  /** What goes from an end takes its time. False when the kernel cannot do that. */
  slow(end: LinkEnd, megabits: number): boolean {
    const rate = ["rate", `${megabits}mbit`, "burst", "64kb", "latency", "50ms"];
    const tc = ["tc", "qdisc", "replace", "dev", device, "root", "tbf", ...rate];
    return spawnSync("nsenter", [`--net=${spaceOf(end)}`, ...tc]).status === 0;
  }

  /** The cable is out at one end; the other end sees that there is no carrier. */
  down(end: LinkEnd): void {
    this.#ip(end, "link", "set", device, "down");
  }

  /** Packets from this end vanish, and nobody is told. */
  swallow(end: LinkEnd): void {
    this.#neighbour(end, wrongMac);
  }

  /** Everything is as it was. */
  heal(): void {
    for (const end of ["near", "far"] as const) this.#ip(end, "link", "set", device, "up");
    this.#neighbour("near", this.#macs.far);
    this.#neighbour("far", this.#macs.near);
  }

  /**
   * The near end has another address from now on, like a computer that is carried elsewhere. What
   * the far end sends to the old one vanishes, so its connections seem to stand.
   */
  move(): void {
    for (const end of ["near", "far"] as const) this.swallow(end);
    this.reset("near");
    const old = this.#nearAddress;
    this.#nearAddress = nearAddresses.find((address) => address !== old) ?? old;
    this.#ip("near", "address", "add", `${this.#nearAddress}/24`, "dev", device);
    this.#ip("near", "address", "del", `${old}/24`, "dev", device);
    // Adding was before, so that there was a route all the time; the second address of a net goes
    // with the first.
    this.#ip("near", "address", "replace", `${this.#nearAddress}/24`, "dev", device);
    this.heal();
  }

  /** All connections of this end are aborted; the other end hears of it if packets arrive. */
  reset(end: LinkEnd): void {
    run("nsenter", `--net=${spaceOf(end)}`, "ss", "-K", "-t", "state", "established");
  }

  /** Connections that this end takes for established. */
  connectionCount(end: LinkEnd): number {
    const ss = ["ss", "-H", "-t", "-n", "state", "established"];
    const lines = run("nsenter", `--net=${spaceOf(end)}`, ...ss).split("\n");
    return lines.filter((line) => line !== "").length;
  }

  #neighbour(end: LinkEnd, mac: string): void {
    const other = end === "near" ? farAddress : this.#nearAddress;
    const how = ["lladdr", mac, "dev", device, "nud", "permanent"];
    this.#ip(end, "neighbour", "replace", other, ...how);
  }

  #macOf(end: LinkEnd): string {
    const said = this.#ip(end, "-o", "link", "show", device);
    return /link\/ether (\S+)/.exec(said)?.[1] ?? "";
  }

  #ip(end: LinkEnd, ...args: string[]): string {
    return run("ip", "-n", nameOf(end), ...args);
  }
}

function nameOf(end: LinkEnd): string {
  return `lockstep-${end}-${process.pid}`;
}

function spaceOf(end: LinkEnd): string {
  return `/run/netns/${nameOf(end)}`;
}

function staleNames(): string[] {
  const listed = spawnSync("ip", ["netns", "list"], { encoding: "utf8" }).stdout.split("\n");
  return listed
    .map((line) => line.split(" ")[0] ?? "")
    .filter((name) => {
      const pid = namePattern.exec(name)?.[1];
      return pid !== undefined && (Number(pid) === process.pid || !existsSync(`/proc/${pid}`));
    });
}

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: "utf8" });
}
