// The page of all logs: what was found, then what comes in. New lines follow while the reader is at the end; when
// paused (space) or scrolled away they wait behind "12 new". Never more than 2,000 lines are kept.
import { fill, h, pageData } from "./dom.js";
import { short } from "./numbers.js";
import { absolute, clockTime, exactTime } from "./time.js";

const MOST = 2000;
const BACKLOG = 500;
const RETRY_MS = 4000;
const AT_END_PX = 32;
/** @type {Record<string, string>} */
const STATES = { ERROR: "bad", FATAL: "bad", CRITICAL: "bad", WARN: "warn", WARNING: "warn", INFO: "idle", DEBUG: "idle" };

const data = pageData("page-data");
const list = /** @type {HTMLElement | null} */ (document.querySelector("[data-lines]"));
const pause = /** @type {HTMLButtonElement} */ (document.querySelector("[data-pause]"));
const badge = /** @type {HTMLElement} */ (document.querySelector("[data-live]"));
const count = /** @type {HTMLElement} */ (document.querySelector("[data-count]"));
const waitingButton = /** @type {HTMLButtonElement | null} */ (document.querySelector("[data-waiting]"));

let paused = false;
let connected = false;
/** @type {HTMLElement[]} */
let waiting = [];
let waited = 0;
let planned = 0;

/** @param {any} record @returns {HTMLElement} */
function line(record) {
  const ms = Date.parse(record.timestamp);
  const pairs = Object.entries(record.context ?? {}).map(([key, value]) => h("span", { class: "pair" }, h("b", {}, `${key}=`), typeof value === "string" ? value : JSON.stringify(value)));
  const element = h("div", {
    class: "log-line", "data-time": record.timestamp, "aria-expanded": "false",
    onclick: (/** @type {Event} */ event) => {
      if (getSelection()?.toString() || /** @type {Element} */ (event.target).closest("a")) return;
      const open = element.getAttribute("aria-expanded") !== "true";
      element.setAttribute("aria-expanded", String(open));
      if (open && !element.querySelector(".log-facts")) element.append(facts(record, ms));
    },
  },
  h("time", { title: absolute(ms), datetime: record.timestamp }, exactTime(ms)),
  h("span", { class: "level state", "data-state": STATES[record.level] ?? "idle" }, record.level),
  h("span", { class: "component", title: [record.service, record.component, record.worker_id].filter(Boolean).join(" · ") }, record.component || record.service),
  h("span", { class: "what" }, record.event ? h("b", {}, record.event) : null, ...pairs),
  h("span", { class: "at" }, record.trace_id ? h("a", { href: traceOf(record), title: `trace ${record.trace_id}` }, "trace") : null));
  return element;
}

/** @param {any} record @returns {string} */
const traceOf = (record) => `/traces/${encodeURIComponent(record.trace_id)}${record.span_id ? `#span=${record.span_id}` : ""}`;

