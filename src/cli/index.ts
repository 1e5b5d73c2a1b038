/** The door of the command line: what its documents and tests are made from. */
export {
  commandTable,
  fileTable,
  globalOptions,
  plannedCommands,
  plannedOptions,
  programName,
  programSummary,
  variableTable,
} from "./argument-table.ts";
export type { ArgumentRow, CommandRow, OptionRow, VariableRow } from "./argument-table.ts";
export { helpTexts, parseArguments } from "./command-program.ts";
export { collectStatuses, publishStatus } from "./control-socket.ts";
export { failureOf } from "./failure.ts";
export { stateDirectory } from "./command-io.ts";
