// Tables that sort by a click on their head.
import { h } from "./dom.js";

/** @param {HTMLTableElement} table */
export function sortable(table) {
  table.querySelectorAll("thead th").forEach((cell, column) => {
    const head = /** @type {HTMLElement} */ (cell);
    const button = h("button", { type: "button" }, head.textContent ?? "");
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "descending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows];
      const key = (/** @type {HTMLTableRowElement} */ row) => {
        const field = row.cells[column];
        const text = field.dataset.sort ?? field.textContent?.trim() ?? "";
        return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
      };
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return down ? order : -order;
      });
      body.append(...rows);
    });
  });
}