/** @param {any} record @param {number} ms @returns {HTMLElement} all that a record says beside its event, each a way on */
function facts(record, ms) {
  const only = (/** @type {string} */ name, /** @type {string} */ value) => {
    const url = new URL(location.href);
    url.searchParams.set(name, value);
    return h("a", { href: url.pathname + url.search, title: `only lines with this ${name}` }, value);
  };
  /** @type {[string, Node | string][]} */
  const rows = [["time", `${absolute(ms)} (${record.timestamp})`]];
  for (const name of ["event", "service", "component", "worker_id"]) if (record[name]) rows.push([name, only(name, record[name])]);
  if (record.request_id) rows.push(["video", h("span", {}, h("a", { href: `/videos/${encodeURIComponent(record.request_id)}` }, short(record.request_id)), " ", only("request_id", record.request_id))]);
  if (record.trace_id) rows.push(["trace", h("span", {}, h("a", { href: traceOf(record) }, short(record.trace_id)), " ", only("trace_id", record.trace_id))]);
  return h("dl", { class: "log-facts" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

const atEnd = () => !list || list.scrollHeight - list.scrollTop - list.clientHeight < AT_END_PX;

/** @param {HTMLElement[]} lines */
function append(lines) {
  if (!list) return;
  list.querySelector(".log-none")?.remove();
  list.append(...lines.slice(-MOST));
  while (list.childElementCount > MOST) list.firstElementChild?.remove();
  say();
}

function flush() {
  planned = 0;
  if (!list || paused || !atEnd()) return showWaiting();
  append(waiting);
  waiting = [];
  waited = 0;
  list.scrollTop = list.scrollHeight;
  showWaiting();
}

function showWaiting() {
  if (!waitingButton) return;
  waitingButton.hidden = !waited;
  waitingButton.textContent = `${waited} new${waited > MOST ? `, the last ${MOST} are kept` : ""}`;
}

/** @param {HTMLElement} element */
function take(element) {
  waiting.push(element);
  waited += 1;
  if (waiting.length > MOST) waiting.splice(0, waiting.length - MOST);
  if (!planned) planned = setTimeout(flush, 50); // a batch is drawn at once
}

function say() {
  const shown = list?.querySelectorAll(".log-line").length ?? 0;
  const none = list?.querySelector(".log-none");
  if (list && !shown && !none) {
    fill(list, h("div", { class: "log-none" }, data.filtered
      ? h("p", {}, "No line fits. ", data.tail === null ? null : "New ones that do will show here. ", h("a", { href: "/logs" }, "Show all lines"))
      : h("p", {}, "No log lines yet. Any OpenTelemetry exporter can send some; or make a video: ", h("code", {}, 'rushes generate "a blue square moves left" --model OPENSORA'))));
  }
  count.textContent = shown ? `${shown === 1 ? "1 line" : `${shown} lines`}${shown >= BACKLOG && data.tail === null ? ", the newest that fit" : ""}` : "";
}

function follow() {
  /** @type {EventSource | null} */
  let source = null;
  let timer = 0;
  const open = () => {
    if (source || document.hidden) return;
    clearTimeout(timer);
    let first = true;
    source = new EventSource(`/api/logs/tail?${data.tail}${data.tail ? "&" : ""}limit=${BACKLOG}`);
    source.addEventListener("open", () => {
      if (first) { // it begins with what the page has already: that makes place for it
        list?.replaceChildren();
        waiting = [];
        waited = 0;
        first = false;
        setTimeout(say, 1000);
      }
      live(true);
    });
    source.addEventListener("message", (event) => take(line(JSON.parse(event.data))));
    source.addEventListener("note", (event) => {
      const { note } = JSON.parse(/** @type {MessageEvent} */ (event).data);
      take(h("p", { class: "log-note" }, `${clockTime(Date.now())} ${note}`));
      waited -= 1;
    });
    source.addEventListener("error", () => {
      live(false);
      if (source?.readyState === EventSource.CLOSED) {
        source = null;
        timer = setTimeout(open, RETRY_MS);
      }
    });
  };
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  // a paused page keeps what it shows: it would begin anew
  document.addEventListener("visibilitychange", () => (document.hidden ? paused || close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

/** @param {boolean} [now] whether the tail is being received; as it was, if nothing is said */
function live(now = connected) {
  connected = now;
  badge.hidden = false;
  badge.textContent = paused ? "Paused" : connected ? "Live" : "Reconnecting";
  badge.toggleAttribute("data-lost", paused || !connected);
}

function toggle() {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  live();
  if (!paused) toEnd();
}

function toEnd() {
  if (list) list.scrollTop = list.scrollHeight;
  if (paused) toggle();
  else flush();
}

if (list) {
  append(data.lines.map(line));
  list.scrollTop = list.scrollHeight;
  list.addEventListener("scroll", () => atEnd() && waited && flush());
  waitingButton?.addEventListener("click", toEnd);
  if (data.tail !== null) {
    pause.hidden = false;
    pause.addEventListener("click", toggle);
    document.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (event.target instanceof Element && event.target.closest("input, select, textarea, button, a, summary")) return;
      event.preventDefault();
      toggle();
    });
    follow();
  }
}
