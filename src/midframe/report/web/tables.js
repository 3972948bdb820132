// Tables that a click or Enter on a head sorts; incomplete rows and empty cells stay last.
function sortValue(row, index) {
  const cell = row.cells[index];
  if (cell === undefined) return null;
  if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
  const text = cell.textContent.trim();
  return text === "" ? null : text;
}

function compareValues(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortTable(table, index) {
  const heads = [...table.tHead.rows[0].cells];
  const head = heads[index];
  const first = head.classList.contains("num") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  heads.forEach((one) => one.setAttribute("aria-sort", one === head ? order : "none"));
  const sign = order === "ascending" ? 1 : -1;
  for (const body of table.tBodies) {
    const rows = [...body.rows].map((row) => [row, sortValue(row, index)]);
    rows.sort(([rowA, a], [rowB, b]) => {
      const last = rowA.classList.contains("incomplete") - rowB.classList.contains("incomplete");
      if (last) return last;
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compareValues(a, b);
    });
    body.append(...rows.map(([row]) => row));
  }
  said.textContent = `sorted by ${head.textContent.trim()}, ${order}`;
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => sortTable(table, index));
  });
}
