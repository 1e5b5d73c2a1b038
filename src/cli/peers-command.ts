/**
 * `lockstep peers`: lists the paired devices, or changes the list. All changes go through
 * TrustStore, which replaces the file whole under a lock; running commands see them at once.
 */
import { ExitCode, SyncError } from "../base/index.ts";
import { isDeviceName, parseAddress, parseDeviceId } from "../transport/index.ts";
import type { GrantDirection, Peer, TrustStore } from "../transport/index.ts";
import type { CommandIo } from "./command-io.ts";
import type { Invocation } from "./command-program.ts";
import { deviceFiles, grantText, loadDevice, openPeers, requirePeer } from "./device.ts";
import { textTable } from "./text-table.ts";

/** Characters of an ID that make the name of a device that was given none. */
const nameCharCount = 7;

export async function runPeers(invocation: Invocation, io: CommandIo): Promise<ExitCode> {
  const store = openPeers(deviceFiles(process.env), io.world.clock);
  const [first = "", second = ""] = invocation.arguments;
  switch (invocation.command) {
    case "peers":
      listPeers(store, io);
      break;
    case "peers add":
      tell(await addPeer(store, first, invocation), "added", io);
      break;
    case "peers remove": {
      const peer = requirePeer(store, first);
      store.remove(peer.id);
      tell(peer, "removed", io);
      break;
    }
    case "peers rename":
      tell(store.rename(requirePeer(store, first).id, second), "renamed", io);
      break;
    case "peers grant":
      tell(changeGrants(store, "grant", invocation), "changed", io);
      break;
    case "peers revoke":
      tell(changeGrants(store, "revoke", invocation), "changed", io);
      break;
    default:
      throw new Error(`the argument table has a command that nothing runs: ${invocation.command}`);
  }
  return ExitCode.done;
}

function listPeers(store: TrustStore, io: CommandIo): void {
  const peers = store.list();
  for (const peer of peers) io.event("peer", { ...peer });
  if (peers.length === 0) {
    io.say("no paired devices; `lockstep pair` adds one");
    return;
  }
  const rows = peers.map(({ name, id, addresses, grants }) => [
    name,
    id,
    addresses.length === 0 ? "-" : addresses.join(","),
    grantText(grants),
  ]);
  for (const line of textTable([["NAME", "ID", "ADDRESSES", "GRANTS"], ...rows])) io.print(line);
}

async function addPeer(store: TrustStore, text: string, invocation: Invocation): Promise<Peer> {
  const id = parseDeviceId(text);
  const { name, address } = invocation.options;
  const addresses = typeof address === "object" ? address : [];
  for (const place of addresses) parseAddress(place);
  if (typeof name === "string" && !isDeviceName(name)) {
    throw new SyncError("USAGE", `not a device name: ${JSON.stringify(name)}`);
  }
  if (id === (await loadDevice(deviceFiles(process.env))).id) {
    throw new SyncError("USAGE", "that is the ID of this device, not of a peer");
  }
  const wanted = typeof name === "string" ? name : id.slice(0, nameCharCount);
  const peer = store.add({ id, name: wanted, addresses });
  // A known device keeps its name unless another one is asked for.
  const isOther = typeof name === "string" && peer.name !== name && store.find(name) === undefined;
  return isOther ? store.rename(id, name) : peer;
}

function changeGrants(
  store: TrustStore,
  change: "grant" | "revoke",
  { arguments: args, options }: Invocation,
): Peer {
  const [text = "", share = ""] = args;
  const { id } = requirePeer(store, text);
  const both: readonly GrantDirection[] = ["send", "receive"];
  const named = both.filter((direction) => options[direction] === true);
  if (named.length === 0 && change === "grant") {
    throw new SyncError("USAGE", "say which right: --send, --receive, or both");
  }
  for (const direction of named.length === 0 ? both : named) {
    store[change](id, { share, direction });
  }
  return requirePeer(store, id);
}

function tell(peer: Peer, event: string, io: CommandIo): void {
  io.event(event, { ...peer });
  const { name, id, grants } = peer;
  io.say(event === "changed" ? `${name}: ${grantText(grants)}` : `${event} ${name} (${id})`);
}
