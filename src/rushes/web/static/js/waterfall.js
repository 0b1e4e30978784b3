// <rushes-waterfall>: a trace as a tree of names at the left and bars on one time axis at the right. Rows are plain
// elements (a few hundred cost some milliseconds), made once for each span and moved or changed only as needed.
import { fill, h } from "./dom.js";
import { stepNumber, ticks } from "./model.js";
import { nanoseconds } from "./numbers.js";
import { isSum, NAMES, partsOf, toneOf } from "./parts.js";

/** @typedef {import("./model.js").Span} Span @typedef {import("./model.js").TraceModel} TraceModel */

const CALM_ROWS = 500;
const MANY_STEPS = 12; // on a video's page the strip of step times below shows them better
const DEEP = 3;
const DRAG_PX = 5;
const NARROWEST = 0.001;
/** @type {Record<string, string>} */
const STAGES = {
  gateway: "Gateway", prompt: "Prompt", wait: "Waiting", setup: "Worker setup", dit: "DiT", vae: "VAE", audio: "Audio",
  safety: "Safety", deliver: "Delivery", other: "Other",
};

class WaterfallElement extends HTMLElement {
  /** @type {Map<string, {row: HTMLElement, span: Span | null, depth: number, bar: HTMLElement, lane: HTMLElement, twist: HTMLButtonElement, count: HTMLElement, took: HTMLElement, label: HTMLElement}>} */
  rows = new Map();
  /** @type {Map<string, boolean>} what the reader opened or closed */
  chosen = new Map();
  /** @type {{span: Span, depth: number}[]} */
  visible = [];
  /** @type {string | null} */
  focusId = null;

  /** @param {TraceModel} model */
  begin(model) {
    this.model = model;
    this.kinds = h("div", { class: "kinds", "aria-label": "Colours" });
    this.reset = h("button", { type: "button", hidden: true, onclick: () => model.setZoom(null) }, "Reset zoom");
    this.fold = h("button", { type: "button", onclick: () => this.foldAll() }, "Collapse all");
    this.errors = h("button", { type: "button", hidden: true, onclick: () => this.nextError() }, "Next error");
    this.note = h("span", { class: "strip-note" });
    this.querySelector(".strip-head")?.append(this.note, h("span", { class: "grow" }), this.kinds, this.errors, this.reset, this.fold);
    this.axis = h("div", { class: "axis" });
    this.list = h("div", { class: "spans", role: "tree", "aria-label": "Spans" });
    this.line = h("div", { class: "cursor-line", hidden: true });
    this.tag = h("div", { class: "cursor-time", hidden: true });
    this.area = h("div", { class: "select-area", hidden: true });
    this.list.append(this.line, this.area);
    this.append(
      h("div", { class: "axis-row" }, h("span", { class: "title" }, "Span"), this.axis, h("span", { class: "number title" }, "Took")),
      this.list,
    );
    this.axis.append(this.tag);
    model.addEventListener("spans", () => this.update());
    model.addEventListener("view", () => this.layout());
    model.addEventListener("cursor", () => this.showCursor());
    model.addEventListener("select", () => this.showSelected());
    this.list.addEventListener("click", (event) => this.onClick(event));
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.listenForPointer();
    document.addEventListener("keydown", (event) => this.onPageKey(event));
    this.update();
  }

  /** @param {Span} span @param {number} depth @returns {boolean} */
  isOpen(span, depth) {
    const chosen = this.chosen.get(span.id);
    if (chosen !== undefined) return chosen;
    if (this.hasAttribute("data-fold-steps") && this.onlySteps(span)) return false;
    if (this.model?.children.get(span.id)?.every(isSum)) return false;
    return (this.model?.spans.size ?? 0) <= CALM_ROWS || depth < DEEP;
  }

  /** @param {Span} span @returns {boolean} whether it holds many steps, none of them failed, and nothing else */
  onlySteps(span) {
    const inside = this.model?.children.get(span.id) ?? [];
    return inside.length > MANY_STEPS && inside.every((s) => stepNumber(s) !== null && s.status !== "error");
  }

