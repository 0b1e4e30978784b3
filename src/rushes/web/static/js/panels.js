// <rushes-panel>: a dashboard's panel. The server writes its title; this fills in what was measured.
import { announce, fill, h } from "./dom.js";
import { count, inUnit, withUnit } from "./numbers.js";
import { Plot } from "./plot.js";
import { clockTime } from "./time.js";

/** @type {Record<string, string>} names of the specification's table where they differ from the labels */
const NAMES = {
  timeout: "Timeout", cuda_error: "CUDA error", safety_block: "Safety block", oom: "OOM", checkpoint: "Checkpoint",
  provider: "Provider", storage: "Storage", internal: "Internal",
  generating: "Generating", idle: "Idle", loading: "Loading", draining: "Draining", offline: "Offline",
};

export class PanelElement extends HTMLElement {
  /** @type {Plot | null} */
  plot = null;
  /** @type {any} */
  data = null;

  /**
   * @param {any} panel its declaration
   * @param {{length: string, zoom: (from: number, to: number) => void}} page
   */
  begin(panel, page) {
    this.panel = panel;
    this.page = page;
    this.body = /** @type {HTMLElement} */ (this.querySelector(".body"));
    this.append(this.tools());
    this.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.classList.contains("expanded")) return;
      event.preventDefault(); // or it would reset the page's zoom, too
      this.expand();
    });
  }

  tools() {
    const button = (/** @type {string} */ name, /** @type {() => void} */ act) =>
      h("button", { type: "button", onclick: act, "aria-label": `${name}: ${this.panel.title}` }, name);
    return h("div", { class: "tools" },
      this.panel.kind === "plot" ? button("Expand", () => this.expand()) : null,
      button("Query", () => this.showQuery()),
      button("Export", () => this.export()),
      button("Link", () => this.link()));
  }

  expand() {
    const open = this.classList.toggle("expanded");
    const button = this.querySelector(".tools button");
    if (button) button.textContent = open ? "Close" : "Expand";
  }

  showQuery() {
    const close = h("button", { class: "close", type: "button" }, "Close");
    const dialog = /** @type {HTMLDialogElement} */ (
      h("dialog", { "aria-label": `Query of ${this.panel.title}` }, close, h("h2", {}, this.panel.title),
        h("p", { class: "faint" }, this.panel.hint),
        ...this.panel.queries.map((/** @type {string} */ q) => h("pre", { class: "query-text" }, q)))
    );
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  export() {
    const quote = (/** @type {any} */ v) => `"${String(v ?? "").replaceAll('"', '""')}"`;
    /** @type {any[][]} */
    let rows = [];
    const { data, panel } = this;
    if (panel.kind === "plot" && data.series) {
      rows = [["time", ...data.series.map((/** @type {any} */ s) => s.name)]];
      for (let at = 0; at < data.points; at++) {
        rows.push([new Date((data.start + at * data.step) * 1000).toISOString(), ...data.series.map((/** @type {any} */ s) => s.values[at])]);
      }
    } else if (panel.kind === "stat") rows = [["value", "previous period"], [data.value, data.before]];
    else rows = [["name", "value"], ...(data.rows ?? []).map((/** @type {any} */ r) => [r.name, r.text || r.value])];
    const url = URL.createObjectURL(new Blob([rows.map((r) => r.map(quote).join(",")).join("\n")], { type: "text/csv" }));
    h("a", { href: url, download: `${panel.id}.csv` }).click();
    URL.revokeObjectURL(url);
  }

  async link() {
    const url = new URL(location.href);
    url.hash = this.id;
    history.replaceState(null, "", url);
    try {
      await navigator.clipboard.writeText(url.href);
      announce("link copied");
    } catch {
      announce("the link is in the address bar");
    }
  }

  /** @param {any} data */
  show(data) {
    this.data = data;
    if (data.error) {
      this.plot = null;
      fill(this.body, h("p", { class: "none" }, data.error));
    } else if (this.panel.kind === "stat") this.showStat(data);
    else if (this.panel.kind === "plot") {
      this.plot ??= new Plot(this.body, this.panel, this.page.zoom);
      this.plot.show(data);
    } else this.showRows(data.rows);
  }

  /** @param {any} data */
  showStat(data) {
    const { panel } = this;
    if (data.value === null) {
      const since = data.last_s === null ? "no data yet" : `no data since ${clockTime(data.last_s * 1000)}`;
      fill(this.body, h("p", { class: "none" }, since), sparkline(data.spark));
      return;
    }
    const shown = inUnit(data.value, panel.unit);
    const { threshold } = panel;
    const over = threshold && (panel.good === "up" ? data.value < threshold.value : data.value > threshold.value);
    fill(
      this.body,
      h("p", { class: "stat-value", title: `exactly ${data.value} ${panel.unit}`, "data-over": over || null },
        shown.text, shown.unit ? h("small", {}, shown.unit) : null),
      panel.bar ? gauge(data.value, threshold?.value, over) : null,
      this.note(data, over),
      sparkline(data.spark),
    );
  }

  /** @param {any} data @param {boolean} over @returns {HTMLElement} */
  note(data, over) {
    const { panel } = this;
    const missed = over ? `${panel.threshold.name} ${withUnit(panel.threshold.value, panel.unit)} missed · ` : "";
    if (data.before === null) return h("p", { class: "stat-note" }, missed, `no data the ${this.page.length} before`);
    const change = data.value - data.before;
    const better = !panel.good || !change ? null : (change > 0) === (panel.good === "up") ? "yes" : "no";
    let text = "no change";
    if (!Number.isFinite((100 * change) / (data.before || 1))) return h("p", { class: "stat-note" }, missed, "no comparable value before");
    if (panel.unit === "%") text = Math.abs(change) < 0.005 ? text : `${signed(change)} points`;
    else if (change) text = data.before ? `${signed((100 * change) / data.before)} %` : `${change > 0 ? "+" : ""}${withUnit(change, panel.unit)}`;
    return h("p", { class: "stat-note" }, missed,
      h("span", { "data-better": better, title: `previous ${this.page.length}: ${withUnit(data.before, panel.unit)}` }, text),
      over ? null : ` on previous ${this.page.length}`);
  }

  /** @param {any[]} rows */
  showRows(rows) {
    if (!rows.length) {
      fill(this.body, h("p", { class: "none" }, "no data yet"));
      return;
    }
    const most = Math.max(...rows.map((row) => row.value ?? 0), 1e-9);
    const bars = this.panel.kind === "bars";
    const states = this.panel.id === "workers";
    fill(this.body, h("div", { class: "rows" }, ...rows.map((row) => {
      const value = row.text
        ? h("span", { class: "state", "data-state": row.state }, NAMES[row.text] ?? row.text)
        : h("span", { class: "number", title: row.value === null ? "no data" : `exactly ${row.value}` }, row.value === null ? "–" : count(Math.round(row.value)));
      const track = bars
        ? h("span", { class: "track", "data-tone": states ? null : row.tone, "data-state": states ? row.state : null },
            h("i", { style: { width: `${100 * ((row.value ?? 0) / most)}%` }, hidden: !row.value }))
        : null;
      return h("div", { class: "row" }, h("span", { title: row.name }, NAMES[row.name] ?? row.name), track, value);
    })));
  }
}
customElements.define("rushes-panel", PanelElement);

/** @param {number} value @returns {string} */
function signed(value) {
  const size = Math.abs(value);
  return `${value < 0 ? "−" : "+"}${size >= 100 ? count(Math.round(size)) : Number(size.toPrecision(2))}`;
}

/** @param {number} value @param {number | undefined} target @param {boolean} over */
function gauge(value, target, over) {
  return h("div", { class: "gauge", "data-over": over || null, "aria-hidden": "true" },
    h("i", { style: { width: `${Math.max(0, Math.min(100, value))}%` } }),
    target === undefined ? null : h("b", { style: { left: `${target}%` } }));
}

/** @param {(number | null)[]} values @returns {Element} */
function sparkline(values) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 28");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const known = values.filter((v) => v !== null);
  if (known.length < 2) return svg;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  // halves, and divided first: with values near the largest number the plain formula leaves the numbers
  const height = (/** @type {number} */ v) => (high === low ? 14 : 26 - 24 * ((v / 2 - low / 2) / (high / 2 - low / 2)));
  let path = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (value === null) pen = "M";
    else {
      path += `${pen}${((100 * at) / (values.length - 1)).toFixed(2)} ${height(value).toFixed(2)}`;
      pen = "L";
    }
  });
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}
