// The metrics explorer: what there is and what it means; PromQL over a range, drawn, and its values at the end.
// All of it is in the URL; the answers, errors among them, are those of Prometheus' API.
import { fill, h, pageData } from "./dom.js";
import { moments } from "./moments.js";
import { unitOf, withUnit } from "./numbers.js";
import { Plot } from "./plot.js";

const MOST_SERIES = 50;
const MOST_ROWS = 500;
const MOST_LISTED = 2000;
/** @typedef {{type: string, help: string, unit: string}} About */

const page = pageData("page-data");
const find = (/** @type {string} */ name) => /** @type {HTMLElement} */ (document.querySelector(`[data-${name}]`));
const form = /** @type {HTMLFormElement} */ (find("query-form"));
const field = /** @type {HTMLTextAreaElement} */ (find("query"));
/** @type {Map<string, About>} */
const known = new Map();

class RefusedError extends Error {}

const listed = listMetrics();

/** @param {string} path @param {Record<string, string | number>} [asked] @returns {Promise<any>} */
async function api(path, asked) {
  const answer = await fetch(`/api/v1/${path}${asked ? `?${new URLSearchParams(/** @type {any} */ (asked))}` : ""}`);
  const told = await answer.json();
  if (told.status !== "success") throw new RefusedError(`${told.errorType}: ${told.error}`);
  return told;
}

/** @param {string} name @param {About} about @param {Set<string>} names @returns {string} what one asks first */
function firstQuery(name, about, names) {
  const selector = (/** @type {string} */ of) => (/^[a-zA-Z_:][\w:]*$/.test(of) ? of : `{${JSON.stringify(of)}}`);
  if (about.type === "counter") return `rate(${selector(name)}[5m])`;
  if (about.type === "histogram") {
    const buckets = `${name}_bucket`;
    return `histogram_quantile(0.95, ${names.has(buckets) ? `sum by (le) (rate(${selector(buckets)}[5m]))` : `sum(rate(${selector(name)}[5m]))`})`;
  }
  return selector(name);
}

async function listMetrics() {
  const place = find("metrics-list");
  try {
    const [metadata, values] = await Promise.all([api("metadata"), api("label/__name__/values")]);
    const names = new Set(values.data);
    for (const [name, all] of Object.entries(metadata.data)) known.set(name, all[0]);
    for (const name of values.data) {
      const base = name.replace(/_(bucket|sum|count|total|created)$/, "");
      if (!known.has(name) && !known.has(base)) known.set(name, { type: "unknown", help: "", unit: "" });
    }
    const current = metricsIn(page?.query ?? "")[0];
    const rows = [...known].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, MOST_LISTED).map(([name, about]) => {
      const url = new URL(location.href);
      url.searchParams.set("query", firstQuery(name, about, names));
      const unit = unitOf(about.unit);
      const link = h("a", { href: url.pathname + url.search, "aria-current": name === current ? "true" : null },
        h("span", { class: "name mono" }, name), " ",
        h("span", { class: "kind" }, [about.type, unit].filter(Boolean).join(", ")),
        about.help ? h("span", { class: "help", title: about.help }, about.help) : null);
      return h("li", { "data-text": `${name} ${about.help}`.toLowerCase() }, link);
    });
    fill(place, ...(rows.length ? rows : [h("li", { class: "none" }, "No metrics yet")]));
    const filter = /** @type {HTMLInputElement} */ (find("metrics-filter"));
    const narrow = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const fits = words.every((word) => row.dataset.text?.includes(word));
        row.hidden = !fits;
        shown += Number(fits);
      }
      find("metrics-count").textContent = shown === known.size ? `${shown}` : `${shown} of ${known.size}`;
    };
    filter.addEventListener("input", narrow);
    narrow();
    const chosen = /** @type {HTMLElement | null} */ (place.querySelector("[aria-current]"));
    if (chosen) place.scrollTop = chosen.offsetTop - place.offsetTop - 80;
    explain();
  } catch (error) {
    fill(place, h("li", { class: "none" }, error instanceof RefusedError ? error.message : "The list could not be read; load the page again"));
  }
}

/** @param {string} query @returns {string[]} the metrics that it names, in their order */
function metricsIn(query) {
  const words = query.match(/[a-zA-Z_:][\w:.]*/g) ?? [];
  return words.flatMap((word) => [word, word.replace(/_(bucket|sum|count)$/, "")].filter((name) => known.has(name)).slice(0, 1));
}

