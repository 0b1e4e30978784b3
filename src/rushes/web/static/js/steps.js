// <rushes-steps>: a bar for each denoising step where it lies on the trace's axis, its height its time, split into
// its parts where they were measured; and below, what a step's time goes to on the average.
import { fill, h } from "./dom.js";
import { stepNumber } from "./model.js";
import { nanoseconds, percent, significant } from "./numbers.js";
import { KINDS, NAMES, partsOf, toneOf } from "./parts.js";

/** @typedef {import("./model.js").Span} Span @typedef {import("./model.js").TraceModel} TraceModel */

class StepsElement extends HTMLElement {
  /** @param {TraceModel} model */
  begin(model) {
    this.model = model;
    this.facts = h("div", { class: "steps-facts" });
    this.plot = h("div", { class: "steps-plot", role: "img" });
    this.scale = h("div", { class: "step-scale", "aria-hidden": "true" });
    this.mean = h("div", { class: "step-mean" });
    this.append(this.facts, this.plot, this.scale, this.mean);
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
    const again = steps.length - new Set(steps.map((s) => s.name)).size;
    const count = `${steps.length} steps${again ? ` (${again} repeated after a loss)` : ""}`;
    fill(this.facts,
      h("span", {}, `${count}, ${nanoseconds(sorted.reduce((a, b) => a + b, 0))}`),
      h("span", {}, `median ${nanoseconds(middle)}`),
      h("span", {}, `slowest ${nanoseconds(most)} (${slowest?.name})`),
      ...passes(steps[steps.length - 1]));
    plot.setAttribute("aria-label", `${count}, median ${nanoseconds(middle)}, slowest ${nanoseconds(most)}`);
    fill(this.scale, h("span", {}, nanoseconds(most)), h("span", {}, "0"));
    plot.toggleAttribute("data-sampled", steps.some((s) => partsOf(s).length));
    fill(plot, ...steps.map((step) => this.bar(step, most)),
      h("div", { class: "step-mid", title: "median", style: { bottom: `${(100 * middle) / most}%` } }), this.line);
    this.showMean(steps);
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
    const first = step.attrs["rushes.first_step"] === "true" ? ", the first: it pays for warming up" : "";
    return h("button",
      {
        type: "button", class: "step-bar", tabindex: -1, "aria-current": model.selected === step.id || null,
        title: [`${step.name}: ${nanoseconds(step.dur)}${first}`, ...parts.map(({ kind, ns }) => `${NAMES[kind]} ${nanoseconds(ns)}`)].join("\n"),
        style: { left: `${100 * left}%`, width: `${100 * width}%`, height: `${(100 * step.dur) / most}%` },
        onclick: () => model.select(step.id),
      },
      ...(parts.length
        ? parts.map(({ tone, ns }) => h("i", { "data-part": tone, style: { flex: `${ns} 0 0` } }))
        : [h("i", { "data-stage": "dit", style: { flex: "1" } })]));
  }

  /** The legend of the bars, which is also the answer to what a step spends its time on. @param {Span[]} steps */
  showMean(steps) {
    const { mean } = this;
    if (!mean) return;
    const sampled = steps.filter((s) => partsOf(s).length);
    mean.hidden = sampled.length === 0;
    if (!sampled.length) return;
    const settled = sampled.filter((s) => s.attrs["rushes.first_step"] !== "true");
    const used = settled.length ? settled : sampled;
    const rows = KINDS.flatMap((kind) => {
      const parts = used.flatMap((s) => partsOf(s).filter((p) => p.kind === kind));
      if (!parts.length) return [];
      const sum = (/** @type {"ns" | "executed" | "skipped"} */ key) => parts.reduce((all, part) => all + (part[key] ?? 0), 0);
      return [{ kind, ns: sum("ns") / used.length, executed: sum("executed") / used.length, skipped: sum("skipped") / used.length }];
    });
    const whole = rows.reduce((all, row) => all + row.ns, 0) || 1;
    const left = sampled.length > used.length ? "; the first is left out, as it pays for warming up" : "";
    const clocks = new Set(used.map((s) => s.attrs["rushes.clock"]).filter(Boolean));
    const clock = clocks.size ? `, by the ${[...clocks].map((c) => (c === "gpu" ? "GPU's" : "host's")).join(" and the ")} clock` : "";
    const compiled = used.some((s) => s.attrs["rushes.granularity"]);
    fill(mean,
      h("div", { class: "mean-head" }, h("h3", {}, "Where a step's time goes"),
        h("p", { class: "faint" }, `mean of ${used.length === 1 ? "the one sampled step" : `the ${used.length} sampled steps`} of ${steps.length}${clock}${left}`)),
      h("div", { class: "mean-body" },
        h("div", { class: "stage-bar", role: "img", "aria-label": rows.map((r) => `${NAMES[r.kind]} ${percent(r.ns / whole)}`).join(", ") },
          ...rows.map((r) => h("i", { "data-part": toneOf(r.kind), style: { width: `${(100 * r.ns) / whole}%` }, title: `${NAMES[r.kind]}: ${nanoseconds(r.ns)}, ${percent(r.ns / whole)}` }))),
        h("ul", { class: "stage-list" }, ...rows.map((r) =>
          h("li", { "data-kind": r.kind, title: `${Math.round(r.ns)} ns${counts(r)}` },
            h("i", { class: "swatch", "data-part": toneOf(r.kind) }), h("span", {}, NAMES[r.kind], r.skipped ? h("span", { class: "faint" }, ` ${percent(r.skipped / (r.skipped + r.executed))} from cache`) : null),
            h("span", {}, nanoseconds(r.ns)), h("span", { class: "share" }, percent(r.ns / whole))))),
        sampled.length < steps.length
          ? h("p", { class: "faint" }, h("i", { class: "swatch plain" }), `${steps.length - sampled.length === 1 ? "the step that was" : `the ${steps.length - sampled.length} steps that were`} timed as a whole`)
          : null,
        compiled ? h("p", { class: "faint" }, "The model is compiled: its blocks are timed whole.") : null));
  }

  showCursor() {
    const { model, line } = this;
    if (!model || !line) return;
    const at = model.cursor === null ? -1 : model.place(model.cursor);
    line.hidden = at < 0 || at > 1;
    line.style.left = `${100 * at}%`;
  }
}

/** @param {{executed: number, skipped: number}} row @returns {string} */
const counts = ({ executed, skipped }) =>
  (executed ? `, ${significant(executed)} modules a step` : "") + (skipped ? `, ${significant(skipped)} answered by a cache` : "");

/** @param {Span} step @returns {HTMLElement[]} how often it goes through the network, if more than once */
function passes(step) {
  const count = Number(step.attrs["rushes.passes"]);
  return count > 1 ? [h("span", {}, `${count} passes a step`)] : [];
}
customElements.define("rushes-steps", StepsElement);
export { StepsElement };