  update() {
    const { model } = this;
    if (!model || !this.list) return;
    this.visible = [];
    /** @type {[Span, number][]} */
    const stack = (model.children.get(null) ?? []).map((s) => /** @type {[Span, number]} */ ([s, 0])).reverse();
    while (stack.length) {
      const [span, depth] = /** @type {[Span, number]} */ (stack.pop());
      this.visible.push({ span, depth });
      const inside = model.children.get(span.id);
      if (inside && this.isOpen(span, depth)) for (let at = inside.length - 1; at >= 0; at--) stack.push([inside[at], depth + 1]);
    }
    const shown = new Set(this.visible.map((v) => v.span.id));
    for (const [id, kept] of this.rows) if (!shown.has(id)) kept.row.remove();
    let before = /** @type {Element | null} */ (this.list.firstElementChild);
    for (const { span, depth } of this.visible) {
      const { row } = this.row(span, depth);
      if (before === row) before = row.nextElementSibling;
      else this.list.insertBefore(row, before);
    }
    this.list.append(this.line ?? "", this.area ?? "");
    if (!this.focusId || !shown.has(this.focusId)) this.setFocus(this.visible[0]?.span.id ?? null, false);
    this.showFacts();
    this.layout();
  }

  showFacts() {
    const { model } = this;
    if (!model || !this.note || !this.kinds || !this.errors) return;
    const spans = [...model.spans.values()];
    const failed = spans.filter((s) => s.status === "error").length;
    this.note.textContent = spans.length
      ? `${spans.length} spans over ${nanoseconds(model.domain[1] - model.domain[0])}${failed ? `, ${failed} failed` : ""}`
      : "no spans have arrived yet";
    this.errors.hidden = failed === 0;
    const used = new Set(spans.map((s) => s.stage));
    fill(this.kinds,
      ...Object.keys(STAGES).filter((k) => used.has(k)).map((k) => h("span", {}, h("i", { class: "swatch", "data-stage": k }), STAGES[k])),
      model.critical.size ? h("span", { title: "What the end of the trace waited for" }, h("i", { class: "critical-key" }), "Critical path") : null,
      failed ? h("span", {}, h("i", { class: "error-key" }), "Error") : null);
  }

  /** @param {Span} span @param {number} depth */
  row(span, depth) {
    let kept = this.rows.get(span.id);
    if (!kept) {
      const twist = /** @type {HTMLButtonElement} */ (h("button", { type: "button", class: "twist", tabindex: -1, "aria-hidden": "true" }));
      const label = h("span", { class: "label" });
      const count = h("span", { class: "hidden-count" });
      const lane = h("div", { class: "lane" });
      const bar = h("div", { class: "bar" });
      const took = h("div", { class: "took" });
      lane.append(bar);
      const row = h("div", { class: "span", role: "treeitem", tabindex: -1, "data-id": span.id, "aria-selected": "false" },
        h("div", { class: "name" }, twist, label, count), lane, took);
      kept = { row, span: null, depth: -1, bar, lane, twist, count, took, label };
      this.rows.set(span.id, kept);
    }
    const inside = this.model?.children.get(span.id);
    const open = inside ? this.isOpen(span, depth) : null;
    if (open === null) kept.row.removeAttribute("aria-expanded");
    else kept.row.setAttribute("aria-expanded", String(open));
    kept.twist.disabled = open === null;
    kept.count.textContent = inside && !open ? String(inside.length) : "";
    if (kept.depth !== depth) {
      kept.depth = depth;
      kept.row.setAttribute("aria-level", String(depth + 1));
      /** @type {HTMLElement} */ (kept.row.firstElementChild).style.paddingLeft = `calc(4px + ${Math.min(depth, 10)} * var(--indent))`;
    }
    if (kept.span !== span) this.write(kept, span);
    return kept;
  }

  /** @param {any} kept @param {Span} span */
  write(kept, span) {
    kept.span = span;
    const name = span.name || "(no name)";
    kept.label.textContent = name;
    const orphan = Boolean(span.missing_parent);
    const sum = isSum(span);
    kept.label.title = `${name} (${span.service})${orphan ? ", whose parent span never came" : ""}${sum ? `: ${sumInWords(span)}` : ""}`;
    kept.took.textContent = nanoseconds(span.dur);
    kept.took.title = `${span.dur} ns`;
    kept.row.toggleAttribute("data-error", span.status === "error");
    kept.row.toggleAttribute("data-orphan", orphan);
    kept.row.toggleAttribute("data-sum", sum);
    kept.bar.dataset.stage = span.stage;
    const tone = sum ? toneOf(span.name) : null;
    if (tone) kept.bar.dataset.part = tone;
    else delete kept.bar.dataset.part;
    const parts = stepNumber(span) === null ? [] : partsOf(span);
    kept.bar.classList.toggle("leaf", !span.self && !parts.length);
    kept.row.setAttribute("aria-label", `${name}, ${nanoseconds(span.dur)}${span.status === "error" ? ", failed" : ""}${orphan ? ", its parent never came" : ""}${sum ? `, ${sumInWords(span)}` : ""}`);
    if (parts.length) {
      fill(kept.bar, ...endToEnd(parts));
      return;
    }
    fill(kept.bar, ...(span.self ?? [])
      .filter(([from, to]) => to - from >= span.dur * NARROWEST)
      .map(([from, to]) => h("i", { style: { left: `${(100 * (from - span.start)) / span.dur}%`, width: `${(100 * (to - from)) / span.dur}%` } })));
  }

