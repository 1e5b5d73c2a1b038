/**
 * Answers a link: reads the hello, asks whoever owns the shares whether it is granted, and runs a
 * target session. A peer that asks for what it may not have is told so and learns nothing else.
 */
import { type BackupPlace, ownerFiles } from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import { type Durability, JournalFile, recover } from "../journal/index.ts";
import type { MountLog, ProblemLog } from "../model/index.ts";
import type { Link } from "../transport/index.ts";
import { errnoName, type ExpressPort, type Files, type Lanes, type World } from "../world/index.ts";
import {
  decodeHello,
  encodeControl,
  FrameReader,
  FrameType,
  type Hello,
  OpWriter,
} from "../wire/index.ts";
import { checkProtocol, keepFeature } from "./greeting.ts";
import type { SliceBudget } from "./pace.ts";
import type { FreeLimit } from "./space-floor.ts";
import type { SpoolPlace } from "./held-epoch.ts";
import { indexPlace } from "./index-place.ts";
import type { TargetJournal } from "./epoch-journal.ts";
import { journalPlace } from "./journal-place.ts";
import { greetingMsMax } from "./limits.ts";
import { tellRecovery } from "./promotion.ts";
import { redoKeeper } from "./redo-keeper.ts";
import { TargetSession } from "./target-session.ts";
import { VerifySession } from "./verify-session.ts";

export interface GrantedTarget {
  /** Descriptor of the target's root; the service locks it and closes it. */
  rootFd: number;
  /** For messages. */
  path: string;
  problems: ProblemLog;
  /** Hears of mount points below the target. */
  mounts?: MountLog;
  /** Where what goes is kept; it is not when absent. */
  backup?: BackupPlace;
  onLive?: () => void;
  /** Data waits for space; undefined when it is over. */
  onLow?: (halt: SyncError | undefined) => void;
  onSession?: (session: TargetSession) => void;
}

/** A folder that may be compared. */
export interface GrantedVerify {
  /** Descriptor of the folder; the service closes it. */
  rootFd: number;
  /** A mirror is served beside it. */
  isBusy: () => boolean;
  onSession: (session: VerifySession) => void;
}

/** What a link is handed to once its hello is granted. */
interface Served {
  start(early: Uint8Array): void;
  onData(bytes: Uint8Array): void;
  onDrain(): void;
  onClose(error: SyncError | undefined): void;
}

export interface TargetServiceOptions {
  world: World;
  files: Files;
  /** Threads for new files while a target is made equal; none when absent. */
  lanes?: Lanes;
  /** Writes what is small before JavaScript is called; never when absent. */
  express?: ExpressPort;
  spool: SpoolPlace;
  privileged: boolean;
  /** How much of the target's filesystem is to stay free; nothing when absent. */
  minFree?: FreeLimit;
  /** How long a target works on a large epoch before others have their turn. */
  slices?: SliceBudget;
  /** At least; a source may ask for more. */
  durability?: Durability;
  /** False, for benchmarks only: no journal, so that a crash leaves what it leaves. */
  keepsJournal?: boolean;
  /** Of the machine's present run: what only the process survives is not believed in another. */
  bootId?: string;
  /** Decides on a hello. Throws PEER_REFUSED, ROOT_… when it is not granted or not possible. */
  grant: (hello: Hello, peerId: string | undefined) => GrantedTarget;
  /** The same for a hello that only wants to compare; nothing can be compared when absent. */
  grantVerify?: (hello: Hello, peerId: string | undefined) => GrantedVerify;
}

/** Serves one link until it ends. Resolves with the error that ended it, if any. */
export function serveLink(
  link: Link,
  options: TargetServiceOptions,
): Promise<SyncError | undefined> {
  return new Promise((resolve) => {
    const state: { session: Served | undefined } = { session: undefined };
    let isOver = false;
    let early: Uint8Array[] = [];
    const over = (error: SyncError | undefined): void => {
      if (isOver) return;
      isOver = true;
      timer.cancel();
      resolve(error);
    };
    const refuse = (error: SyncError): void => {
      const writer = new OpWriter((piece) => link.send(piece));
      writer.control(FrameType.bye, encodeControl({ code: error.code, message: error.message }));
      link.close();
      over(error);
    };
    const timer = options.world.clock.after(greetingMsMax, () => {
      if (state.session === undefined) refuse(new SyncError("PEER_MALFORMED", "no hello in time"));
    });
    const reader = new FrameReader((type, bytes, start, end) => {
      if (state.session !== undefined) {
        early.push(frame(type, bytes, start, end));
        return;
      }
      if (type !== FrameType.hello)
        throw new SyncError("PEER_MALFORMED", "the first frame is no hello");
      const hello = decodeHello(bytes, start, end);
      checkProtocol(hello.protocol);
      state.session = openAs(hello.intent)(link, options, hello, over);
      timer.cancel();
    });
    link.start({
      onData(bytes) {
        if (isOver) return;
        if (state.session !== undefined) return state.session.onData(bytes);
        try {
          reader.push(bytes);
        } catch (error) {
          if (!(error instanceof SyncError)) throw error;
          return refuse(error);
        }
        const opened = state.session as Served | undefined;
        opened?.start(Buffer.concat(early));
        early = [];
      },
      onDrain: () => state.session?.onDrain(),
      onClose(error) {
        if (state.session === undefined) over(error);
        else state.session.onClose(error);
      },
    });
  });
}

