// What every page does: the reader's choice of light or dark, and tables that sort by a column.
"use strict";
(() => {
  const root = document.documentElement;
  const kept = {
    get() { try { return localStorage.getItem("harness-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("harness-theme", value); } catch { /* not kept */ } },
  };
  const system = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const chosen = kept.get();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  const themeButton = () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const other = () => ((root.dataset.theme || system()) === "dark" ? "light" : "dark");
    const name = () => { button.textContent = other() === "dark" ? "Dark" : "Light"; };
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      root.dataset.theme = other();
      kept.set(root.dataset.theme);
      name();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  };

  // <table data-sortable>: <th data-sort="number|text"> become buttons. A cell's data-value, if it
  // has one, is what is sorted by; cells without a value stay last either way.
  const keyOf = (row, column, kind) => {
    const cell = row.cells[column];
    const value = (cell && (cell.dataset.value ?? cell.textContent)).trim();
    return kind === "number" ? (value === "" ? NaN : Number(value)) : value.toLowerCase();
  };
  const compare = (a, b, kind) => (kind === "number" ? a - b : a.localeCompare(b));
  const sort = (table, header, column) => {
    const kind = header.dataset.sort;
    const next = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", next);
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, key: keyOf(row, column, kind) }));
    const lacks = (one) => one.key === "" || Number.isNaN(one.key);
    rows.sort((a, b) => {
      if (lacks(a) || lacks(b)) return lacks(a) - lacks(b) || a.place - b.place;
      const way = next === "ascending" ? 1 : -1;
      return way * compare(a.key, b.key, kind) || a.place - b.place;
    });
    body.append(...rows.map((one) => one.row));
  };
  const sortableTables = () => {
    for (const table of document.querySelectorAll("table[data-sortable]")) {
      [...table.tHead.rows[0].cells].forEach((header, column) => {
        if (!header.dataset.sort) return;
        const button = document.createElement("button");
        button.type = "button";
        button.append(...header.childNodes);
        header.append(button);
        button.addEventListener("click", () => sort(table, header, column));
      });
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    sortableTables();
  });
})();