  layout() {
    const { model } = this;
    if (!model || !this.axis || !this.tag) return;
    const share = (/** @type {number} */ t) => `${100 * model.place(t)}%`;
    const [from, to] = model.view;
    const length = (/** @type {number} */ ns) => `${(100 * ns) / (to - from)}%`;
    for (const { span } of this.visible) {
      const kept = this.rows.get(span.id);
      if (!kept) continue;
      kept.bar.style.left = `min(${share(span.start)}, 100% - 2px)`; // what takes no time at the end is seen, too
      kept.bar.style.width = length(span.dur);
      kept.lane.querySelectorAll(".critical").forEach((line) => line.remove());
      for (const [start, end] of model.critical.get(span.id) ?? []) {
        if (end - start < (to - from) * NARROWEST) continue;
        kept.lane.append(h("i", { class: "critical", style: { left: share(start), width: length(end - start) } }));
      }
    }
    const wide = this.axis.clientWidth || 600;
    const zero = model.domain[0];
    fill(this.axis, ...ticks([from - zero, to - zero], Math.max(2, Math.floor(wide / 90)))
      .filter((t) => model.place(t + zero) < 1 - 50 / wide)
      .map((t) => h("span", { style: { left: share(t + zero) } }, nanoseconds(t))), this.tag);
    if (this.reset) this.reset.hidden = model.zoom === null;
    this.showCursor();
  }

  showCursor() {
    const { model, line, tag } = this;
    if (!model || !line || !tag) return;
    const at = model.cursor === null ? -1 : model.place(model.cursor);
    line.hidden = tag.hidden = at < 0 || at > 1;
    if (line.hidden || model.cursor === null) return;
    line.style.left = `calc(var(--names) + (100% - var(--names) - var(--right)) * ${at})`;
    tag.style.left = `${100 * at}%`;
    tag.textContent = nanoseconds(model.cursor - model.domain[0]);
  }

  showSelected() {
    const { model } = this;
    if (!model) return;
    if (model.selected) this.reveal(model.selected);
    for (const [id, { row }] of this.rows) row.setAttribute("aria-selected", String(id === model.selected));
    if (!model.selected) return;
    this.setFocus(model.selected, false);
    const { row } = this.rows.get(model.selected) ?? {};
    // after the drawer has taken its room
    requestAnimationFrame(() => row?.scrollIntoView({ block: "nearest" }));
  }

  /** Opens all that a span lies in. @param {string} id */
  reveal(id) {
    let at = this.model?.spans.get(id)?.parent ?? null;
    let changed = false;
    while (at !== null) {
      const span = this.model?.spans.get(at);
      if (!span) break;
      if (this.chosen.get(at) !== true) {
        this.chosen.set(at, true);
        changed = true;
      }
      at = span.parent;
    }
    if (changed) this.update();
  }

  /** @param {string} id @param {boolean} [open] */
  toggle(id, open) {
    const shown = this.visible.find((v) => v.span.id === id);
    if (!shown || !this.model?.children.has(id)) return;
    this.chosen.set(id, open ?? !this.isOpen(shown.span, shown.depth));
    this.update();
  }

  foldAll() {
    const open = this.fold?.textContent === "Expand all";
    for (const id of this.model?.children.keys() ?? []) {
      if (id !== null) this.chosen.set(id, open || this.model?.spans.get(id)?.parent === null);
    }
    if (this.fold) this.fold.textContent = open ? "Collapse all" : "Expand all";
    this.update();
  }

  nextError() {
    const failed = [...(this.model?.spans.values() ?? [])].filter((s) => s.status === "error").sort((a, b) => a.start - b.start);
    const at = failed.findIndex((s) => s.id === this.model?.selected);
    const next = failed[(at + 1) % failed.length];
    if (next) this.model?.select(next.id);
  }