type Opening = (
  link: Link,
  options: TargetServiceOptions,
  hello: Hello,
  over: (error: SyncError | undefined) => void,
) => Served;

function openAs(intent: string): Opening {
  if (intent === "send") return openTarget;
  if (intent === "verify") return openVerify;
  throw new SyncError("PEER_VERSION", `this program does not know what ${intent} is`);
}

const openVerify: Opening = (link, options, hello, over) => {
  const granted = options.grantVerify?.(hello, link.peerId);
  if (granted === undefined) throw new SyncError("PEER_REFUSED", "nothing can be compared here");
  const { world, files } = options;
  const session = new VerifySession({ world, files, link, hello, ...granted });
  granted.onSession(session);
  void session.done.then((error) => {
    files.close(granted.rootFd);
    over(error);
  });
  return session;
};

const openTarget: Opening = (link, options, hello, over) => {
  const granted = options.grant(hello, link.peerId);
  const { files } = options;
  const locked = files.lockFile(granted.rootFd);
  if (locked < 0) {
    files.close(granted.rootFd);
    // What dies in this process lets go of its lock; a peer's link may be dead without our knowing.
    throw new SyncError(
      link.peerId === undefined ? "PEER_REFUSED" : "TARGET_BUSY",
      `${granted.path} is the target of another sync already (${errnoName(locked)})`,
    );
  }
  let journal: TargetJournal | undefined;
  try {
    journal = openJournal(options, hello, granted);
  } catch (error) {
    files.close(granted.rootFd);
    throw error;
  }
  const session = new TargetSession({
    ...options,
    journal,
    consistency: hello.consistency,
    link,
    rootFd: granted.rootFd,
    canKeep: hello.features.includes(keepFeature),
    problems: granted.problems,
    sourceFeatures: hello.features,
    index: indexPlace(hello, granted.path, options.spool, options.world),
    ...(granted.mounts === undefined ? {} : { mounts: granted.mounts }),
    ...(granted.backup === undefined ? {} : { backup: granted.backup }),
    onLive: () => granted.onLive?.(),
    onLow: (halt) => granted.onLow?.(halt),
  });
  granted.onSession?.(session);
  void session.done.then((error) => {
    files.close(granted.rootFd);
    over(error);
  });
  return session;
};

/** The journal of a target that is going to be mirrored into, with all that it told carried out. */
function openJournal(
  options: TargetServiceOptions,
  hello: Hello,
  granted: GrantedTarget,
): TargetJournal | undefined {
  const { path, rootFd, problems } = granted;
  const { world, spool, privileged, bootId = "" } = options;
  const files = privileged ? options.files : ownerFiles(options.files);
  const file = JournalFile.open(journalPlace(path, spool, world, bootId));
  try {
    if (file.header.promotedMs !== undefined) {
      throw new SyncError("TARGET_PROMOTED", `${path} was promoted: no source writes to it`);
    }
    const own = { files, rootFd, problems };
    const keeper = redoKeeper(own, world.clock, granted.backup);
    tellRecovery(world.log, path, recover({ ...own, ...keeper, file, bootId }));
    if (options.keepsJournal === false) {
      // What is mirrored from now on is of no moment that anybody could go back to.
      file.writeHeader({ cut: undefined }, true);
      file.close();
      return undefined;
    }
  } catch (error) {
    file.close();
    throw error;
  }
  const isPower = options.durability === "power" || hello.durability === "power";
  return { file, durability: isPower ? "power" : "process" };
}

/** A frame as it came, for the session that starts only now. */
function frame(type: number, bytes: Uint8Array, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start + 5);
  new DataView(copy.buffer).setUint32(0, end - start + 1, true);
  copy[4] = type;
  copy.set(bytes.subarray(start, end), 5);
  return copy;
}
