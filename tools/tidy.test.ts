import assert from "node:assert/strict";
import { test } from "node:test";
import { errorTable, ExitCode } from "../src/base/index.ts";
import { renderErrorsPage, renderTestList, replaceBetweenMarkers } from "./gen-all.ts";
import { readTree } from "./source-tree.ts";
import { roomImports } from "./tidy-imports.ts";
import { tidy } from "./tidy.ts";

const taxonomy = {
  errorTable: { LINK_LOST: { kind: "retry", exit: 4, advice: "wait | or restart" } },
  exitCodes: { done: 0 },
};

const header = "/**\n * A file.\n */\n";
const open = "TO" + "DO";

/** A small tree without any fault, with `changes` laid over it; undefined removes a file. */
function treeWith(changes: Record<string, string | undefined> = {}): Map<string, string> {
  const errors =
    "<!-- errors:begin -->\n<!-- errors:end -->\n<!-- exits:begin -->\n<!-- exits:end -->";
  const tree = new Map<string, string>([
    [
      "package.json",
      JSON.stringify({
        bin: { lockstep: "dist/src/cli/main.js" },
        dependencies: { commander: "1.0.0" },
        devDependencies: { "fast-check": "1.0.0" },
      }),
    ],
    ["src/base/index.ts", 'export { ringSlotsMax } from "./ring.ts";\n'],
    ["src/base/ring.ts", `${header}export const ringSlotsMax = 64 * 1024;\n`],
    ["src/cli/main.test.ts", "\n"],
    ["src/base/ring.test.ts", 'import assert from "node:assert/strict";\n'],
    ["src/wire/index.ts", 'export { encode } from "./frame.ts";\n'],
    ["src/wire/frame.ts", `${header}import { ringSlotsMax } from "../base/index.ts";\n`],
    [
      "src/cli/main.ts",
      header +
        'import { Command } from "commander";\n' +
        'import { ringSlotsMax } from "../base/index.ts";\n' +
        'import { encode } from "../session/index.ts";\n',
    ],
    ["src/session/index.ts", 'export { run } from "./run.ts";\n'],
    ["src/session/run.ts", `${header}import {\n  encode,\n} from "../wire/index.ts";\n`],
    [
      "LIMITS.md",
      "| name | value | unit | what happens | source |\n|---|---|---|---|---|\n" +
        "| slots of a ring | 65536 | slots | writer waits | `src/base/ring.ts:ringSlotsMax` |\n",
    ],
    [
      "docs/dependencies.md",
      "| package | why |\n|---|---|\n| `commander` | arguments |\n| `fast-check` | tests |\n",
    ],
    ["ARCHITECTURE.md", roomTable()],
    ["ERRORS.md", renderErrorsPage(errors, taxonomy.errorTable, taxonomy.exitCodes) ?? ""],
  ]);
  tree.set("test/all.ts", renderTestList(tree.keys()));
  for (const [path, text] of Object.entries(changes)) {
    if (text === undefined) tree.delete(path);
    else tree.set(path, text);
  }
  return tree;
}

function roomTable(): string {
  const rows = Object.entries(roomImports).map(([room, imports]) => {
    return `| ${room} | ${imports.length === 0 ? "nothing" : imports.join(", ")} |\n`;
  });
  return `| room | may import |\n|---|---|\n${rows.join("")}`;
}

/** The complaints of one rule about a tree. */
function complaintsOf(rule: string, changes: Record<string, string | undefined>): string[] {
  const { complaints } = tidy(treeWith(changes), taxonomy);
  return complaints.filter((text) => text.endsWith(`[${rule}]`));
}

/** Asserts that the rule fires once, with a message that matches, and no other rule does. */
function assertOnly(rule: string, message: RegExp, changes: Record<string, string | undefined>) {
  const { complaints } = tidy(treeWith(changes), taxonomy);
  assert.deepEqual(complaints.length, 1, complaints.join("\n"));
  assert.match(complaints[0] ?? "", message);
  assert.ok(complaints[0]?.endsWith(`[${rule}]`), complaints[0]);
}

test("a tidy tree has no complaints, and every rule looked at something", () => {
  const { complaints, results } = tidy(treeWith(), taxonomy);
  assert.deepEqual(complaints, []);
  for (const [rule, { checkedCount }] of results) assert.ok(checkedCount > 0, rule);
});

