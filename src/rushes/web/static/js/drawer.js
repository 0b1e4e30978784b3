// The detail drawer of a span. It takes its room from the page's right side, so that it never covers a row.
import { fill, h } from "./dom.js";
import { nanoseconds, percent, significant } from "./numbers.js";
import { isSum, NAMES, partsOf } from "./parts.js";
import { absolute, exactTime } from "./time.js";
import { sumInWords } from "./waterfall.js";

/** @typedef {import("./model.js").TraceModel} TraceModel */

export class Drawer {
  /** @param {TraceModel} model */
  constructor(model) {
    this.model = model;
    this.element = h("aside", { class: "drawer", "aria-label": "Span", tabindex: -1, hidden: true });
    document.body.append(this.element);
    model.addEventListener("select", () => this.show(true));
    model.addEventListener("spans", () => this.show(false));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && model.selected && !document.querySelector("dialog[open]")) {
        event.preventDefault();
        this.close();
      }
    });
  }

  close() {
    const id = this.model.selected;
    this.model.select(null);
    /** @type {HTMLElement | null} */ (document.querySelector(`.span[data-id="${CSS.escape(id ?? "")}"]`))?.focus({ preventScroll: true });
  }

  /** @param {boolean} changed whether another span was selected, rather than the same one having grown */
  show(changed) {
    const { model, element } = this;
    const span = model.selected ? model.spans.get(model.selected) : undefined;
    element.hidden = !span;
    document.body.classList.toggle("with-drawer", Boolean(span));
    if (changed) {
      const url = new URL(location.href);
      url.hash = span ? `span=${span.id}` : "";
      history.replaceState(null, "", url.hash ? url : url.pathname + url.search);
    }
    if (!span || (!changed && span === this.shown)) return;
    this.shown = span;
    const lines = [...model.lines.values()].filter((line) => line.span_id === span.id).length;
    const start = model.moment(span.start);
    fill(
      element,
      h("header", {}, h("h2", { title: span.name }, span.name || "(no name)"), h("button", { type: "button", onclick: () => this.close(), "aria-label": "Close the span's details" }, "Close")),
      span.status === "error" ? h("p", { class: "state", "data-state": "bad" }, "Failed") : null,
      span.message ? h("p", { class: "message" }, span.message) : null,
      span.missing_parent ? h("p", { class: "faint" }, "The span that this one lies in never came: its process ended before it did, or its batch was lost.") : null,
      isSum(span) ? h("p", { class: "faint" }, `${sumInWords(span).replace(/^a/, "A")}.`) : null,
      h("dl", { class: "facts" },
        fact("Took", nanoseconds(span.dur), `${span.dur} ns`),
        span.self_ns === undefined ? null : fact("Of which itself", nanoseconds(span.self_ns), `${span.self_ns} ns`),
        fact("Begins after", nanoseconds(span.start - model.domain[0])),
        fact("Started", exactTime(start), absolute(start)),
        fact("Service", span.service),
        fact("Kind", span.kind),
        fact("Log lines", String(lines))),
      ...partsOfStep(span),
      ...pairs("Attributes", span.attrs),
      ...(span.events.length ? [h("h3", {}, "Events")] : []),
      ...span.events.map((event) => h("div", { class: "event" },
        h("p", {}, event.name, h("span", { class: "faint" }, ` after ${nanoseconds(event.at - span.start)}`)), dl(event.attrs))),
      ...pairs("Resource", model.resources[span.resource] ?? {}),
      h("h3", {}, "Ids"),
      dl({ span: span.id, ...(span.missing_parent ? { "missing parent": span.missing_parent } : span.parent ? { parent: span.parent } : {}) }),
    );
    if (changed) element.scrollTop = 0;
  }
}

/** @param {import("./model.js").Span} span @returns {HTMLElement[]} what a step's time went to, where it was measured */
function partsOfStep(span) {
  const parts = partsOf(span);
  if (!parts.length) return [];
  const whole = parts.reduce((sum, part) => sum + part.ns, 0) || 1;
  const counts = (/** @type {import("./parts.js").Part} */ part) =>
    [part.executed ? `${significant(part.executed)} modules` : "", part.skipped ? `${significant(part.skipped)} from cache` : ""].filter(Boolean).join(", ");
  return [
    h("h3", {}, "Where its time went"),
    h("ul", { class: "part-list" }, ...parts.map((part) =>
      h("li", { title: `${part.ns} ns` }, h("i", { class: "swatch", "data-part": part.tone }), h("span", {}, NAMES[part.kind], " ", h("span", { class: "faint" }, counts(part))),
        h("span", {}, nanoseconds(part.ns)), h("span", { class: "share" }, percent(part.ns / whole))))),
  ];
}

/** @param {string} label @param {string} value @param {string} [title] */
const fact = (label, value, title) => h("div", {}, h("dt", {}, label), h("dd", { title }, value));

/** @param {Record<string, string>} values */
const dl = (values) =>
  h("dl", { class: "pairs" }, ...Object.entries(values).flatMap(([key, value]) => [h("dt", {}, key), h("dd", {}, value)]));

/** @param {string} title @param {Record<string, string>} values */
const pairs = (title, values) => (Object.keys(values).length ? [h("h3", {}, title), dl(values)] : []);
