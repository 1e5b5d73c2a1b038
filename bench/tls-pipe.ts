/**
 * The most that one TLS 1.3 connection over loopback carries between two Node processes, with no
 * files at either end: the ceiling for a synchronizer that encrypts in one stream.
 *
 * In: a number of bytes. Out: seconds from the first byte to the receiver's acknowledgement of the
 * last. Run as a program (`node tls-pipe.js receive BYTES|send PORT BYTES`) it is one of the ends.
 * Keyed by a pre-shared constant, so there is no certificate to make: what is measured is the
 * record cipher, AES-128-GCM, and the way through Node and the kernel.
 * Source: node:tls, RFC 8446 section 4.2.11.
 */
import { connect, createServer } from "node:tls";
import { fileURLToPath } from "node:url";
import { run, start } from "./processes.ts";

const chunkBytes = 256 * 1024;
const readyMs = 20_000;
const transferMs = 600_000;
/** Not a secret: both ends are ours, on loopback, and carry zeros. */
const sharedKey = Buffer.alloc(32, 1);
const tls = { minVersion: "TLSv1.3", ciphers: "TLS_AES_128_GCM_SHA256" } as const;
const self = fileURLToPath(import.meta.url);

/** Seconds that `bytes` take; throws ProcessError if either end fails. */
export async function measureTlsSeconds(bytes: number): Promise<number> {
  const receiver = start(process.execPath, [self, "receive", `${bytes}`]);
  try {
    const port = await receiver.waitFor(
      (line) => (line.startsWith("port ") ? Number(line.slice(5)) : undefined),
      readyMs,
    );
    const printed = await run(process.execPath, [self, "send", `${port}`, `${bytes}`], {
      timeoutMs: transferMs,
    });
    return Number(printed);
  } finally {
    await receiver.end();
  }
}

function receive(bytes: number): void {
  let left = bytes;
  const server = createServer({ ...tls, pskCallback: () => sharedKey }, (socket) => {
    socket.on("data", (chunk: Buffer) => {
      left -= chunk.length;
      if (left <= 0) socket.end("k");
    });
    socket.on("close", () => server.close());
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (address !== null && typeof address === "object") console.log(`port ${address.port}`);
  });
}

function send(port: number, bytes: number): void {
  const chunk = Buffer.alloc(chunkBytes, 7);
  let left = bytes;
  const pskCallback = () => ({ psk: sharedKey, identity: "bench" });
  const to = { ...tls, host: "127.0.0.1", port, pskCallback, checkServerIdentity: () => undefined };
  const socket = connect(to, () => {
    const began = performance.now();
    const pump = (): void => {
      while (left > 0) {
        const part = left < chunkBytes ? chunk.subarray(0, left) : chunk;
        left -= part.length;
        if (!socket.write(part)) break;
      }
    };
    socket.on("drain", pump);
    socket.once("data", () => {
      console.log(`${(performance.now() - began) / 1000}`);
      socket.end();
    });
    pump();
  });
}

if (process.argv[1] === self) {
  const [, , role, first, second] = process.argv;
  if (role === "receive") receive(Number(first));
  else send(Number(first), Number(second));
}
