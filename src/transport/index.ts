/** The door of the transport room: links between devices, identity, trust and pairing. */
export { formatAddress, parseAddress } from "./address.ts";
export type { Address } from "./address.ts";
export { formatDeviceId, isDeviceId, parseDeviceId } from "./device-id.ts";
export { dial } from "./dialler.ts";
export type { DialOptions } from "./dialler.ts";
export { loadIdentity, temporaryIdentity } from "./identity.ts";
export type { Identity, IdentitySource } from "./identity.ts";
export { ALPN_LINK, ALPN_PAIR, linkLimits, listenLimits } from "./limits.ts";
export type { LinkLimits, ListenLimits } from "./limits.ts";
export type { DirectAccess, Link, LinkCounters, LinkHandlers } from "./link.ts";
export { listen } from "./listener.ts";
export type { Listener, LinkService, ListenOptions } from "./listener.ts";
export { memoryLinkPair } from "./memory-link.ts";
export type { MemoryLinkOptions } from "./memory-link.ts";
export { invite, join, parseTicket } from "./pairing.ts";
export type { Invitation, InviteOptions, JoinOptions, Paired } from "./pairing.ts";
export { isDeviceName, TrustStore } from "./trust-store.ts";
export type { Grant, GrantDirection, Peer } from "./trust-store.ts";
