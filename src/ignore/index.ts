/** Ignore rules: patterns as in .gitignore, and which names they cover. Pure. */
export { parsePatterns, patternFault, ruleBytesMax, ruleFileName } from "./patterns.ts";
export type { PatternFault, PatternList } from "./patterns.ts";
export type { IgnoreSettings } from "./rule-chain.ts";
export { RuleChain } from "./rule-chain.ts";
