/** The committed manual page is the one that the argument table gives. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { commandTable, globalOptions } from "../../src/cli/index.ts";
import { programVersion } from "../../src/session/index.ts";
import { manPath, renderManPage } from "../../tools/gen-man.ts";

test("man/lockstep.1 is generated from the argument table: `npm run gen`", () => {
  assert.equal(readFileSync(manPath, "utf8"), renderManPage(programVersion));
});

test("the manual has each command, option and exit code", () => {
  const page = renderManPage("0").replaceAll("\\-", "-");
  for (const row of commandTable) {
    assert.ok(page.includes(`.SS lockstep ${row.name}`), row.name);
    for (const { long } of row.options) assert.ok(page.includes(`\\fB${long}\\fR`), long);
  }
  for (const { long } of globalOptions) assert.ok(page.includes(`\\fB${long}\\fR`), long);
  for (const code of [0, 1, 2, 3, 4, 5, 70]) assert.ok(page.includes(`.TP\n\\fB${code}\\fR\n`));
});
