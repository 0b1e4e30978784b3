// <rushes-log>: the log of a trace, filtered by level. New lines follow while the reader is at the end; else they
// wait behind "12 new".
import { fill, h } from "./dom.js";
import { nanoseconds } from "./numbers.js";
import { absolute, exactTime } from "./time.js";

/** @typedef {import("./model.js").Line} Line @typedef {import("./model.js").TraceModel} TraceModel */

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
/** @type {Record<string, string>} */
const STATES = { ERROR: "bad", FATAL: "bad", WARN: "warn", INFO: "idle", DEBUG: "idle" };
const AT_END_PX = 32;

class LogElement extends HTMLElement {
  waiting = 0;

  /** @param {TraceModel} model */
  begin(model) {
    this.model = model;
    this.least = "TRACE";
    this.note = h("span", { class: "strip-note" });
    const level = /** @type {HTMLSelectElement} */ (
      h("select", { "aria-label": "Level" }, ...LEVELS.map((name) => h("option", { value: name }, name === "TRACE" ? "all levels" : `${name} and above`)))
    );
    level.addEventListener("change", () => {
      this.least = level.value;
      this.redraw();
    });
    this.querySelector(".strip-head")?.append(this.note, h("span", { class: "grow" }), level);
    this.list = h("div", { class: "log-lines", role: "log", tabindex: 0, "aria-label": "Log lines" });
    this.more = h("button", { type: "button", class: "log-new", hidden: true, onclick: () => this.toEnd() });
    this.append(this.list);
    this.list.addEventListener("scroll", () => this.atEnd() && this.settle());
    model.addEventListener("lines", (event) => this.add(/** @type {CustomEvent} */ (event).detail));
    model.addEventListener("select", () => this.mark());
    model.addEventListener("spans", () => this.redraw());
    this.redraw();
  }

  atEnd() {
    const { list } = this;
    return !list || list.scrollHeight - list.scrollTop - list.clientHeight < AT_END_PX;
  }

  /** @param {Line} line @returns {boolean} */
  fits(line) {
    const rank = LEVELS.indexOf(line.level);
    return rank < 0 || rank >= LEVELS.indexOf(this.least ?? "TRACE");
  }

  lines() {
    return [...(this.model?.lines.values() ?? [])].filter((line) => this.fits(line)).sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
  }

  redraw() {
    const { list, more, model } = this;
    if (!list || !more || !model) return;
    const top = list.scrollTop;
    const lines = this.lines();
    fill(list, ...(lines.length ? lines.map((line) => this.line(line)) : [h("p", { class: "log-none" }, model.lines.size ? "No line of this level" : "No log lines have arrived")]), more);
    list.scrollTop = top;
    this.showNote();
    this.mark();
  }

  /** @param {Line[]} added */
  add(added) {
    const { list, more } = this;
    if (!list || !more) return;
    const follow = this.atEnd() && list.scrollHeight > list.clientHeight;
    const last = list.querySelector(".log-line:nth-last-child(2)")?.getAttribute("data-time") ?? "";
    const fresh = added.filter((line) => this.fits(line)).sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
    list.querySelector(".log-none")?.remove();
    if (fresh.some((line) => line.timestamp < last)) this.redraw(); // a batch that came late goes to its place
    else for (const line of fresh) list.insertBefore(this.line(line), more);
    if (follow) this.toEnd();
    else if (list.scrollHeight - list.scrollTop - list.clientHeight >= AT_END_PX) {
      this.waiting += fresh.length;
      more.textContent = `${this.waiting} new`;
      more.hidden = this.waiting === 0;
    }
    this.showNote();
  }

  toEnd() {
    if (this.list) this.list.scrollTop = this.list.scrollHeight;
    this.settle();
  }

  settle() {
    this.waiting = 0;
    if (this.more) this.more.hidden = true;
  }

  showNote() {
    const shown = this.lines().length;
    const all = this.model?.lines.size ?? 0;
    if (this.note) this.note.textContent = `${shown === all ? all : `${shown} of ${all}`} ${all === 1 ? "line" : "lines"}`;
  }

  mark() {
    const id = this.model?.selected;
    this.list?.querySelectorAll(".log-line").forEach((line) => line.toggleAttribute("data-current", Boolean(id) && line.getAttribute("data-span") === id));
  }

  /** @param {Line} line @returns {HTMLElement} */
  line(line) {
    const { model } = this;
    const ms = Date.parse(line.timestamp);
    const at = model ? model.offset(line.timestamp) : 0;
    const element = h("div",
      {
        class: "log-line", "data-span": line.span_id, "data-time": line.timestamp, "aria-expanded": "false",
        onclick: () => {
          if (getSelection()?.toString()) return;
          element.setAttribute("aria-expanded", String(element.getAttribute("aria-expanded") !== "true"));
        },
        ondblclick: () => model?.select(line.span_id || null),
        onpointerenter: () => model?.setCursor(at),
        onpointerleave: () => model?.setCursor(null),
      },
      h("time", { title: absolute(ms), datetime: line.timestamp }, exactTime(ms)),
      h("span", { class: "level state", "data-state": STATES[line.level] ?? "idle", title: line.level }, line.level),
      h("span", { class: "component", title: [line.service, line.component, line.worker_id].filter(Boolean).join(" · ") }, line.component || line.service),
      h("span", { class: "what", title: line.event }, line.event,
        ...Object.entries(line.context).map(([key, value]) => h("span", { class: "pair" }, h("b", {}, `${key}=`), value))),
      model?.spans.size ? h("span", { class: "at" }, nanoseconds(at - model.domain[0])) : null);
    return element;
  }
}
customElements.define("rushes-log", LogElement);
export { LogElement };
