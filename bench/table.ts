/**
 * A plain text table: columns as wide as their widest cell, the first one flush left, the others
 * flush right. In: strings. Out: lines without trailing blanks. Pure.
 */

/** Renders `rows` under `columns`. Missing cells are empty; surplus cells are a bug and throw. */
export function renderTable(
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  for (const row of rows) {
    if (row.length > columns.length) throw new RangeError("a row has more cells than columns");
  }
  const widths = columns.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    widths
      .map((width, column) => {
        const cell = cells[column] ?? "";
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [line(columns), rule, ...rows.map(line)].join("\n");
}
