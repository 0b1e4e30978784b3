// The list of videos, kept up to date. New rows wait while the reader is further down the list.
import { h } from "./dom.js";
import { follow } from "./live.js";
import { short } from "./numbers.js";
import { sortable } from "./sort.js";

const table = /** @type {HTMLTableElement} */ (document.querySelector("[data-videos]"));
const body = table.tBodies[0];
const empty = /** @type {HTMLElement} */ (document.querySelector("[data-empty]"));
const template = /** @type {HTMLTemplateElement} */ (document.getElementById("video-row"));
const AT_TOP_PX = 80;
const KEPT = 100;
const sortAgain = sortable(table);

/** @type {Map<string, any>} rows that wait to be shown */
const waiting = new Map();
/** @type {Set<string>} rows that wait to be taken away */
const leaving = new Set();
const more = /** @type {HTMLButtonElement} */ (h("button", { type: "button", class: "log-new", hidden: true, onclick: () => { scrollTo(0, 0); settle(); } }));
table.before(more);

/** @param {string} id @returns {HTMLTableRowElement | null} */
const rowOf = (id) => body.querySelector(`tr[data-id="${CSS.escape(id)}"]`);

/** @param {HTMLTableRowElement} row @param {any} video */
function write(row, video) {
  const field = (/** @type {string} */ name) => /** @type {HTMLElement} */ (row.querySelector(`[data-field="${name}"]`));
  const text = (/** @type {string} */ name, /** @type {string} */ value) => {
    const place = field(name);
    if (place.textContent !== value) place.textContent = value;
  };
  text("status", video.status);
  field("status").dataset.state = video.state;
  for (const name of ["model", "tier", "shape", "steps", "took"]) text(name, video[name]);
  for (const name of ["model", "tier", "shape"]) field(name).title = video[name];
  field("silent").hidden = !video.silent_ms;
  field("silent").querySelector("rushes-time")?.setAttribute("ms", String(video.silent_ms));
  const sortBy = (/** @type {string} */ name, /** @type {any} */ value) => {
    const cell = field(name).closest("td");
    if (cell) cell.dataset.sort = String(value);
  };
  sortBy("steps", video.total ? video.step : "");
  sortBy("took", video.took_s);
  text("short", short(video.id));
  field("took").title = video.took_exact;
  field("swatch").dataset.tone = String(video.tone);
  field("progress").hidden = !(video.running && video.total);
  const progress = /** @type {HTMLProgressElement} */ (field("progress").querySelector("progress"));
  progress.max = video.total || 1;
  progress.value = video.step;
}

/** @param {any} video @param {boolean} slide */
function insert(video, slide) {
  const row = /** @type {HTMLTableRowElement} */ (
    /** @type {DocumentFragment} */ (template.content.cloneNode(true)).querySelector("tr")
  );
  row.dataset.id = video.id;
  row.dataset.accepted = String(video.accepted_ms);
  /** @type {HTMLAnchorElement} */ (row.querySelector(".row-link")).href = `/videos/${encodeURIComponent(video.id)}`;
  const accepted = /** @type {HTMLElement} */ (row.querySelector("rushes-time:not([clock])"));
  accepted.setAttribute("ms", String(video.accepted_ms));
  /** @type {HTMLElement} */ (accepted.closest("td")).dataset.sort = String(video.accepted_ms);
  write(row, video);
  if (slide) {
    row.classList.add("new");
    row.addEventListener("animationend", () => row.classList.remove("new"), { once: true });
  }
  const after = [...body.rows].find((other) => Number(other.dataset.accepted) <= video.accepted_ms);
  body.insertBefore(row, after ?? null);
}

function settle() {
  for (const id of leaving) rowOf(id)?.remove();
  for (const video of waiting.values()) insert(video, true);
  leaving.clear();
  waiting.clear();
  const oldest = [...body.rows].sort((a, b) => Number(b.dataset.accepted) - Number(a.dataset.accepted)).slice(KEPT);
  for (const row of oldest) row.remove();
  sortAgain();
  table.hidden = body.rows.length === 0;
  empty.hidden = !table.hidden;
  more.hidden = true;
}

addEventListener("scroll", () => scrollY < AT_TOP_PX && (waiting.size || leaving.size) && settle(), { passive: true });

const from = table.dataset.liveFrom;
if (from) {
  follow(
    () => from,
    (news) => {
      for (const video of news.rows) {
        const row = rowOf(video.id);
        leaving.delete(video.id);
        if (row) write(row, video);
        else waiting.set(video.id, video);
      }
      for (const id of news.gone) {
        waiting.delete(id);
        leaving.add(id);
      }
      if (scrollY < AT_TOP_PX) settle();
      else {
        more.hidden = waiting.size === 0;
        more.textContent = `${waiting.size} new`;
      }
    },
  );
}
