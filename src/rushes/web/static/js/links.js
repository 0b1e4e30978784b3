// From a trace on: what was measured in it (exemplars), and the metrics around it.
import { fill, h } from "./dom.js";
import { unitOf, withUnit } from "./numbers.js";
import { absolute } from "./time.js";

/** @typedef {import("./model.js").TraceModel} TraceModel */

const AGAIN_MS = 15_000;
const MAX = 200;
/** labels that all of a trace's measurements share, or that a dot has no use for */
const SAME = new Set(["le", "job", "instance", "model", "tier"]);

/** @param {string} query @param {any} links @returns {string} the metrics page, with this query over the trace's time */
const explore = (query, links) => `/explore?${new URLSearchParams({ query, from: String(Math.floor(links.start)), to: String(Math.ceil(links.end)) })}`;

/** @param {TraceModel} model */
export function showLinks(model) {
  const strip = /** @type {HTMLElement | null} */ (document.querySelector("[data-links]"));
  if (!strip) return;
  let timer = 0;
  let asked = -Infinity;
  const ask = async () => {
    timer = 0;
    asked = performance.now();
    try {
      const answer = await fetch(`/api/traces/${strip.dataset.links}/links`);
      if (answer.ok) draw(strip, await answer.json(), model);
    } catch {
      // the page goes on without; the banner says when nothing answers
    }
  };
  const soon = () => {
    if (!timer && model.spans.size) timer = setTimeout(ask, Math.max(0, asked + AGAIN_MS - performance.now()));
  };
  model.addEventListener("spans", soon);
  soon();
}

/** @param {HTMLElement} strip @param {any} links @param {TraceModel} model */
function draw(strip, links, model) {
  const part = (/** @type {string} */ name, /** @type {HTMLElement[]} */ rows) => {
    const place = /** @type {HTMLElement} */ (strip.querySelector(`[data-${name}]`));
    place.hidden = !rows.length;
    fill(/** @type {Element} */ (place.querySelector("ul")), ...rows);
  };
  const about = new Map(links.metrics.map((/** @type {any} */ one) => [one.metric, one]));
  part("measured", links.exemplars.slice(0, MAX).map((/** @type {any} */ one) => {
    const base = one.metric.replace(/_bucket$/, "");
    const around = about.get(one.metric) ?? about.get(base);
    const labels = Object.fromEntries(Object.entries(one.labels).filter(([name]) => !SAME.has(name)));
    const when = `measured ${absolute(one.timestamp * 1000)}`;
    const unit = unitOf(around?.unit ?? "");
    return h("li", { title: when },
      h("a", { href: explore(around?.query ?? one.metric, links), title: around?.help }, base),
      h("b", { title: `exactly ${one.value}, ${when}` }, withUnit(Number(one.value), unit)),
      h("span", { class: "faint", title: text(labels) }, text(labels)),
      model.spans.has(one.span_id) ? h("button", { type: "button", class: "link", onclick: () => model.select(one.span_id) }, model.spans.get(one.span_id)?.name ?? "span") : null);
  }));
  part("around", links.metrics.map((/** @type {any} */ one) =>
    h("li", {}, h("a", { href: explore(one.query, links), title: one.query }, one.metric), h("span", { class: "faint" }, one.help || one.type))));
  const note = strip.querySelector("[data-links-note]");
  if (note) note.textContent = links.exemplars.length > MAX ? `the first ${MAX} of ${links.exemplars.length} measurements` : "";
  strip.hidden = !(links.metrics.length || links.exemplars.length);
}

/** @param {Record<string, string>} labels @returns {string} */
const text = (labels) => Object.entries(labels).map(([name, value]) => `${name}=${value}`).join(" ");