  /** @param {string | null} id @param {boolean} take whether to move the keyboard's focus, too */
  setFocus(id, take) {
    if (this.focusId) this.rows.get(this.focusId)?.row.setAttribute("tabindex", "-1");
    this.focusId = id;
    const row = id ? this.rows.get(id)?.row : null;
    row?.setAttribute("tabindex", "0");
    if (take) row?.focus();
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const row = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest(".span"));
    const id = row?.dataset.id;
    if (!id || this.dragged) return;
    this.setFocus(id, true);
    if (/** @type {Element} */ (event.target).closest(".twist")) this.toggle(id);
    else this.model?.select(id);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const at = this.visible.findIndex((v) => v.span.id === this.focusId);
    if (at < 0) return;
    const { span, depth } = this.visible[at];
    const move = (/** @type {number} */ to) => {
      const next = this.visible[Math.max(0, Math.min(this.visible.length - 1, to))];
      this.setFocus(next.span.id, true);
      if (this.model?.selected) this.model.select(next.span.id); // an open drawer follows
    };
    const inside = this.model?.children.has(span.id);
    switch (event.key) {
      case "ArrowDown": case "j": move(at + 1); break;
      case "ArrowUp": case "k": move(at - 1); break;
      case "Home": move(0); break;
      case "End": move(this.visible.length - 1); break;
      case "ArrowRight":
        if (inside && !this.isOpen(span, depth)) this.toggle(span.id, true);
        else if (inside) move(at + 1);
        break;
      case "ArrowLeft":
        if (inside && this.isOpen(span, depth)) this.toggle(span.id, false);
        else if (span.parent) move(this.visible.findIndex((v) => v.span.id === span.parent));
        break;
      case "Enter": case " ": this.model?.select(span.id); break;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {KeyboardEvent} event */
  onPageKey(event) {
    if (event.defaultPrevented || /^(INPUT|SELECT|TEXTAREA|VIDEO)$/.test(/** @type {Element} */ (event.target).tagName)) return;
    if (event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "j" || event.key === "k") {
      event.preventDefault();
      this.setFocus(this.focusId, true);
    } else if (event.key === "e") this.nextError();
    else if (event.key === "Escape" && !this.model?.selected && this.model?.zoom) this.model.setZoom(null);
  }

  listenForPointer() {
    const { model, axis } = this;
    if (!model || !axis) return;
    this.dragged = false;
    /** @type {number | null} */
    let start = null;
    const share = (/** @type {PointerEvent} */ event) => {
      const box = axis.getBoundingClientRect();
      return (event.clientX - box.left) / box.width;
    };
    this.addEventListener("pointermove", (event) => {
      const at = share(event);
      model.setCursor(at >= 0 && at <= 1 ? model.timeAt(at) : null);
      if (start === null || !this.area) return;
      const box = axis.getBoundingClientRect();
      if (Math.abs(at - start) * box.width < DRAG_PX) return;
      this.dragged = true;
      const [low, high] = [Math.min(at, start), Math.max(at, start)].map((s) => Math.max(0, Math.min(1, s)));
      this.area.hidden = false;
      this.area.style.left = `calc(var(--names) + (100% - var(--names) - var(--right)) * ${low})`;
      this.area.style.width = `calc((100% - var(--names) - var(--right)) * ${high - low})`;
    });
    this.addEventListener("pointerleave", () => model.setCursor(null));
    this.addEventListener("pointerdown", (event) => {
      this.dragged = false;
      const at = share(event);
      start = event.button === 0 && event.pointerType !== "touch" && at >= 0 && at <= 1 ? at : null;
      if (start !== null && axis.contains(/** @type {Node} */ (event.target))) event.preventDefault();
    });
    addEventListener("pointerup", (event) => {
      if (start !== null && this.dragged) {
        model.setZoom([model.timeAt(Math.min(start, share(event))), model.timeAt(Math.max(start, share(event)))]);
        getSelection()?.removeAllRanges();
      }
      start = null;
      if (this.area) this.area.hidden = true;
    });
    new ResizeObserver(() => this.layout()).observe(axis);
  }
}
/** @param {Span} span @returns {string} */
function sumInWords(span) {
  const modules = span.attrs["rushes.executed"];
  return `a sum${modules ? ` over ${modules} modules` : ""}, laid end to end: its length counts, not its place`;
}

/** The parts of a step inside its bar, in the order of the legend. @param {import("./parts.js").Part[]} parts */
function endToEnd(parts) {
  const whole = parts.reduce((sum, part) => sum + part.ns, 0) || 1;
  let at = 0;
  return parts.map(({ kind, tone, ns }) => {
    const place = { left: `${(100 * at) / whole}%`, width: `${(100 * ns) / whole}%` };
    at += ns;
    return h("i", { "data-part": tone, style: place, title: `${NAMES[kind]} ${nanoseconds(ns)}` });
  });
}
customElements.define("rushes-waterfall", WaterfallElement);
export { STAGES, stepNumber, sumInWords, WaterfallElement };
