// A time series plot on uPlot: shared crosshair, drag to zoom, a legend that toggles (click) and isolates
// (double click), gaps where nothing was measured.
import uPlot from "/static/vendor/uplot/uPlot.esm.js";
import { fill, h } from "./dom.js";
import { withUnit } from "./numbers.js";
import { clockTime } from "./time.js";

const SYNC = uPlot.sync("page");
const MOST_EXEMPLARS = 200;
const AXIS_FONT = "12px ui-sans-serif, system-ui, sans-serif";

/** @param {string} name @returns {string} a colour role as the canvas needs it */
function colour(name) {
  const probe = h("i", { style: { color: `var(${name})`, display: "none" } });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

export class Plot {
  /**
   * @param {HTMLElement} place
   * @param {any} panel the panel's declaration
   * @param {(from: number, to: number) => void} onZoom
   */
  constructor(place, panel, onZoom) {
    this.panel = panel;
    this.onZoom = onZoom;
    this.area = h("div", { class: "plot-area" });
    this.legend = h("div", { class: "legend", role: "group", "aria-label": `${panel.title}: series` });
    place.replaceChildren(this.area, this.legend);
    /** @type {Set<string>} */
    this.off = new Set();
    /** @type {any} */
    this.plot = null;
    /** @type {any[] | null} */
    this.exemplars = null;
    /** @type {any} */
    this.data = null;
    this.shape = "";
    new ResizeObserver(() => this.resize()).observe(this.area);
    addEventListener("rushes-theme", () => this.rebuild());
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.area;
    if (this.plot && width && (this.plot.width !== width || this.plot.height !== height)) this.plot.setSize({ width, height });
  }

  rebuild() {
    this.shape = "";
    if (this.data) this.show(this.data);
  }

  /** @param {any} data */
  show(data) {
    this.data = data;
    const shape = JSON.stringify([data.step, data.series.map((/** @type {any} */ s) => s.name)]);
    const x = Array.from({ length: data.points }, (_, at) => data.start + at * data.step);
    const table = [x, ...data.series.map((/** @type {any} */ s) => s.values)];
    if (this.plot && shape === this.shape) this.plot.setData(table);
    else {
      this.plot?.destroy();
      this.plot = new uPlot(this.options(data), table, this.area);
      this.shape = shape;
      this.showLegend();
    }
    this.showState();
  }

  /** Dots of single measurements, each the way to its trace. @param {any[]} exemplars with time (s), value, trace_id, of */
  showExemplars(exemplars) {
    this.exemplars = exemplars;
    this.placeExemplars();
  }

  placeExemplars() {
    const { plot } = this;
    if (!plot) return;
    plot.over.querySelectorAll(".exemplar").forEach((/** @type {Element} */ dot) => dot.remove());
    const { min, max } = plot.scales.y;
    const near = (this.exemplars ?? []).filter((e) => e.time >= this.data.start && e.time <= this.data.end && Number.isFinite(e.value));
    for (const each of spread(near, MOST_EXEMPLARS)) {
      const value = Math.min(max, Math.max(min, each.value)); // what lies beyond the axis is drawn at its edge
      const text = `${withUnit(each.value, this.panel.unit)} at ${clockTime(each.time * 1000)}, trace ${each.trace_id}`;
      plot.over.append(h("a", {
        class: "exemplar", href: `/traces/${each.trace_id}${each.span_id ? `#span=${each.span_id}` : ""}`, title: `${text}\n${each.of}`, "aria-label": `Measured ${text}`,
        style: { left: `${plot.valToPos(each.time, "x")}px`, top: `${plot.valToPos(value, "y")}px` },
        onmousedown: (/** @type {Event} */ event) => event.stopPropagation(), // no zoom begins here
      }));
    }
  }

  showState() {
    const { data } = this;
    this.area.querySelectorAll(".none, .plot-stale").forEach((note) => note.remove());
    if (data.last_s === null) this.area.append(h("p", { class: "none" }, "no data yet"));
    else if (data.last_s < data.end - 2 * data.step) {
      this.area.append(h("p", { class: "plot-stale" }, `no data since ${clockTime(data.last_s * 1000)}`));
    }
    this.area.setAttribute("role", "img");
    this.area.setAttribute("aria-label", this.summary());
  }

  summary() {
    const last = this.data.series.map((/** @type {any} */ s) => {
      const value = s.values.findLast((/** @type {number | null} */ v) => v !== null);
      return value === undefined ? null : `${s.name} ${withUnit(value, this.panel.unit)}`;
    });
    const known = last.filter(Boolean);
    return `${this.panel.title}: ${known.length ? `last ${known.join(", ")}` : "no data"}`;
  }

  /** @param {any} data @returns {any} */
  options(data) {
    const [ink, line, quiet, ground] = ["--ink-3", "--line", "--ink-2", "--panel"].map(colour);
    const { unit, threshold } = this.panel;
    const axis = { stroke: ink, font: AXIS_FONT, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    return {
      width: this.area.clientWidth || 300,
      height: this.area.clientHeight || 200,
      legend: { show: false },
      padding: [8, threshold ? 8 : 12, 0, 0],
      cursor: {
        sync: { key: SYNC.key, setSeries: false, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false },
        points: { size: 7 },
        y: false,
      },
      scales: {
        x: { time: true, range: () => [this.data.start, this.data.end] },
        y: {
          range: (/** @type {any} */ _, /** @type {number | null} */ low, /** @type {number | null} */ high) => {
            const top = high ?? threshold?.value ?? 1;
            // the target is shown where it is near what was measured; far above, it would flatten the lines
            const reach = threshold && threshold.value < top * 3 ? Math.max(top, threshold.value) : top;
            return [Math.min(0, low ?? 0), Math.min((reach || 1) * 1.1, Number.MAX_VALUE)];
          },
        },
      },
      axes: [
        { ...axis, size: 28, space: (/** @type {any} */ _u, /** @type {number} */ _i, /** @type {number} */ low) => (clockTime(low * 1000).length > 5 ? 100 : 72), values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map((s) => clockTime(s * 1000)) },
        {
          ...axis,
          size: 78,
          splits: (/** @type {any} */ _u, /** @type {number} */ _i, /** @type {number} */ low, /** @type {number} */ high) => niceSplits(low, high),
          values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map((s) => (s === 0 ? "0" : withUnit(s, unit))),
        },
      ],
      series: [
        {},
        ...data.series.map((/** @type {any} */ s) => ({
          label: s.name,
          stroke: colour(`--series-${s.tone}`),
          width: s.dashed ? 1.25 : 1.75,
          dash: s.dashed ? [4, 4] : undefined,
          show: !this.off.has(s.name),
          spanGaps: false,
          points: { size: 4, filter: lonely },
        })),
      ],
      hooks: {
        // with the axes, so that what was measured is drawn over it
        drawAxes: threshold ? [(/** @type {any} */ u) => this.drawThreshold(u, quiet, ground)] : [],
        draw: [() => this.exemplars && this.placeExemplars()],
        setCursor: [(/** @type {any} */ u) => this.showValues(u.cursor.idx)],
        setSelect: [
          (/** @type {any} */ u) => {
            if (u.select.width < 6) return;
            const [from, to] = [u.select.left, u.select.left + u.select.width].map((px) => u.posToVal(px, "x"));
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            if (to - from >= 10) this.onZoom(from, to);
          },
        ],
      },
    };
  }

  /** @param {any} u @param {string} stroke @param {string} ground */
  drawThreshold(u, stroke, ground) {
    const { value, name } = this.panel.threshold;
    if (value > u.scales.y.max) return;
    const y = Math.round(u.valToPos(value, "y", true)) + 0.5;
    const { left, width } = u.bbox;
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = stroke;
    ctx.fillStyle = stroke;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.font = `${12 * devicePixelRatio}px ui-sans-serif, system-ui, sans-serif`;
    ctx.textAlign = "right";
    ctx.textBaseline = "bottom";
    const text = `${name} ${withUnit(value, this.panel.unit)}`;
    const wide = ctx.measureText(text).width + 8 * devicePixelRatio;
    ctx.fillStyle = ground;
    ctx.fillRect(left + width - wide, y - 17 * devicePixelRatio, wide, 16 * devicePixelRatio);
    ctx.fillStyle = stroke;
    ctx.fillText(text, left + width - 4 * devicePixelRatio, y - 3 * devicePixelRatio);
    ctx.restore();
  }

  showLegend() {
    this.outputs = this.data.series.map(() => h("output"));
    fill(
      this.legend,
      ...this.data.series.map((/** @type {any} */ s, /** @type {number} */ at) =>
        h("button",
          {
            type: "button",
            "aria-pressed": String(!this.off.has(s.name)),
            title: "click: hide or show; double click: show alone",
            onclick: () => this.toggle(s.name),
            ondblclick: () => this.isolate(s.name),
          },
          h("span", { class: "key", "data-tone": s.tone, "data-dashed": s.dashed }), h("span", { class: "clip", title: s.name }, s.name), this.outputs?.[at]),
      ),
    );
  }

  /** @param {number | null | undefined} at */
  showValues(at) {
    this.data.series.forEach((/** @type {any} */ s, /** @type {number} */ index) => {
      const value = at === null || at === undefined ? null : s.values[at];
      const output = this.outputs?.[index];
      if (output) output.textContent = value === null || value === undefined ? "" : withUnit(value, this.panel.unit);
    });
  }

  /** @param {string} name */
  toggle(name) {
    if (!this.off.delete(name)) this.off.add(name);
    this.applyOff();
  }

  /** @param {string} name */
  isolate(name) {
    const others = this.data.series.map((/** @type {any} */ s) => s.name).filter((/** @type {string} */ n) => n !== name);
    const alone = others.every((/** @type {string} */ n) => this.off.has(n));
    this.off = new Set(alone ? [] : others);
    this.applyOff();
  }

  applyOff() {
    this.data.series.forEach((/** @type {any} */ s, /** @type {number} */ at) => {
      this.plot.setSeries(at + 1, { show: !this.off.has(s.name) });
      this.legend.children[at]?.setAttribute("aria-pressed", String(!this.off.has(s.name)));
    });
  }
}

/** @param {any[]} all @param {number} most @returns {any[]} the highest in each part of the time */
function spread(all, most) {
  if (all.length <= most) return all;
  const sorted = [...all].sort((a, b) => a.time - b.time);
  const size = Math.ceil(sorted.length / most);
  return Array.from({ length: Math.ceil(sorted.length / size) }, (_, at) => sorted.slice(at * size, (at + 1) * size).reduce((a, b) => (b.value > a.value ? b : a)));
}

/** Points only where a value has no neighbour to be joined to. @param {any} u @param {number} series */
function lonely(u, series) {
  const values = u.data[series];
  const found = [];
  for (let at = 0; at < values.length; at++) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  }
  return found;
}

/** @param {number} low @param {number} high @returns {number[]} four or five round values */
function niceSplits(low, high) {
  const rough = (high - low) / 5;
  const scale = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * scale).find((n) => n >= rough) ?? rough;
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) found.push(at * step);
  return found;
}
