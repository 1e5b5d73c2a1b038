import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { parsePatterns } from "./patterns.ts";
import { answerCountMax, RuleChain } from "./rule-chain.ts";

const latin1 = (text: string): string => Buffer.from(text).toString("latin1");
const list = (...lines: string[]): readonly string[] =>
  parsePatterns(Buffer.from(lines.join("\n"))).patterns;

test("the last match decides, and nothing below an ignored folder comes back", () => {
  const chain = new RuleChain(list("*.log", "!keep.log", "out/", "!out/keep.log"), []);
  assert.equal(chain.ignores("a/x.log"), true);
  assert.equal(chain.ignores("a/keep.log"), false);
  assert.equal(chain.ignores("out/keep.log"), true);
  assert.equal(chain.ignores("out"), false, "a file of that name");
  assert.equal(chain.ignores("out/"), true);
  assert.equal(chain.ignores("A/X.LOG"), false, "case counts");
});

test("deeper files win over those above, the command line over all, a given file over none", () => {
  const chain = new RuleChain(list("a"), list("!c"));
  const root = chain.below("", list("!a", "b", "c"));
  const deep = root.below("d/", list("!b", "a"));
  assert.deepEqual(
    ["a", "b", "c"].map((name) => root.ignores(name)),
    [false, true, false],
  );
  assert.deepEqual(
    ["d/a", "d/b", "d/c"].map((name) => deep.ignores(name)),
    [true, false, false],
  );
  assert.equal(deep.ignores("b"), true, "the deeper file holds below its folder only");
});

test("names with line ends and with bytes that are not UTF-8 are names like others", () => {
  const chain = new RuleChain(["x*", "\xff?", "a/**"], []);
  assert.equal(chain.ignores("x\ny"), true);
  assert.equal(chain.ignores("\xff\xfe"), true);
  assert.equal(chain.ignores("a/\n"), true);
  assert.equal(chain.ignores("\xfe\xff"), false);
});

test("a path of thousands of folders needs no deep stack, and answers are forgotten", () => {
  const chain = new RuleChain(list("*.o", "/a/b/"), []);
  const deep = "a/".repeat(3000);
  assert.equal(chain.ignores(`${deep}x.o`), true);
  assert.equal(chain.ignores(`${deep}x.c`), false);
  for (let i = 0; i < answerCountMax + 10; i++) chain.ignores(`f${i}`);
  assert.equal(chain.ignores("x.o"), true);
  assert.equal(chain.ignores("a/b/c"), true);
});

const hasGit = spawnSync("git", ["--version"]).status === 0;

const part = fc.constantFrom(
  ..."a b ab * ** / ? [ab] [!a] [a-c] \\* \\a \\  ! # é []a] [[:alpha:]] - . /**/ a/".split(" "),
  " ",
);
const patternText = fc
  .tuple(fc.boolean(), fc.array(part, { minLength: 1, maxLength: 5 }))
  .map(([negative, parts]) => (negative ? "!" : "") + parts.join(""))
  // A run of asterisks behind a literal, or behind an escaped slash: git and gitignore(5) disagree
  // there, and the package does as the page says (its README, "A run of asterisks").
  .filter((pattern) => !/[^/*!]\*{2,}|\*{2,}[^/*]|\\\//.test(pattern));
const fileText = fc.array(patternText, { minLength: 1, maxLength: 4 });
const name = fc.constantFrom(
  ..."a b ab ba a* * !a #a é ] - aab c .a".split(" "),
  "a b",
  "\n",
  "a\nb",
  "x y",
);
const folders = ["", "a/", "a/b/", "x y/", "é/"];

test("git check-ignore gives the same answers for generated patterns and paths", (context) => {
  if (!hasGit) return context.skip("needs git");
  const folder = mkdtempSync(join(tmpdir(), "lockstep-ignore-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  execFileSync("git", ["init", "-q", folder]);
  let ignoredCount = 0;
  fc.assert(
    fc.property(
      fc.array(fileText, { minLength: folders.length, maxLength: folders.length }),
      fileText,
      fc.array(fc.array(name, { minLength: 1, maxLength: 4 }), { minLength: 5, maxLength: 40 }),
      (files, first, names) => {
        const written = files.map((lines, i) => (i === 0 || lines.length % 2 === 1 ? lines : []));
        const paths = [...new Set(names.map((parts) => parts.join("/")))];
        const expected = askGit(folder, first, written, paths);
        const found = new Set(paths.filter((path) => judge(first, written, path)));
        assert.deepEqual([...found].sort(), [...expected].sort());
        ignoredCount += found.size;
      },
    ),
    { numRuns: 150 },
  );
  assert.ok(ignoredCount > 100, `${ignoredCount} paths were ignored`);
});

function askGit(
  folder: string,
  first: readonly string[],
  files: readonly (readonly string[])[],
  paths: readonly string[],
): Set<string> {
  const excludes = join(folder, ".git/first");
  writeFileSync(excludes, first.join("\n"));
  for (const [index, lines] of files.entries()) {
    const file = join(folder, folders[index]!, ".gitignore");
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, lines.join("\n"));
  }
  const settings = ["-c", "core.ignoreCase=false", "-c", `core.excludesFile=${excludes}`];
  const args = [
    ...settings,
    "-C",
    folder,
    "check-ignore",
    "--no-index",
    "-z",
    "-v",
    "-n",
    "--stdin",
  ];
  const { stdout, stderr, status } = spawnSync("git", args, { input: paths.join("\0") + "\0" });
  assert.ok(status === 0 || status === 1, stderr.toString());
  const fields = stdout.toString().split("\0");
  const ignored = new Set<string>();
  for (let at = 0; at + 3 < fields.length; at += 4) {
    const pattern = fields[at + 2]!;
    if (pattern !== "" && !pattern.startsWith("!")) ignored.add(fields[at + 3]!);
  }
  return ignored;
}

/** As the mirror does: folder by folder from the root, no further than an ignored one. */
function judge(
  first: readonly string[],
  files: readonly (readonly string[])[],
  path: string,
): boolean {
  let chain = new RuleChain(list(...first), []);
  const parts = path.split("/");
  for (let level = 0; level < parts.length; level++) {
    const above = parts
      .slice(0, level)
      .map((name) => `${name}/`)
      .join("");
    const index = folders.indexOf(above);
    if (index >= 0) chain = chain.below(latin1(above), list(...files[index]!));
    const isFolder = level < parts.length - 1 || folders.includes(`${path}/`);
    if (chain.ignores(latin1(above + parts[level]!) + (isFolder ? "/" : ""))) return true;
  }
  return false;
}
