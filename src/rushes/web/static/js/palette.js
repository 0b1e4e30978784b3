// The palette (Cmd/Ctrl K, /): pages by name, and any id that is pasted.
import { announce, fill, h } from "./dom.js";

/** @type {[string, string][]} */
const PAGES = [
  ["Operations", "/"],
  ["Operations, last 24 h", "/?range=24h"],
  ["Videos", "/videos"],
  ["Videos, generating", "/videos?status=generating"],
  ["Videos, failed", "/videos?status=failed"],
  ["Traces", "/traces"],
  ["Traces with errors", "/traces?status=error"],
  ["Logs", "/logs"],
  ["Logs, errors", "/logs?min_level=ERROR"],
  ["Metrics", "/explore"],
];

/** @type {HTMLDialogElement | null} */
let dialog = null;

export function openPalette() {
  if (dialog) return;
  let current = 0;
  /** @type {[string, string][]} */
  let found = [];
  const input = /** @type {HTMLInputElement} */ (
    h("input", {
      type: "search",
      placeholder: "Page, video id or trace id",
      "aria-label": "Page, video id or trace id",
      autocomplete: "off",
      spellcheck: "false",
      role: "combobox",
      "aria-expanded": "true",
      "aria-controls": "palette-list",
    })
  );
  const list = h("ul", { id: "palette-list", role: "listbox", "aria-label": "Results" });
  const go = (/** @type {number} */ at) => {
    if (found[at]) location.assign(found[at][1]);
  };
  const find = () => location.assign(`/find?q=${encodeURIComponent(input.value.trim())}`);
  const show = () => {
    const text = input.value.trim();
    fill(
      list,
      found.length ? null : h("li", { class: "nothing", onclick: find }, h("span", {}, "Nothing found. Enter searches the ids for it."), h("span", { class: "faint mono" }, text.slice(0, 24))),
      ...found.map(([name, url], at) =>
        h("li", { role: "option", id: `palette-${at}`, "aria-selected": String(at === current), onclick: () => go(at) },
          h("span", {}, name), h("span", { class: "faint mono" }, url.startsWith("/find") ? "" : url)),
      ),
    );
    if (found.length) input.setAttribute("aria-activedescendant", `palette-${current}`);
    else {
      input.removeAttribute("aria-activedescendant");
      announce("nothing found; Enter searches the ids");
    }
  };
  const search = () => {
    const text = input.value.trim();
    current = 0;
    found = PAGES.filter(([name]) => name.toLowerCase().includes(text.toLowerCase()));
    if (/^[0-9a-fA-F]{32}$/.test(text)) found = [[`Open the trace ${text}`, `/find?q=${encodeURIComponent(text)}`]];
    else if (/^[\w.:-]{8,128}$/.test(text) && /\d/.test(text)) {
      found = [[`Open the video ${text}`, `/find?q=${encodeURIComponent(text)}`], ...found];
    }
    show();
  };
  input.addEventListener("input", search);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      current = (current + (event.key === "ArrowDown" ? 1 : found.length - 1)) % Math.max(1, found.length);
      show();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (found.length) go(current);
      else find();
    }
  });
  dialog = /** @type {HTMLDialogElement} */ (h("dialog", { class: "palette", "aria-label": "Search" }, input, list));
  dialog.addEventListener("close", () => {
    dialog?.remove();
    dialog = null;
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog?.close());
  document.body.append(dialog);
  dialog.showModal();
  search();
  input.focus();
}
