/** `id`, `peers` and `pair` of the real program, and the files that they keep. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { eventsOf, makeHome, runProgram, Running, scratchFolder, stateDirOf } from "./program.ts";
import type { Outcome } from "./program.ts";

interface StoredPeer {
  readonly id: string;
  readonly name: string;
  readonly addresses: string[];
  readonly grants: { share: string; direction: string }[];
}

function storedPeers(home: string): StoredPeer[] {
  const text = readFileSync(join(stateDirOf(home), "peers.json"), "utf8");
  return (JSON.parse(text) as { peers: StoredPeer[] }).peers;
}

async function succeed(context: TestContext, home: string, line: string): Promise<Outcome> {
  const outcome = await runProgram(context, line.split(" "), { home });
  assert.equal(outcome.exit, 0, `${line}: ${outcome.stderr}`);
  return outcome;
}

async function idOf(context: TestContext, home: string): Promise<string> {
  return (await succeed(context, home, "id")).stdout.trim();
}

test("id prints the ID alone, and the same one again", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  const first = await succeed(t, home, "id");
  assert.match(first.stdout, /^[A-Z2-7]{52}\n$/);
  assert.equal(first.stderr, "");
  const again = await succeed(t, home, "id --json --quiet");
  const [event] = eventsOf(again.stdout);
  assert.equal(`${String(event?.["id"])}\n`, first.stdout);
  const keyFile = join(stateDirOf(home), "key");
  assert.equal(event?.["keyFile"], keyFile);
  assert.equal(statSync(keyFile).mode & 0o777, 0o600);
});

test("a key that others may read ends with code 3", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  mkdirSync(stateDirOf(home), { mode: 0o700 });
  writeFileSync(join(stateDirOf(home), "key"), "secret", { mode: 0o644 });
  const { exit, stdout, stderr } = await runProgram(t, ["id"], { home });
  assert.deepEqual([exit, stdout], [3, ""]);
  assert.match(stderr, /^lockstep: KEY_UNUSABLE: /);
  assert.doesNotMatch(stderr, /secret/);
});

test("peers are added, granted, renamed, listed and removed", async (t) => {
  const folder = scratchFolder(t);
  const [home, otherHome] = [makeHome(folder, "home"), makeHome(folder, "other")];
  const id = await idOf(t, otherHome);
  await succeed(t, home, `peers add ${id} --name laptop --address 127.0.0.1:1 --address [::1]:2`);
  assert.deepEqual(
    storedPeers(home).map(({ id, name, addresses }) => ({ id, name, addresses })),
    [{ id, name: "laptop", addresses: ["127.0.0.1:1", "[::1]:2"] }],
  );
  assert.equal(statSync(join(stateDirOf(home), "peers.json")).mode & 0o777, 0o600);
  // A person may use the name, or the ID in any case.
  await succeed(t, home, "peers grant laptop site --send --receive");
  await succeed(t, home, `peers revoke ${id.toLowerCase()} site --receive`);
  assert.deepEqual(storedPeers(home)[0]?.grants, [{ share: "site", direction: "send" }]);
  await succeed(t, home, "peers rename laptop desk");
  const [event, ...more] = eventsOf((await succeed(t, home, "peers --json")).stdout);
  assert.deepEqual([event?.["event"], event?.["id"], event?.["name"]], ["peer", id, "desk"]);
  assert.equal(more.length, 0);
  const { stdout } = await succeed(t, home, "peers");
  assert.match(stdout, new RegExp(`^NAME .*\\ndesk +${id} .*site:send\\n$`));
  await succeed(t, home, "peers revoke desk site");
  assert.deepEqual(storedPeers(home)[0]?.grants, []);
  await succeed(t, home, "peers remove desk");
  assert.deepEqual(storedPeers(home), []);
});

test("a peer that cannot be one changes nothing and ends with code 2", async (t) => {
  const folder = scratchFolder(t);
  const [home, otherHome] = [makeHome(folder, "home"), makeHome(folder, "other")];
  const [own, id] = await Promise.all([idOf(t, home), idOf(t, otherHome)]);
  await succeed(t, home, `peers add ${id}`);
  const before = readFileSync(join(stateDirOf(home), "peers.json"), "utf8");
  const refuse = async (line: string): Promise<void> => {
    const { exit, stderr } = await runProgram(t, line.split(" "), { home });
    assert.equal(exit, 2, `${line}: ${stderr}`);
  };
  const lines = [
    `peers add ${own}`,
    `peers add ${id.slice(1)}`,
    `peers add ${id} --address nowhere`,
    `peers grant ${id} site`,
    `peers grant ${id} a/b --send`,
  ];
  await Promise.all(lines.map(refuse));
  assert.equal(readFileSync(join(stateDirOf(home), "peers.json"), "utf8"), before);
});

test("a damaged list ends with code 3 and stays as it is", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  mkdirSync(stateDirOf(home), { mode: 0o700 });
  const path = join(stateDirOf(home), "peers.json");
  writeFileSync(path, "{ half", { mode: 0o600 });
  const { exit, stderr } = await runProgram(t, ["peers"], { home });
  assert.equal(exit, 3);
  assert.match(stderr, /^lockstep: STATE_UNUSABLE: .*damaged/);
  assert.equal(readFileSync(path, "utf8"), "{ half");
});

test("two devices pair over the network, and each stores the other and its grants", async (t) => {
  const folder = scratchFolder(t);
  const [home, otherHome] = [makeHome(folder, "target"), makeHome(folder, "source")];
  const place = "127.0.0.1:0".replace(/0$/, String(20_000 + (process.pid % 10_000)));
  const inviteArgs = ["pair", "--listen", place, "--name", "target", "--grant", "site:send"];
  const inviter = new Running(t, [...inviteArgs, "--json"], { home, stdin: "" });
  const [, ticket = ""] = await inviter.said(/"ticket":"([^"]+)"/);
  // From standard input, as on the command line others could see it.
  const join = ["pair", "-", "--name", "source", "--grant", "site:receive", "--json"];
  const joined = await runProgram(t, join, { home: otherHome, stdin: `${ticket}\n` });
  assert.equal(joined.exit, 0, joined.stderr);
  const invited = await inviter.end();
  assert.equal(invited.exit, 0, invited.stderr);
  assert.deepEqual(
    eventsOf(invited.stdout).map(({ event }) => event),
    ["ticket", "paired"],
  );
  const [id, otherId] = [await idOf(t, home), await idOf(t, otherHome)];
  const views = [storedPeers(home), storedPeers(otherHome)].map((peers) =>
    peers.map((peer) => [peer.id, peer.name, peer.grants]),
  );
  assert.deepEqual(views, [
    [[otherId, "source", [{ share: "site", direction: "send" }]]],
    [[id, "target", [{ share: "site", direction: "receive" }]]],
  ]);
  const again = await runProgram(t, ["pair", ticket], { home: otherHome });
  assert.equal(again.exit, 4, "a ticket works once");
  assert.ok(!`${again.stderr}${joined.stderr}${invited.stderr}`.includes(ticket.slice(53, 70)));
});

test("an invitation that is interrupted pairs nobody and ends with code 4", async (t) => {
  const home = makeHome(scratchFolder(t), "home");
  const place = `127.0.0.1:${30_000 + (process.pid % 2_000)}`;
  const inviter = new Running(t, ["pair", "--listen", place], { home, stdin: "" });
  await inviter.said(/Ctrl-C gives up/);
  inviter.kill("SIGINT");
  const { exit, stderr } = await inviter.end();
  assert.equal(exit, 4);
  assert.match(stderr, /^lockstep: PAIRING_FAILED: .*cancelled/);
});
