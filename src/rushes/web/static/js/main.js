// What every page runs: times, ids, keys, the theme's switch, filters that submit themselves, sorting.
import "./copy-id.js";
import { listenForKeys, showKeys } from "./keys.js";
import { moments } from "./moments.js";
import { openPalette } from "./palette.js";
import { watchProblems } from "./problems.js";
import { sortable } from "./sort.js";
import "./time.js";

listenForKeys();

const select = /** @type {HTMLSelectElement | null} */ (document.querySelector("[data-theme-select]"));
if (select) {
  select.value = document.documentElement.dataset.theme ?? "system";
  select.addEventListener("change", () => {
    if (select.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = select.value;
    try {
      if (select.value === "system") localStorage.removeItem("rushes.theme");
      else localStorage.setItem("rushes.theme", select.value);
    } catch {
      // storage is switched off: the choice holds for this page
    }
    dispatchEvent(new Event("rushes-theme"));
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("rushes-theme")));

document.querySelector('[data-action="keys"]')?.addEventListener("click", showKeys);
document.querySelector('[data-action="palette"]')?.addEventListener("click", openPalette);

const zone = document.querySelector("[data-zone]");
if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

const filters = /** @type {HTMLFormElement | null} */ (document.querySelector("form[data-filters]"));
if (filters) moments(filters, true);
watchProblems();

// the list of videos sorts, too, but on its own, with what comes in live
document.querySelectorAll("table.list:not([data-videos])").forEach((table) => sortable(/** @type {HTMLTableElement} */ (table)));
