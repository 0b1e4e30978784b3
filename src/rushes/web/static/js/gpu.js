// <rushes-gpu>: what the GPUs of a render did, a line for each gauge on the trace's axis. Readings lie seconds apart:
// between two of them a line is drawn, over a gap it is not.
import { fill, h, svg } from "./dom.js";
import { duration, nanoseconds, significant } from "./numbers.js";

/** @typedef {import("./model.js").TraceModel} TraceModel */
/** @typedef {{name: string, unit: string, top: number, limit: number | null, summary: number | null, summary_word: string, gap: number, points: [number, number][]}} Lane */
/** @typedef {{kind: string, name: string, from: number, to: number, text: string}} Mark */
/** @typedef {{name: string, type: string, worker: string, busy: [number, number], lanes: Lane[], marks: Mark[], throttle_known: boolean}} Gpu */

const OPEN = 2; // of many GPUs the first are shown whole, the others by their utilisation
const HEIGHT = 100;

class GpuElement extends HTMLElement {
  /** @type {{note: string, gpus: Gpu[]} | null} */
  data = null;
  /** @type {Map<string, boolean>} what the reader opened or closed */
  chosen = new Map();
  /** @type {{lane: Lane, value: HTMLElement, path: Element, area: Element, limit: HTMLElement | null}[]} */
  drawn = [];
  /** @type {{busy: [number, number], before: HTMLElement, after: HTMLElement}[]} */
  shades = [];
  /** @type {{mark: Mark, element: HTMLElement}[]} */
  marks = [];

  /** @param {TraceModel} model @param {any} data what the server says of the GPUs; null hides the strip */
  begin(model, data) {
    this.model = model;
    this.note = h("span", { class: "strip-note" });
    this.closest(".strip")?.querySelector(".strip-head")?.append(this.note);
    this.list = h("div", { class: "gpus" });
    this.line = h("div", { class: "cursor-line", hidden: true });
    this.append(this.list);
    model.addEventListener("view", () => this.draw());
    model.addEventListener("spans", () => this.draw());
    model.addEventListener("cursor", () => this.showCursor());
    this.list.addEventListener("pointermove", (event) => {
      const at = this.shareAt(event.clientX);
      model.setCursor(at >= 0 && at <= 1 ? model.timeAt(at) : null);
    });
    this.list.addEventListener("pointerleave", () => model.setCursor(null));
    this.show(data);
  }

  /** @param {number} x @returns {number} where it lies in the plots, 0 to 1 (and beyond) */
  shareAt(x) {
    const box = this.list?.querySelector(".gpu-plot")?.getBoundingClientRect();
    return box ? (x - box.left) / box.width : -1;
  }

  /** @param {any} data */
  show(data) {
    this.data = data;
    const strip = /** @type {HTMLElement | null} */ (this.closest("[data-gpu-strip]"));
    if (strip) strip.hidden = !data;
    if (!data || !this.list || !this.note || !this.line) return;
    this.drawn = [];
    this.shades = [];
    this.marks = [];
    this.note.textContent = data.note || `${data.gpus.length === 1 ? "the GPU" : `the ${data.gpus.length} GPUs`} of this render's worker`;
    fill(this.list, ...data.gpus.flatMap((/** @type {Gpu} */ gpu, /** @type {number} */ at) => this.gpu(gpu, at)), data.gpus.length ? this.line : null);
    this.draw();
  }

  /** @param {Gpu} gpu @param {number} at @returns {HTMLElement[]} */
  gpu(gpu, at) {
    const key = `${gpu.worker} ${gpu.name}`;
    const open = this.chosen.get(key) ?? at < OPEN;
    const head = h("button", {
      type: "button", class: "gpu-name", "aria-expanded": String(open), title: `${gpu.name} ${gpu.type}, worker ${gpu.worker}`,
      onclick: () => {
        this.chosen.set(key, !open);
        this.show(this.data);
      },
    }, h("b", {}, gpu.name), ` ${gpu.type}`,
      gpu.throttle_known && gpu.marks.every((mark) => mark.kind !== "throttle") ? h("span", { class: "faint" }, ", not throttled") : null);
    const places = gpu.marks.map((mark) => {
      const element = h("i", { class: `gpu-mark ${mark.kind}`, title: mark.text ? `${mark.name}, ${mark.text}` : mark.name });
      this.marks.push({ mark, element });
      return element;
    });
    const rows = [h("div", { class: "gpu-row gpu-head" }, head, h("div", { class: "gpu-plot" }, ...places), h("span"))];
    const said = marksInWords(gpu.marks);
    if (said.length) rows.push(h("div", { class: "gpu-said" }, ...said));
    return [...rows, ...(open ? gpu.lanes : gpu.lanes.slice(0, 1)).map((lane) => this.lane(lane, gpu))];
  }

