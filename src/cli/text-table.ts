/** Rows of text as aligned columns, for people. */

/** One line a row; each column is as wide as its widest cell, and two spaces part them. */
export function textTable(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, [...cell].length);
    }
  }
  return rows.map((row) =>
    row
      .map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - [...cell].length))
      .join("  ")
      .trimEnd(),
  );
}
