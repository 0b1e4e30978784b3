// Keys that work on every page. Those of one page are its own; all are listed here for `?`.
import { h } from "./dom.js";
import { openPalette } from "./palette.js";

/** @type {[string, string][]} */
const KEYS = [
  ["Ctrl K", "palette: pages, ids"],
  ["/", "search"],
  ["j  k", "next, previous row"],
  ["Enter", "open the row"],
  ["← →", "collapse, expand a span"],
  ["e", "next failed span"],
  ["d", "time range"],
  ["f", "full screen"],
  ["Space", "pause the log"],
  ["Esc", "close, reset the zoom"],
  ["?", "these keys"],
];

export function showKeys() {
  if (document.querySelector("dialog[open]")) return;
  const close = h("button", { class: "close", type: "button" }, "Close");
  const dialog = /** @type {HTMLDialogElement} */ (
    h("dialog", { "aria-labelledby": "keys-title" }, close, h("h2", { id: "keys-title" }, "Keys"),
      h("dl", { class: "keys-list" }, ...KEYS.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])))
  );
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** @param {number} by moves the current row of the page's list @returns {boolean} whether there is one */
function moveRow(by) {
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("table.list tbody tr")]);
  if (!rows.length) return false;
  const at = rows.findIndex((row) => row.hasAttribute("data-current"));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  rows[at]?.removeAttribute("data-current");
  next.setAttribute("data-current", "");
  const link = /** @type {HTMLElement | null} */ (next.querySelector(".row-link"));
  link?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  return true;
}

/** @param {EventTarget | null} target @returns {boolean} */
function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName));
}

export function listenForKeys() {
  document.addEventListener("keydown", (event) => {
    if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      openPalette();
      return;
    }
    if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key === "Escape" && typing(event.target)) {
      /** @type {HTMLElement} */ (event.target).blur();
      return;
    }
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      const field = /** @type {HTMLElement | null} */ (document.querySelector("[data-search]"));
      if (field) field.focus();
      else openPalette();
    } else if (event.key === "?") showKeys();
    else if (event.key === "j" || event.key === "k") {
      if (!moveRow(event.key === "j" ? 1 : -1)) return; // then it is the waterfall's
    } else if (event.key === "d") {
      const picker = document.querySelector(".picker details, [data-more]");
      if (!picker) return;
      picker.setAttribute("open", "");
      /** @type {HTMLElement | null} */ (picker.querySelector("input[type=datetime-local]"))?.focus();
    } else if (event.key === "f") {
      if (document.fullscreenElement) document.exitFullscreen();
      else document.documentElement.requestFullscreen();
    } else return;
    event.preventDefault();
  });
}
