/**
 * The machine, for `lockstep doctor`: Node, the addon, kernel, BTF, privileges, limits, clock.
 * Reads /proc and /sys only; changes nothing.
 * Limits: of processes whose inotify watches are counted, at most processesMax; the count says so.
 * Source: proc(5), capabilities(7), inotify(7).
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { release } from "node:os";
import { native } from "../world/node/index.ts";
import { fail, ok, reasonOf, warn } from "./doctor-finding.ts";
import type { DoctorFinding } from "./doctor-finding.ts";

const nodeVersionMin = [20, 19];
/** The first kernel with CAP_BPF, and with openat2 and ring buffers before that. */
const kernelVersionMin = [5, 8];
const openFilesMin = 1_024;
const watchesMin = 65_536;
const processesMax = 4_096;
const descriptorsMax = 4_096;

/** By number: linux/capability.h. */
const capabilityNames: readonly string[] = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE " +
  "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO " +
  "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME " +
  "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG " +
  "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split(" ");

const captureCapabilities = ["BPF", "PERFMON", "SYS_ADMIN"];
const applyCapabilities = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "MKNOD", "SETFCAP", "FSETID"];

export function examineHost(): DoctorFinding[] {
  return [
    nodeFinding(),
    addonFinding(),
    kernelFinding(),
    btfFinding(),
    ...capabilityFindings(effectiveCapabilities(readText("/proc/self/status"))),
    openFilesFinding(readText("/proc/self/limits")),
    clockFinding(),
  ];
}

function nodeFinding(): DoctorFinding {
  const version = process.versions.node;
  if (isAtLeast(version, nodeVersionMin)) return ok("node", version);
  return fail("node", version, `install Node.js ${nodeVersionMin.join(".")} or newer`);
}

function addonFinding(): DoctorFinding {
  try {
    native();
    return ok("addon", "loaded");
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    return fail("addon", reasonOf(cause), "run `npm run build:native`");
  }
}

function kernelFinding(): DoctorFinding {
  const version = release();
  if (isAtLeast(version, kernelVersionMin)) return ok("kernel", version);
  return fail("kernel", version, `use Linux ${kernelVersionMin.join(".")} or newer`);
}

function btfFinding(): DoctorFinding {
  const path = "/sys/kernel/btf/vmlinux";
  if (existsSync(path)) return ok("btf", path);
  const advice = "use a kernel built with CONFIG_DEBUG_INFO_BTF for the ebpf backend";
  return warn("btf", `${path} is missing`, advice);
}

/** Names without `CAP_`, from the text of /proc/self/status. */
export function effectiveCapabilities(status: string): readonly string[] {
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return capabilityNames.filter((_, bit) => ((mask >> BigInt(bit)) & 1n) === 1n);
}

function capabilityFindings(held: readonly string[]): DoctorFinding[] {
  const lacking = (needed: readonly string[]): string =>
    needed
      .filter((name) => !held.includes(name))
      .map((name) => `CAP_${name}`)
      .join(" ");
  const findings: DoctorFinding[] = [];
  const capture = lacking(captureCapabilities);
  const apply = lacking(applyCapabilities);
  findings.push(
    capture === ""
      ? ok("privilege to capture", captureCapabilities.map((name) => `CAP_${name}`).join(" "))
      : warn("privilege to capture", `without ${capture}`, "run as root for the ebpf backend"),
  );
  const advice = "run the target side as root to keep owners, devices and file capabilities";
  findings.push(
    apply === ""
      ? ok("privilege to apply", applyCapabilities.map((name) => `CAP_${name}`).join(" "))
      : warn("privilege to apply", `without ${apply}`, advice),
  );
  return findings;
}

function openFilesFinding(limits: string): DoctorFinding {
  const [, soft = "?", hard = "?"] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(limits) ?? [];
  const detail = `${soft} (at most ${hard})`;
  const isEnough = soft === "unlimited" || Number(soft) >= openFilesMin;
  if (isEnough) return ok("open files", detail);
  return warn("open files", detail, `raise it: \`ulimit -n ${openFilesMin}\` or LimitNOFILE=`);
}

function clockFinding(): DoctorFinding {
  const now = new Date();
  const path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
  const clockSource = readText(path).trim() || "unknown";
  const detail = `${now.toISOString()}, clock source ${clockSource}`;
  if (now.getUTCFullYear() < 2024) {
    return warn("clock", detail, "set the clock: times in logs and of epochs come from it");
  }
  const isSlow = ["acpi_pm", "hpet", "jiffies"].includes(clockSource);
  if (isSlow) return warn("clock", detail, "reading this clock is slow; prefer tsc or kvm-clock");
  return ok("clock", detail);
}

/** Limits of inotify and how much of them this user has in use. */
export function examineInotify(isNeeded: boolean): DoctorFinding {
  const limit = (name: string): number =>
    Number(readText(`/proc/sys/fs/inotify/${name}`).trim() || Number.NaN);
  const [watches, instances] = [limit("max_user_watches"), limit("max_user_instances")];
  const used = countInotify();
  const scope = used.isPartial ? "at least " : "";
  const detail =
    `${scope}${used.watchCount} of ${watches} watches, ` +
    `${scope}${used.instanceCount} of ${instances} instances in use`;
  const isTight = watches - used.watchCount < watchesMin || instances - used.instanceCount < 1;
  if (!isNeeded || !isTight) return ok("inotify", detail);
  const advice = "each folder of SOURCE takes a watch: raise fs.inotify.max_user_watches by sysctl";
  return warn("inotify", detail, advice);
}

interface InotifyUse {
  watchCount: number;
  instanceCount: number;
  isPartial: boolean;
}

/** Over the processes of this user, as the limits are per user. */
function countInotify(): InotifyUse {
  const use: InotifyUse = { watchCount: 0, instanceCount: 0, isPartial: false };
  const uid = String(process.getuid?.());
  const pids = listFolder("/proc").filter((name) => /^\d+$/.test(name));
  use.isPartial = pids.length > processesMax;
  for (const pid of pids.slice(0, processesMax)) {
    const owner = /^Uid:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`))?.[1];
    if (owner !== uid) continue;
    const fds = listFolder(`/proc/${pid}/fd`);
    if (fds.length > descriptorsMax) use.isPartial = true;
    for (const fd of fds.slice(0, descriptorsMax)) {
      if (linkOf(`/proc/${pid}/fd/${fd}`) !== "anon_inode:inotify") continue;
      use.instanceCount += 1;
      const info = readText(`/proc/${pid}/fdinfo/${fd}`);
      use.watchCount += (info.match(/^inotify wd:/gm) ?? []).length;
    }
  }
  return use;
}

/** Empty for what is gone or forbidden: processes end while they are looked at. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function isAtLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, wanted] of least.entries()) {
    const part = parts[index] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}