test("a tree with nothing to look at fails in every rule", () => {
  const { complaints, results } = tidy(new Map(), { errorTable: {}, exitCodes: {} });
  for (const rule of results.keys()) {
    assert.ok(complaints.includes(`${rule}: looked at nothing`), rule);
  }
});

test("the real tree is read: its sources and the taxonomy are there", () => {
  const tree = readTree();
  assert.ok(tree.has("src/base/errors.ts"));
  assert.ok(![...tree.keys()].some((path) => path.startsWith("node_modules/")));
  assert.ok(Object.keys(errorTable).length > 10);
  assert.equal(ExitCode.done, 0);
});

test("a room that imports against the direction is named", () => {
  assertOnly("direction", /base may import nothing, not wire/, {
    "src/base/ring.ts":
      `${header}import { x } from "../wire/index.ts";\n` + "const ringSlotsMax = 65536;\n",
  });
});

test("dynamic imports and workers count as imports", () => {
  const text = `${header}const x = await import("../cli/index.ts");\n`;
  assert.match(complaintsOf("direction", { "src/wire/frame.ts": text })[0] ?? "", /not cli/);
  const worker = `${header}new Worker(new URL("../apply/index.js", import.meta.url));\n`;
  assert.match(complaintsOf("direction", { "src/wire/frame.ts": worker })[0] ?? "", /not apply/);
});

test("a room outside the table is refused", () => {
  const changes = {
    "src/extra/index.ts": 'import { x } from "../base/index.ts";\n',
    "src/cli/main.ts": `${header}import { y } from "../extra/index.ts";\n`,
  };
  const complaints = complaintsOf("direction", changes);
  assert.ok(complaints.some((text) => text.includes("room extra is not in the table")));
});

test("product code may not import test/, a test of a room may", () => {
  const text = 'import { suite } from "../../test/contract/link.ts";\n';
  const suite = { "test/contract/link.ts": "export const suite = 1;\n" };
  assertOnly("direction", /src may not import test\/contract\/link.ts/, {
    ...suite,
    "src/wire/frame.ts": header + text,
  });
  assert.deepEqual(complaintsOf("direction", { ...suite, "src/base/ring.test.ts": text }), []);
});

test("another room is entered only through its door", () => {
  assertOnly("doors", /index.ts instead of src\/base\/ring.ts/, {
    "src/wire/frame.ts": `${header}import type { X } from "../base/ring.ts";\n`,
  });
  assert.equal(
    complaintsOf("doors", { "test/x.ts": 'import { y } from "../src/base/ring.ts";\n' }).length,
    1,
  );
  const runsFuzzer = 'import { y } from "../src/base/ring.fuzz.ts";\n';
  assert.equal(complaintsOf("doors", { "test/x.ts": runsFuzzer }).length, 0);
});

test("a door names its exports, and specifiers have their extension", () => {
  assertOnly("doors", /no `export \*`/, { "src/base/index.ts": 'export * from "./ring.ts";\n' });
  assert.match(
    complaintsOf("doors", { "src/wire/frame.ts": `${header}import { a } from "./x";\n` })[0] ?? "",
    /must end in \.ts/,
  );
});

test("the real world is for the edges: session takes a World", () => {
  const real = { "src/world/node/index.ts": "export { clock };\n" };
  const text = `${header}import { clock } from "../world/node/index.ts";\n`;
  assert.equal(complaintsOf("doors", { ...real, "src/session/run.ts": text }).length, 1);
  assert.deepEqual(complaintsOf("doors", { ...real, "src/capture/scan.ts": text }), []);
});

test("node modules are only for the rooms at the edge, and for tests", () => {
  const text = `${header}import type { Socket } from "node:net";\n`;
  assertOnly("foreign imports", /node:net only in world\/node/, { "src/wire/frame.ts": text });
  const changes = { "src/transport/tcp.ts": text, "src/world/node/clock.ts": text };
  assert.deepEqual(complaintsOf("foreign imports", changes), []);
});

test("packages must be declared, and for the product at run time", () => {
  const importOf = (name: string): string => `${header}import { x } from "${name}";\n`;
  assertOnly("foreign imports", /left-pad is not in package.json/, {
    "src/wire/frame.ts": importOf("left-pad/sub"),
  });
  assertOnly("foreign imports", /only a development dependency/, {
    "src/wire/frame.ts": importOf("fast-check"),
  });
  assert.deepEqual(
    complaintsOf("foreign imports", { "src/base/ring.test.ts": importOf("fast-check") }),
    [],
  );
});