  /** @param {Lane} lane @param {Gpu} gpu */
  lane(lane, gpu) {
    const value = h("output", {});
    const area = svg("path", { class: "gpu-area" });
    const path = svg("path", { class: "gpu-line" });
    const limit = lane.limit === null ? null : h("i", { class: "gpu-limit", title: `watch above ${withUnit(lane.limit, lane.unit)}`, style: { bottom: `${(100 * lane.limit) / lane.top}%` } });
    const before = h("i", { class: "gpu-shade", title: "before the worker had this job" });
    const after = h("i", { class: "gpu-shade", title: "after the worker was done with this job" });
    this.drawn.push({ lane, value, path, area, limit });
    this.shades.push({ busy: gpu.busy, before, after });
    const picture = svg("svg", { viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    picture.append(area, path);
    return h("div", { class: "gpu-row", role: "img", "aria-label": `${gpu.name} ${lane.name}: ${summary(lane) || "no reading while it worked on this job"}` },
      h("div", { class: "gpu-label" }, h("span", {}, lane.name), value),
      h("div", { class: "gpu-plot" }, picture, before, after, limit),
      h("div", { class: "gpu-scale", "aria-hidden": "true" }, 
        lane.limit === null
          ? h("span", {}, withUnit(lane.top, lane.unit))
          : h("span", { style: { "margin-top": `${36 * (1 - lane.limit / lane.top) - 6}px` } }, withUnit(lane.limit, lane.unit)),
        h("span", {}, "0")));
  }

  draw() {
    const { model } = this;
    if (!model) return;
    const [from, to] = model.view;
    for (const { lane, path, area } of this.drawn) {
      const runs = stretches(lane, from, to);
      const x = (/** @type {number} */ t) => (1000 * model.place(t)).toFixed(2);
      const y = (/** @type {number} */ v) => (HEIGHT - (HEIGHT * v) / lane.top).toFixed(2);
      path.setAttribute("d", runs.map((run) => `M${run.map(([t, v]) => `${x(t)} ${y(v)}`).join("L")}${run.length === 1 ? "h0.01" : ""}`).join(""));
      area.setAttribute("d", runs.filter((run) => run.length > 1).map((run) => `M${x(run[0][0])} ${HEIGHT}L${run.map(([t, v]) => `${x(t)} ${y(v)}`).join("L")}L${x(run[run.length - 1][0])} ${HEIGHT}Z`).join(""));
    }
    const place = (/** @type {number} */ t) => Math.max(0, Math.min(1, model.place(t)));
    for (const { busy, before, after } of this.shades) {
      before.style.width = `${100 * place(busy[0])}%`;
      after.style.left = `${100 * place(busy[1])}%`;
    }
    for (const { mark, element } of this.marks) {
      element.hidden = mark.to < from || mark.from > to;
      element.style.left = `${100 * place(mark.from)}%`;
      element.style.width = `${100 * (place(mark.to) - place(mark.from))}%`;
    }
    this.showCursor();
  }

  showCursor() {
    const { model, line } = this;
    if (!model || !line) return;
    const at = model.cursor === null ? -1 : model.place(model.cursor);
    line.hidden = at < 0 || at > 1;
    line.style.left = `calc(var(--names) + (100% - var(--names) - var(--right)) * ${at})`;
    for (const { lane, value } of this.drawn) {
      const reading = line.hidden || model.cursor === null ? null : nearest(lane, model.cursor);
      value.textContent = line.hidden ? summary(lane) : reading ? withUnit(reading[1], lane.unit) : "no reading";
      value.title = reading ? `${reading[1]} ${lane.unit}, read at ${nanoseconds(reading[0] - model.domain[0])}` : "";
    }
  }
}

/** @param {Mark[]} marks @returns {HTMLElement[]} each kind of mark once, in words */
function marksInWords(marks) {
  /** @type {Map<string, {kind: string, ns: number, count: number}>} */
  const found = new Map();
  for (const mark of marks) {
    const seen = found.get(mark.name) ?? { kind: mark.kind, ns: 0, count: 0 };
    found.set(mark.name, { kind: mark.kind, ns: seen.ns + mark.to - mark.from, count: seen.count + 1 });
  }
  return [...found].map(([name, { kind, ns, count }]) =>
    h("span", { class: "state", "data-state": kind === "xid" ? "bad" : "warn" }, kind === "xid" ? `${name}${count > 1 ? `, ${count} times` : ""}` : `${name}, ${duration(ns / 1e9)}`));
}

/** @param {Lane} lane @returns {string} */
const summary = (lane) => (lane.summary === null ? "" : `${lane.summary_word} ${withUnit(lane.summary, lane.unit)}`);

/** @param {number} value @param {string} unit @returns {string} */
function withUnit(value, unit) {
  if (unit !== "B") return `${significant(value)} ${unit}`;
  for (const [name, scale] of /** @type {[string, number][]} */ ([["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]])) {
    if (value >= scale * 0.9995) return `${significant(value / scale)} ${name}`;
  }
  return `${significant(value)} B`;
}

/** @param {Lane} lane @param {number} from @param {number} to @returns {[number, number][][]} readings without a gap between them */
function stretches(lane, from, to) {
  const inside = lane.points.findIndex(([t]) => t >= from);
  const beyond = lane.points.findIndex(([t]) => t > to);
  const shown = lane.points.slice(Math.max(0, (inside < 0 ? lane.points.length : inside) - 1), beyond < 0 ? undefined : beyond + 1);
  /** @type {[number, number][][]} */
  const runs = [];
  for (const point of shown) {
    const run = runs[runs.length - 1];
    if (run && point[0] - run[run.length - 1][0] <= lane.gap) run.push(point);
    else runs.push([point]);
  }
  return runs;
}

/** @param {Lane} lane @param {number} time @returns {[number, number] | null} the reading nearest to a time, if it is near */
function nearest(lane, time) {
  /** @type {[number, number] | null} */
  let best = null;
  for (const point of lane.points) if (!best || Math.abs(point[0] - time) < Math.abs(best[0] - time)) best = point;
  return best && Math.abs(best[0] - time) <= lane.gap / 2 ? best : null;
}
customElements.define("rushes-gpu", GpuElement);
export { GpuElement };