/** @returns {string} the unit of what was asked, where it is plain to see */
function unitOfQuery() {
  const [name, ...more] = metricsIn(page.query);
  const about = known.get(name);
  if (!about || more.some((other) => other !== name)) return "";
  const keeps = about.type === "histogram" || about.type === "summary" ? /histogram_quantile|histogram_avg|quantile=/.test(page.query) : !/\b(rate|irate|deriv|count|count_values|group|stddev|stdvar|resets|changes)\b|[/*^]|==|[<>]/.test(page.query);
  return keeps ? unitOf(about.unit) : "";
}

function explain() {
  const [name] = metricsIn(page?.query ?? "");
  const about = known.get(name);
  const place = find("meaning");
  place.hidden = !about?.help;
  if (about?.help) fill(place, h("b", { class: "mono" }, name), ` ${about.help}`);
}

/** @param {Record<string, string>} labels @returns {string} as Prometheus writes a series */
function nameOf(labels) {
  const { __name__: name = "", ...rest } = labels;
  const pairs = Object.entries(rest).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return pairs.length ? `${name}{${pairs.join(", ")}}` : name || "value";
}

/** @param {string} text @returns {number | null} what can be drawn of it */
function drawable(text) {
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

/** @param {any} told @returns {any} for the plot */
function plotData(told) {
  const { start, end, step } = page;
  const points = Math.floor((end - start) / step + 1e-9) + 1;
  let last = null;
  const series = told.data.result.slice(0, MOST_SERIES).map((/** @type {any} */ one, /** @type {number} */ at) => {
    const values = new Array(points).fill(null);
    for (const [time, text] of one.values ?? []) values[Math.round((time - start) / step)] = drawable(text);
    for (const [time, histogram] of one.histograms ?? []) values[Math.round((time - start) / step)] = drawable(histogram.sum) === null ? null : Number(histogram.sum) / Number(histogram.count || 1);
    last = Math.max(last ?? 0, one.values?.at(-1)?.[0] ?? 0, one.histograms?.at(-1)?.[0] ?? 0);
    return { name: nameOf(one.metric), values, tone: (at % 8) + 1, dashed: at >= 8 };
  });
  return { start, end, step, points, series, last_s: last };
}

/** @param {any} told @param {string} unit */
function showValues(told, unit) {
  const { resultType: kind, result } = told.data;
  const rows = kind === "scalar" || kind === "string" ? [{ metric: {}, value: result }] : result;
  const body = /** @type {Element} */ (find("values-table").querySelector("tbody"));
  fill(body, ...rows.slice(0, MOST_ROWS).map((/** @type {any} */ one) => {
    const { __name__: name = "", ...labels } = one.metric;
    return h("tr", {},
      h("td", { class: "mono" }, name ? h("span", { class: "label" }, name) : null,
        ...Object.entries(labels).map(([key, value]) => h("span", { class: "label" }, h("b", {}, `${key}=`), value)),
        name || Object.keys(labels).length ? null : h("span", { class: "faint" }, "no labels")),
      valueCell(one, kind, unit));
  }));
  find("values").hidden = false;
  find("values-table").hidden = !rows.length;
  const more = rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} shown` : "";
  find("values-note").textContent = rows.length ? `${rows.length} series${more}` : "none then";
}

/** @param {any} one @param {string} kind @param {string} unit @returns {HTMLElement} */
function valueCell(one, kind, unit) {
  if (kind === "matrix") {
    const all = one.values ?? one.histograms ?? [];
    return h("td", { class: "number" }, `${all.length} samples`, all.length && one.values ? h("div", {}, `last ${all.at(-1)[1]}`) : null);
  }
  if (one.histogram) return h("td", { class: "number" }, `${one.histogram.count} observations, sum ${one.histogram.sum}`);
  const text = one.value[1];
  const value = kind === "string" ? null : drawable(text);
  return h("td", { class: "number", "data-sort": text, title: `exactly ${text}` }, value === null ? text : withUnit(value, unit));
}

/** @param {any} told @returns {any[]} */
const exemplarsOf = (told) => told.data.flatMap((/** @type {any} */ one) => one.exemplars
  .filter((/** @type {any} */ each) => /^[0-9a-f]{32}$/.test(each.labels.trace_id ?? ""))
  .map((/** @type {any} */ each) => ({ time: each.timestamp, value: Number(each.value), trace_id: each.labels.trace_id, span_id: each.labels.span_id, of: nameOf(one.seriesLabels) })));

/** @param {number} from @param {number} to */
function zoom(from, to) {
  const url = new URL(location.href);
  url.searchParams.delete("range");
  url.searchParams.delete("step");
  url.searchParams.set("from", String(Math.round(from)));
  url.searchParams.set("to", String(Math.round(to)));
  location.assign(url);
}

async function ask() {
  const { query, start, end, step } = page;
  // PromQL may name exemplars only in what has selectors: where there are none, the answer is empty
  const [range, instant, exemplars] = await Promise.allSettled([
    api("query_range", { query, start, end, step }),
    api("query", { query, time: end }),
    listed.then(() => (metricsIn(query).length ? api("query_exemplars", { query, start, end }) : { data: [] })),
  ]);
  const refused = [...new Set([range, instant].flatMap((each) => (each.status === "rejected" ? [each.reason instanceof RefusedError ? each.reason.message : "The control room did not answer; run it again"] : [])))];
  const problem = find("query-problem");
  problem.hidden = !refused.length;
  fill(problem, ...refused.map((text) => h("p", { class: "mono" }, text)));
  const unit = unitOfQuery();
  const notes = new Set([range, instant].flatMap((each) => (each.status === "fulfilled" ? [...(each.value.warnings ?? []), ...(each.value.infos ?? [])] : [])));
  if (range.status === "fulfilled") {
    const told = range.value;
    if (told.data.result.length > MOST_SERIES) notes.add(`the graph shows the first ${MOST_SERIES} of ${told.data.result.length} series`);
    const place = find("plot");
    place.hidden = false;
    const plot = new Plot(/** @type {HTMLElement} */ (place.querySelector(".body")), { title: query, unit, threshold: null }, zoom);
    plot.show(plotData(told));
    if (exemplars.status === "fulfilled") plot.showExemplars(exemplarsOf(exemplars.value));
  }
  const list = find("notes");
  list.hidden = !notes.size;
  fill(list, ...[...notes].map((text) => h("li", {}, String(text))));
  if (instant.status === "fulfilled") showValues(instant.value, unit);
}

moments(form);
form.querySelector("[name=range]")?.addEventListener("change", () => form.requestSubmit());
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
if (matchMedia("(min-width: 761px)").matches) find("metrics").setAttribute("open", "");
if (page?.query) ask();
