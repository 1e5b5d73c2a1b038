/**
 * Network addresses as text: `host:port`, `[v6]:port`; and the key under which a listener counts
 * what one remote party costs.
 */
import { isIP, isIPv6 } from "node:net";

import { SyncError } from "../base/index.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Writes `host:port`, with brackets around an IPv6 host. */
export function formatAddress(address: Address): string {
  const { host, port } = address;
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Reads what formatAddress writes. Errors: USAGE. */
export function parseAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const v6 = match?.[1];
  const host = v6 ?? match?.[2] ?? "";
  const port = Number(match?.[3]);
  const isHost = v6 === undefined ? isHostName(host) : isIPv6(v6);
  if (!isHost || !(port >= 1 && port <= 65_535)) {
    throw new SyncError("USAGE", `not an address: ${JSON.stringify(text)}; use host:port`);
  }
  return { host, port };
}

/** One IPv4 address, or one IPv6 /64 (a host owns all of it). */
export function partyOf(remoteAddress: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(remoteAddress);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!isIPv6(remoteAddress)) return remoteAddress;
  const address = remoteAddress.replace(/%.*$/, "");
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const words = [...left, ...new Array<string>(zeros).fill("0"), ...right];
  return `${words
    .slice(0, 4)
    .map((word) => Number.parseInt(word, 16).toString(16))
    .join(":")}::/64`;
}

function isHostName(host: string): boolean {
  return isIP(host) !== 0 || /^(?!-)[A-Za-z0-9_.-]{1,253}$/.test(host);
}
