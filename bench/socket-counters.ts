/**
 * Bytes on the wire of a loopback connection, as the kernel counted them: `ss -tinOH` prints
 * tcp_info's bytes_sent and bytes_received for each socket.
 *
 * In: a port that a server listens on. Out: the sum over the client ends of all connections to it,
 * so that each byte counts once per direction. TCP payload (TLS included, retransmissions
 * included), without IP and TCP headers. A connection that has closed is no longer counted.
 * Source: ss(8), linux/tcp.h struct tcp_info.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const execFileAsync = promisify(execFile);

export interface SocketCounters {
  readonly localPort: number;
  readonly peerPort: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

export interface WireBytes {
  readonly connections: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/** Parses the output of `ss -tinOH`: one line a socket. Lines of another shape are skipped. */
export function parseSockets(text: string): SocketCounters[] {
  const sockets: SocketCounters[] = [];
  for (const line of text.split("\n")) {
    const [, , , local, peer] = line.trim().split(/\s+/);
    const localPort = portOf(local);
    const peerPort = portOf(peer);
    if (localPort === undefined || peerPort === undefined) continue;
    sockets.push({
      localPort,
      peerPort,
      sentBytes: counterOf(line, "bytes_sent"),
      receivedBytes: counterOf(line, "bytes_received"),
    });
  }
  return sockets;
}

/** Sums the client ends of the connections to `port`. */
export function wireBytesTo(sockets: readonly SocketCounters[], port: number): WireBytes {
  const clients = sockets.filter((socket) => socket.peerPort === port);
  return {
    connections: clients.length,
    sentBytes: clients.reduce((sum, socket) => sum + socket.sentBytes, 0),
    receivedBytes: clients.reduce((sum, socket) => sum + socket.receivedBytes, 0),
  };
}

/** Reads the kernel's counters of all TCP connections to `port` now; undefined without ss. */
export async function readWireBytes(port: number): Promise<WireBytes | undefined> {
  try {
    const { stdout } = await execFileAsync("ss", ["-tinOH", `( dport = :${port} )`]);
    return wireBytesTo(parseSockets(stdout), port);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function portOf(address: string | undefined): number | undefined {
  const text = /:(\d+)$/.exec(address ?? "")?.[1];
  return text === undefined ? undefined : Number(text);
}

/** A counter that ss leaves out is zero: it prints only those that are not. */
function counterOf(line: string, name: string): number {
  const text = new RegExp(`(?:^|\\s)${name}:(\\d+)`).exec(line)?.[1];
  return text === undefined ? 0 : Number(text);
}
