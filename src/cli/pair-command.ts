/**
 * `lockstep pair`: two devices come to know each other by a one-time ticket, and each stores the
 * other in its trust list, with the grants that were asked for.
 *
 * The ticket goes to standard output only, never into the log. All that can be wrong with the
 * arguments is found before the ticket is made or spent. The port of a pairing is open only while
 * its ticket is, so it is not stored as an address of the other device.
 */
import { networkInterfaces } from "node:os";
import { ExitCode, SyncError } from "../base/index.ts";
import { formatAddress, invite, isDeviceName, join, parseAddress } from "../transport/index.ts";
import type { Address, Grant, Identity, Paired } from "../transport/index.ts";
import type { CommandIo } from "./command-io.ts";
import { deviceFiles, grantText, loadDevice, openPeers, ownName, parseGrant } from "./device.ts";

export interface PairOptions {
  readonly ticket: string | undefined;
  readonly listen: string | undefined;
  readonly expires: string | undefined;
  readonly addresses: readonly string[];
  readonly name: string | undefined;
  readonly grants: readonly string[];
}

/** Port on which a device that was given none waits to be paired. */
export const pairPort = 7421;
const expiresMsDefault = 600_000;
/** A ticket is a secret on a screen: it must not be valid for ever. */
const expiresMsMax = 86_400_000;
const joinMs = 15_000;
/** Addresses of this machine that are written into a ticket. */
const ticketAddressesMax = 8;
/** A ticket has 79 characters and at most 16 addresses. */
const ticketCharsMax = 8_192;

export async function runPair(options: PairOptions, io: CommandIo): Promise<ExitCode> {
  const name = options.name ?? ownName();
  if (!isDeviceName(name)) {
    throw new SyncError("USAGE", `not a device name: ${JSON.stringify(name)}`);
  }
  const grants = options.grants.map(parseGrant);
  const files = deviceFiles(process.env);
  const store = openPeers(files, io.world.clock);
  const identity = await loadDevice(files);
  const paired =
    options.ticket === undefined
      ? await inviteOne(options, { identity, name }, io)
      : await joinOne(options, { identity, name }, options.ticket, io);
  store.add({ id: paired.peerId, name: paired.name, addresses: [] });
  for (const grant of grants) store.grant(paired.peerId, grant);
  tell(store.find(paired.peerId)?.name ?? paired.name, paired, grants, io);
  return ExitCode.done;
}

interface Self {
  readonly identity: Identity;
  readonly name: string;
}

async function inviteOne(options: PairOptions, self: Self, io: CommandIo): Promise<Paired> {
  const on = options.listen === undefined ? anyAddress() : parseAddress(options.listen);
  const expiresMs = options.expires === undefined ? expiresMsDefault : parseTime(options.expires);
  const addresses = options.addresses.length > 0 ? options.addresses : ticketAddresses(on);
  const { world } = io;
  const invitation = await invite({ world, ...self, addresses, expiresMs, on });
  io.onStop(() => invitation.cancel());
  const { ticket, port } = invitation;
  io.event("ticket", { ticket, port, expiresMs, id: self.identity.id });
  io.say("On the other device:");
  io.say("");
  io.print(`  lockstep pair ${ticket}`);
  io.say("");
  io.say(`Waiting on port ${port} for ${Math.round(expiresMs / 1000)} s; Ctrl-C gives up.`);
  return await invitation.done;
}

async function joinOne(
  options: PairOptions,
  self: Self,
  text: string,
  io: CommandIo,
): Promise<Paired> {
  for (const [option, value] of [
    ["--listen", options.listen],
    ["--expires", options.expires],
  ]) {
    if (value !== undefined) throw new SyncError("USAGE", `${option} is for inviting, not joining`);
  }
  const [place, ...more] = options.addresses;
  if (more.length > 0) throw new SyncError("USAGE", "with TICKET, one --address is enough");
  const ticket = text === "-" ? await readTicket() : text;
  const address = place === undefined ? {} : { address: parseAddress(place) };
  return await join({ world: io.world, ...self, ticket, ...address, timeoutMs: joinMs });
}

async function readTicket(): Promise<string> {
  let text = "";
  for await (const part of process.stdin.setEncoding("utf8")) {
    text += String(part);
    if (text.length > ticketCharsMax) break;
    if (text.includes("\n")) break;
  }
  return text;
}

function tell(name: string, paired: Paired, grants: readonly Grant[], io: CommandIo): void {
  io.event("paired", { id: paired.peerId, name, grants });
  io.say(`paired with ${name} (${paired.peerId})`);
  if (grants.length > 0) io.say(`granted: ${grantText(grants)}`);
}

/** `90s`, `10m`, `2h`. Errors: USAGE. */
function parseTime(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const ms = Number(count) * ({ s: 1_000, m: 60_000, h: 3_600_000 }[unit] ?? 0);
  if (ms > 0 && ms <= expiresMsMax) return ms;
  throw new SyncError(
    "USAGE",
    `--expires ${text}: expected a time such as 90s, 10m or 2h, up to 24h`,
  );
}

/** Every address of this machine; `::` is IPv4 too, where the kernel has IPv6 at all. */
function anyAddress(): Address {
  const hasV6 = ownAddresses(true).some(({ family }) => family === "IPv6");
  return { host: hasV6 ? "::" : "0.0.0.0", port: pairPort };
}

function ticketAddresses(on: Address): string[] {
  if (on.host !== "::" && on.host !== "0.0.0.0") return [formatAddress(on)];
  const hosts = ownAddresses(false)
    .filter(({ family }) => on.host === "::" || family === "IPv4")
    // IPv4 first: it is what a person can check by looking.
    .sort((a, b) => a.family.localeCompare(b.family))
    .map(({ address }) => formatAddress({ host: address, port: on.port }));
  return hosts.slice(0, ticketAddressesMax);
}

function ownAddresses(internal: boolean): { family: string; address: string }[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  // A link-local address needs the other machine's interface name to be of use.
  return all.filter((own) => (internal || !own.internal) && !own.address.startsWith("fe80:"));
}
