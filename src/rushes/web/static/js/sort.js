// Tables that sort by a click on their head.
import { h } from "./dom.js";

/** @typedef {string | number | null} Key */

/**
 * @param {HTMLTableElement} table
 * @returns {() => void} sorts again by the chosen column, if one was chosen: for rows that came or changed since
 */
export function sortable(table) {
  /** @type {{column: number, down: boolean} | null} */
  let chosen = null;
  const again = () => {
    if (!chosen) return;
    const { column, down } = chosen;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column])]));
    const sorted = [...rows].sort((a, b) => compare(keys.get(a) ?? null, keys.get(b) ?? null, down));
    if (sorted.every((row, at) => row === rows[at])) return; // moving rows would take the focus from them
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    body.append(...sorted);
    if (focused && body.contains(focused)) focused.focus({ preventScroll: true });
  };
  table.querySelectorAll("thead th").forEach((cell, column) => {
    const head = /** @type {HTMLElement} */ (cell);
    const button = h("button", { type: "button" }, head.textContent ?? "");
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      chosen = { column, down };
      again();
    });
  });
  return again;
}

/** @param {HTMLTableCellElement} field @returns {Key} null where nothing is known */
function keyOf(field) {
  const text = field.dataset.sort ?? field.textContent?.trim() ?? "";
  if (text === "") return null;
  return Number.isNaN(Number(text)) ? text : Number(text);
}

/** What is not known comes last either way. @param {Key} a @param {Key} b @param {boolean} down @returns {number} */
function compare(a, b, down) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return down ? -order : order;
}
