/** `lockstep id`: prints this device's ID, alone on its line; makes the key at first use. */
import { ExitCode } from "../base/index.ts";
import type { CommandIo } from "./command-io.ts";
import { deviceFiles, loadDevice, ownName } from "./device.ts";

export async function runId(io: CommandIo): Promise<ExitCode> {
  const files = deviceFiles(process.env);
  const { id } = await loadDevice(files);
  io.print(id);
  io.event("id", { id, name: ownName(), keyFile: files.keyFile });
  return ExitCode.done;
}