test("a file that nothing imports is dead; entries and tests are not", () => {
  assertOnly("dead files", /src\/wire\/old.ts: nothing imports/, { "src/wire/old.ts": header });
  const own = `${header}import { x } from "./old.ts";\n`;
  assert.equal(complaintsOf("dead files", { "src/wire/old.ts": own }).length, 1);
});

test("what others wrote keeps its names and its width", () => {
  const path = "native/bpf/vendor/common.h";
  const changes = { [path]: "x".repeat(120) };
  assert.deepEqual(tidy(treeWith(changes), taxonomy).complaints, []);
  assert.equal(
    tidy(treeWith({ "native/common.h": "x".repeat(120) }), taxonomy).complaints.length,
    2,
  );
});

test("names that name nothing, and names that are not kebab-case", () => {
  const used = `${header}import { x } from "./wire-utils.ts";\n`;
  assertOnly("names", /"utils" says nothing/, {
    "src/wire/frame.ts": used,
    "src/wire/wire-utils.ts": header,
  });
  assert.equal(complaintsOf("names", { "src/wire/common/x.ts": header }).length, 1);
  assert.equal(complaintsOf("names", { "src/wire/frameCodec.ts": header }).length, 1);
});

test("a file of 601 lines is too long, unless it is a test or generated", () => {
  const long = header + "const x = 1;\n".repeat(598);
  assertOnly("length", /601 lines; at most 600/, { "src/wire/frame.ts": long });
  assert.deepEqual(complaintsOf("length", { "src/base/ring.test.ts": long }), []);
  const generated = `/* Generated: by a program */\n${long}`;
  assert.deepEqual(complaintsOf("length", { "src/wire/frame.ts": generated }), []);
  assert.deepEqual(
    complaintsOf("length", { "src/wire/frame.ts": header + "const x = 1;\n".repeat(597) }),
    [],
  );
});

test("a line of 101 columns is too wide, unless it holds an address", () => {
  const wide = (text: string): string => `${header}// ${text.padEnd(98, "x")}\n`;
  assertOnly("columns", /line 4 has 101 columns/, { "src/wire/frame.ts": wide("") });
  assert.deepEqual(complaintsOf("columns", { "src/wire/frame.ts": wide("https://a.b/") }), []);
  assert.equal(complaintsOf("columns", { lockstep: wide("") }).length, 1);
});

test("a source file without a header is named", () => {
  assertOnly("headers", /begin with a/, { "src/wire/frame.ts": "export const x = 1;\n" });
  assert.deepEqual(
    complaintsOf("headers", { "src/cli/main.ts": `#!/usr/bin/env node\n${header}` }),
    [],
  );
});

test("open work without an issue, and notes to self", () => {
  assertOnly("open work", /line 4/, { "src/wire/frame.ts": `${header}// ${open}: later\n` });
  assert.deepEqual(
    complaintsOf("open work", { "src/wire/frame.ts": `${header}// ${open}(#12): later\n` }),
    [],
  );
  const fix = `${header}// ${"FIX" + "ME"} soon\n`;
  assert.equal(complaintsOf("open work", { "src/wire/frame.ts": fix }).length, 1);
});

test("a test that test/all.ts does not import would never run", () => {
  assertOnly("test list", /npm run gen/, { "src/wire/frame.test.ts": "" });
  assertOnly("test list", /npm run gen/, { "src/base/ring.test.ts": undefined });
});

test("ERRORS.md must have every code, with its exit code and advice, and no other", () => {
  const page = treeWith().get("ERRORS.md") ?? "";
  const row = page.split("\n").find((line) => line.includes("LINK_LOST")) ?? "";
  assertOnly("errors", /lacks: \| LINK_LOST/, { "ERRORS.md": page.replace(`${row}\n`, "") });
  assertOnly("errors", /not in the code: \| GHOST/, {
    "ERRORS.md": page.replace(row, `${row}\n| GHOST | fatal | 3 | boo |`),
  });
  for (const [was, is] of [
    ["| 4 |", "| 5 |"],
    ["| retry |", "| fatal |"],
    ["wait", "do not wait"],
    ["| 0 | done |", "| 9 | done |"],
  ] as const) {
    assert.ok(page.includes(was));
    assert.equal(complaintsOf("errors", { "ERRORS.md": page.replace(was, is) }).length, 2, was);
  }
  assert.match(complaintsOf("errors", { "ERRORS.md": "" })[0] ?? "", /markers/);
});

