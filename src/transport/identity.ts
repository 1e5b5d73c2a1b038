/**
 * A device's identity: one long-lived Ed25519 key, from systemd's LoadCredential or from the state
 * directory, where it is created at first use. Flows out: the device ID and what TLS needs. The
 * private key is held as a KeyObject, which prints nothing of itself, and is never logged.
 * Invariants: the key file is a regular file of ours that nobody else may read, else KEY_UNUSABLE;
 * two processes that start at once agree on one key; an unreadable key is never replaced.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { join } from "node:path";

import { SyncError } from "../base/index.ts";
import { makeCertificate } from "./certificate.ts";
import { deviceIdOf } from "./device-id.ts";
import { KEY_FILE_BYTES_MAX } from "./limits.ts";
import {
  createStateFile,
  FORBIDDEN_SECRET,
  ownUid,
  prepareStateDir,
  readStateFile,
} from "./state-file.ts";

export interface Identity {
  /** Device ID, 52 base32 characters. */
  readonly id: string;
  readonly privateKey: KeyObject;
  readonly certificatePem: string;
}

export interface IdentitySource {
  readonly stateDir: string;
  /** `$CREDENTIALS_DIRECTORY`, if systemd set it: `key` in it comes first. */
  readonly credentialsDirectory: string | undefined;
}

const KEY_FILE = "key";
/** systemd gives a service a root-owned 0400 file and an ACL, whose mask shows as group-read. */
const FORBIDDEN_CREDENTIAL = 0o037;

/**
 * Loads this device's key, or creates it (`<stateDir>/key`, PKCS#8 PEM, mode 0600).
 * Errors: KEY_UNUSABLE for a key that others can read, that is not ours or not Ed25519;
 * STATE_UNUSABLE when the state directory cannot be used.
 */
export async function loadIdentity(source: IdentitySource): Promise<Identity> {
  const pem = readCredential(source.credentialsDirectory) ?? readOrCreate(source.stateDir);
  return identityOf(parseKey(pem.text, pem.path));
}

/** An identity that lives in memory only: for tests and one-off links. */
export async function temporaryIdentity(): Promise<Identity> {
  return identityOf(generateKeyPairSync("ed25519").privateKey);
}

interface KeyText {
  readonly path: string;
  readonly text: string;
}

function readCredential(directory: string | undefined): KeyText | undefined {
  if (directory === undefined || directory === "") return undefined;
  const path = join(directory, KEY_FILE);
  const uid = ownUid();
  const file = { path, bytesMax: KEY_FILE_BYTES_MAX, code: "KEY_UNUSABLE" } as const;
  const ours = { ...file, forbiddenMode: FORBIDDEN_SECRET, owners: [uid] };
  const given = { ...file, forbiddenMode: FORBIDDEN_CREDENTIAL, owners: [0] };
  const content = readEither(uid === 0 ? [ours] : [given, ours]);
  return content === undefined ? undefined : { path, text: content.toString("utf8") };
}

type ReadOptions = Parameters<typeof readStateFile>[0];

/** The first rule set that the file satisfies; the last one's error when it satisfies none. */
function readEither(rules: readonly ReadOptions[]): Buffer | undefined {
  let failure: unknown;
  for (const rule of rules) {
    try {
      return readStateFile(rule);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function readOrCreate(stateDir: string): KeyText {
  prepareStateDir(stateDir);
  const path = join(stateDir, KEY_FILE);
  const read = () =>
    readStateFile({
      path,
      bytesMax: KEY_FILE_BYTES_MAX,
      forbiddenMode: FORBIDDEN_SECRET,
      owners: [ownUid()],
      code: "KEY_UNUSABLE",
    });
  const found = read();
  if (found !== undefined) return { path, text: found.toString("utf8") };
  const { privateKey } = generateKeyPairSync("ed25519");
  const text = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  if (createStateFile(path, text)) return { path, text };
  // Another process created it between our look and our link: that key is the device's.
  const theirs = read();
  if (theirs === undefined) throw new SyncError("KEY_UNUSABLE", `${path}: appeared and vanished`);
  return { path, text: theirs.toString("utf8") };
}

function parseKey(text: string, path: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch {
    // The library's error may quote the input: it is dropped on purpose.
    throw new SyncError("KEY_UNUSABLE", `${path}: not a private key in PEM`);
  }
  if (key.asymmetricKeyType !== "ed25519") {
    throw new SyncError("KEY_UNUSABLE", `${path}: a ${key.asymmetricKeyType} key, not Ed25519`);
  }
  return key;
}

async function identityOf(privateKey: KeyObject): Promise<Identity> {
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  return {
    id: deviceIdOf(spki),
    privateKey,
    certificatePem: await makeCertificate(privateKey),
  };
}
