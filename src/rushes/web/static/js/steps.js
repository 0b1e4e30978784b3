// <rushes-steps>: a bar for each denoising step where it lies on the trace's axis, its height its time, split into
// the parts that the step's span gives.
import { fill, h } from "./dom.js";
import { stepNumber } from "./model.js";
import { nanoseconds } from "./numbers.js";

/** @typedef {import("./model.js").Span} Span @typedef {import("./model.js").TraceModel} TraceModel */

const PART = /(?:^|[._])(spatial|temporal|joint|cross|ffn|audio|other)(?:_attn)?(?:_duration)?_ms$/;
const PARTS = ["spatial", "temporal", "joint", "cross", "ffn", "audio", "other"];
/** @type {Record<string, string>} */
const NAMES = { spatial: "Spatial attention", temporal: "Temporal attention", joint: "Joint attention", cross: "Cross-attention", ffn: "Feed-forward", audio: "Audio", other: "Other" };

class StepsElement extends HTMLElement {
  /** @param {TraceModel} model */
  begin(model) {
    this.model = model;
    this.facts = h("div", { class: "steps-facts" });
    this.plot = h("div", { class: "steps-plot", role: "img" });
    this.scale = h("div", { class: "step-scale", "aria-hidden": "true" });
    this.append(this.facts, this.plot, this.scale);
    this.line = h("div", { class: "cursor-line", hidden: true });
    model.addEventListener("spans", () => this.update());
    model.addEventListener("view", () => this.update());
    model.addEventListener("cursor", () => this.showCursor());
    model.addEventListener("select", () => this.update());
    const { plot } = this;
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      model.setCursor(model.timeAt((event.clientX - box.left) / box.width));
    });
    plot.addEventListener("pointerleave", () => model.setCursor(null));
    this.update();
  }

  update() {
    const { model, plot } = this;
    if (!model || !plot || !this.facts || !this.scale || !this.line) return;
    /** @type {Span[]} */
    const steps = [...model.spans.values()].filter((s) => stepNumber(s) !== null).sort((a, b) => a.start - b.start);
    const strip = /** @type {HTMLElement | null} */ (this.closest("[data-steps-strip]"));
    if (strip) strip.hidden = steps.length === 0;
    if (!steps.length) return;
    const sorted = steps.map((s) => s.dur).sort((a, b) => a - b);
    const most = sorted[sorted.length - 1];
    const middle = sorted[Math.floor((sorted.length - 1) / 2)];
    const slowest = steps.find((s) => s.dur === most);
    const seen = new Set(steps.flatMap((s) => partsOf(s).map(([kind]) => kind)));
    fill(this.facts,
      h("span", {}, `${steps.length} steps, ${nanoseconds(sorted.reduce((a, b) => a + b, 0))}`),
      h("span", {}, `median ${nanoseconds(middle)}`),
      h("span", {}, `slowest ${nanoseconds(most)} (${slowest?.name})`),
      h("span", { class: "kinds" }, ...PARTS.filter((p) => seen.has(p)).map((p) => h("span", {}, h("i", { class: "swatch", "data-part": p }), NAMES[p]))));
    plot.setAttribute("aria-label", `${steps.length} steps, median ${nanoseconds(middle)}, slowest ${nanoseconds(most)}`);
    fill(this.scale, h("span", {}, nanoseconds(most)), h("span", {}, "0"));
    fill(plot, ...steps.map((step) => this.bar(step, most)),
      h("div", { class: "step-mid", title: "median", style: { bottom: `${(100 * middle) / most}%` } }), this.line);
    this.showCursor();
  }

  /** @param {Span} step @param {number} most */
  bar(step, most) {
    const { model } = this;
    if (!model) return null;
    const left = model.place(step.start);
    const width = model.place(step.start + step.dur) - left;
    if (left > 1 || left + width < 0) return null;
    const parts = partsOf(step);
    return h("button",
      {
        type: "button", class: "step-bar", tabindex: -1, "aria-current": model.selected === step.id || null,
        title: [`${step.name}: ${nanoseconds(step.dur)}`, ...parts.map(([kind, ms]) => `${NAMES[kind]} ${nanoseconds(ms * 1e6)}`)].join("\n"),
        style: { left: `${100 * left}%`, width: `${100 * width}%`, height: `${(100 * step.dur) / most}%` },
        onclick: () => model.select(step.id),
      },
      ...(parts.length
        ? parts.map(([kind, ms]) => h("i", { "data-part": kind, style: { flex: `${ms} 0 0` } }))
        : [h("i", { "data-stage": "dit", style: { flex: "1" } })]));
  }

  showCursor() {
    const { model, line } = this;
    if (!model || !line) return;
    const at = model.cursor === null ? -1 : model.place(model.cursor);
    line.hidden = at < 0 || at > 1;
    line.style.left = `${100 * at}%`;
  }
}

/** @param {Span} step @returns {[string, number][]} parts of the step and their milliseconds */
function partsOf(step) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const [key, value] of Object.entries(step.attrs)) {
    const match = PART.exec(key);
    const ms = Number(value);
    if (match && ms > 0) found.set(match[1], (found.get(match[1]) ?? 0) + ms);
  }
  return PARTS.filter((p) => found.has(p)).map((p) => [p, found.get(p) ?? 0]);
}
customElements.define("rushes-steps", StepsElement);
export { StepsElement };
