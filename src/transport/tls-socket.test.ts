import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { FakeClock, type Network, PollEvent, tlsOwed } from "../world/index.ts";
import { TlsSocket } from "./tls-socket.ts";

/** A socket whose writes end as the test says, and what it waits for. */
function rig(): {
  socket: TlsSocket;
  results: number[];
  flushed: { count: number };
  ready: (events: number) => void;
  events: () => number;
} {
  const results: number[] = [];
  const flushed = { count: 0 };
  let ready: (events: number) => void = () => {};
  let events = 0;
  const known: Partial<Network> = {
    tlsOpen: () => ({}),
    tlsFd: () => 99,
    tlsHandshake: () => 1,
    tlsRead: () => -11,
    tlsWrite: () => results.shift()!,
    pollStart: (_, callback) => {
      ready = callback;
      return {};
    },
    pollSet: (_, wanted) => void (events = wanted),
  };
  const raw = { setNoDelay() {}, setKeepAlive() {}, destroy() {}, _handle: { fd: 99 } };
  const socket = new TlsSocket(raw as unknown as Socket, {
    network: known as Network,
    clock: new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 10 }),
    context: {},
    isServer: true,
    protocols: [],
    handlers: {
      onSecure() {},
      onData() {},
      onFlushed: () => void flushed.count++,
      onEnd() {},
      onClose() {},
    },
  });
  ready(PollEvent.readable);
  return { socket, results, flushed, ready: (bits) => ready(bits), events: () => events };
}

test("what the socket owes is waited for, and told of when it has gone", () => {
  const { socket, results, flushed, ready, events } = rig();
  results.push(100 + 70 * tlsOwed);
  socket.write(new Uint8Array(100));
  assert.equal(socket.bufferedBytes, 70);
  assert.ok(events() & PollEvent.writable);
  results.push(30 * tlsOwed);
  ready(PollEvent.writable);
  assert.deepEqual([socket.bufferedBytes, flushed.count], [30, 1]);
  results.push(0);
  ready(PollEvent.writable);
  assert.deepEqual([socket.bufferedBytes, flushed.count], [0, 2]);
  assert.equal(events() & PollEvent.writable, 0);
});

test("a write that finds room for what came before it does not keep that to itself", () => {
  const { socket, results, flushed, ready, events } = rig();
  results.push(100 + 70 * tlsOwed, 5);
  socket.write(new Uint8Array(100));
  socket.write(new Uint8Array(5));
  assert.deepEqual([socket.bufferedBytes, flushed.count], [0, 0]);
  assert.ok(events() & PollEvent.writable);
  ready(PollEvent.writable);
  assert.equal(flushed.count, 1);
  assert.equal(events() & PollEvent.writable, 0);
});

test("what is not taken at all is held and given again from there", () => {
  const { socket, results, flushed, ready } = rig();
  results.push(40 + 900 * tlsOwed);
  socket.write(new Uint8Array(100));
  socket.write(new Uint8Array(10));
  assert.equal(socket.bufferedBytes, 900 + 60 + 10);
  results.push(60, 10);
  ready(PollEvent.writable);
  assert.deepEqual([socket.bufferedBytes, flushed.count], [0, 1]);
});
