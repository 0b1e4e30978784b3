// The banner: what is wrong with the control room now, on every page, without a reload. Put away, it stays away
// until something else is wrong; a figure that moves is nothing else.
import { fill, h } from "./dom.js";

const EVERY_MS = 15_000;
const KEY = "rushes.problems";
const SILENT = "The control room does not answer: what this page shows is not up to date";

const banner = /** @type {HTMLElement | null} */ (document.querySelector("[data-banner]"));
let shown = "";
let away = "";
let timer = 0;
let failures = 0;
try {
  away = sessionStorage.getItem(KEY) ?? "";
} catch {
  // storage is switched off: put away on this page alone
}

/** @param {string} text @returns {string} as a sentence */
const sentence = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

/** @param {string[]} problems */
function show(problems) {
  if (!banner) return;
  const kind = problems.join("\n").replace(/[\d.,:]+/g, "#");
  if (!kind) remember("");
  const text = kind && kind === away ? "" : problems.join("\n");
  if (text === shown) return;
  shown = text;
  banner.hidden = !text;
  if (!text) {
    banner.replaceChildren();
    return;
  }
  fill(
    banner,
    h("div", { class: "banner-text" }, ...problems.map((problem) => h("p", { class: "state", "data-state": "bad" }, h("span", {}, sentence(problem))))),
    h("button", { type: "button", title: "Hide until something else is wrong", onclick: () => (remember(kind), show(problems)) }, "Hide"),
  );
}

/** @param {string} kind */
function remember(kind) {
  if (kind === away) return;
  away = kind;
  try {
    if (kind) sessionStorage.setItem(KEY, kind);
    else sessionStorage.removeItem(KEY);
  } catch {
    // as above
  }
}

async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const answer = await fetch("/api/problems", { signal: AbortSignal.timeout(EVERY_MS) });
    const told = answer.ok ? (await answer.json()).problems : [];
    failures = 0;
    if (Array.isArray(told)) show(told.map(String));
  } catch {
    if (++failures > 1) show([SILENT]); // once may be this machine's sleep
  }
  timer = setTimeout(look, failures === 1 ? 3000 : EVERY_MS);
}

/** Begins to look, now and every 15 s while the page is seen. */
export function watchProblems() {
  if (!banner) return;
  document.addEventListener("visibilitychange", look);
  look();
}