test("LIMITS.md must have every limit of the code, with its value", () => {
  const page = treeWith().get("LIMITS.md") ?? "";
  assertOnly("limits", /says 65535, but/, { "LIMITS.md": page.replace("65536", "65535") });
  assertOnly("limits", /there is no constant src\/base\/ring.ts:gone/, {
    "LIMITS.md": `${page}| x | 1 | B | stops | src/base/ring.ts:gone |\n`,
  });
  assertOnly("limits", /lacks a row for src\/wire\/frame.ts:frameBytesMax \(1 << 20\)/, {
    "src/wire/frame.ts": `${header}export const frameBytesMax = 1 << 20;\n`,
  });
  assertOnly("limits", /say the unit/, { "LIMITS.md": page.replace("| slots |", "| |") });
});

test("limits are compared by value: products, shifts, powers, separators, defines", () => {
  const page = treeWith().get("LIMITS.md") ?? "";
  const row = (value: string, source: string): string =>
    `${page}| x | ${value} | B | y | ${source} |\n`;
  for (const [code, value] of [
    ["1 << 20", "1_048_576"],
    ["2 ** 20", "1,048,576"],
    ["1_048_576n", "1024 * 1024"],
    ["ringSlotsMax / 2", "ringSlotsMax / 2"],
  ] as const) {
    const changes = {
      "src/wire/frame.ts": `${header}export const frameBytesMax: number = ${code};\n`,
      "LIMITS.md": row(value, "src/wire/frame.ts:frameBytesMax"),
    };
    assert.deepEqual(complaintsOf("limits", changes), [], code);
  }
  const native = {
    "native/bpf/capture.h": "#define RING_BYTES (1 << 22) /* bytes */\n",
    "LIMITS.md": row("4194304", "native/bpf/capture.h:RING_BYTES"),
  };
  assert.deepEqual(complaintsOf("limits", native), []);
});

test("the properties of an object of limits are limits", () => {
  const page = treeWith().get("LIMITS.md") ?? "";
  const code =
    "export const linkLimits: LinkLimits = {\n" +
    "  /** Unsent, so: many. */\n  bytesMax: 1 << 20,\n  lingerMs: 5_000, // then cut\n};\n";
  const row = (name: string, value: string): string =>
    `| x | ${value} | B | y | src/wire/frame.ts:linkLimits.${name} |\n`;
  const complaints = complaintsOf("limits", { "src/wire/frame.ts": header + code });
  assert.equal(complaints.length, 2);
  assert.match(complaints[1] ?? "", /linkLimits.lingerMs \(5_000\)/);
  const rows = row("bytesMax", "1048576") + row("lingerMs", "5000");
  const changes = { "src/wire/frame.ts": header + code, "LIMITS.md": page + rows };
  assert.deepEqual(complaintsOf("limits", changes), []);
});

test("the table of rooms in ARCHITECTURE.md is the one that is enforced", () => {
  const page = roomTable();
  assertOnly("room table", /must say that wire may import base, model/, {
    "ARCHITECTURE.md": page.replace("| wire | base, model |", "| wire | base |"),
  });
  assertOnly("room table", /there is no room attic/, {
    "ARCHITECTURE.md": `${page}| attic | base |\n`,
  });
});

test("every dependency has its reason, and every reason a dependency", () => {
  const page = treeWith().get("docs/dependencies.md") ?? "";
  assertOnly("dependencies", /fast-check has no row/, {
    "docs/dependencies.md": page.replace("| `fast-check` | tests |\n", ""),
  });
  assertOnly("dependencies", /left-pad is not in package.json/, {
    "docs/dependencies.md": `${page}| \`left-pad\` | padding |\n`,
  });
});

test("a page without markers is refused rather than overwritten", () => {
  assert.equal(replaceBetweenMarkers("no markers", "errors", "x"), undefined);
  const reversed = "<!-- a:end --> <!-- a:begin -->";
  assert.equal(replaceBetweenMarkers(reversed, "a", "x"), undefined);
});
