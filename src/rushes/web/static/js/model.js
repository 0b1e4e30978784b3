// A trace in the browser: its spans as a tree, one time axis, one cursor, one selection for all strips.

/**
 * @typedef {{id: string, parent: string | null, name: string, service: string, kind: string, stage: string,
 *   start: number, dur: number, status: string, message: string, attrs: Record<string, string>, resource: string,
 *   events: {name: string, at: number, attrs: Record<string, string>}[], self?: [number, number][],
 *   self_ns?: number, missing_parent?: string}} Span times in nanoseconds after the trace's origin; one whose parent
 *   never came lies under a root and names the parent that is missing
 * @typedef {{key: string, timestamp: string, level: string, service: string, component: string, worker_id: string,
 *   event: string, span_id: string, context: Record<string, string>}} Line
 */

export class TraceModel extends EventTarget {
  /** @type {Map<string, Span>} */
  spans = new Map();
  /** @type {Map<string, Line>} */
  lines = new Map();
  /** @type {Record<string, Record<string, string>>} */
  resources = {};
  /** @type {Map<string, [number, number][]>} */
  critical = new Map();
  /** @type {Map<string | null, Span[]>} */
  children = new Map();
  origin = 0n;
  /** @type {[number, number]} */
  domain = [0, 1];
  /** @type {[number, number] | null} zoomed part of the domain */
  zoom = null;
  /** @type {number | null} */
  cursor = null;
  /** @type {string | null} */
  selected = null;

  /** @param {any} news what a stream or the page brings; merged by id */
  merge(news) {
    if (news.spans) {
      const origin = BigInt(news.origin_ns);
      if (origin !== this.origin) this.spans.clear(); // all offsets are new; the server sends every span again
      this.origin = origin;
      for (const span of news.spans) this.spans.set(span.id, span);
      Object.assign(this.resources, news.resources);
      this.critical = new Map();
      for (const [id, start, end] of news.critical) {
        const runs = this.critical.get(id) ?? [];
        runs.push([start, end]);
        this.critical.set(id, runs);
      }
      this.plant();
    }
    /** @type {Line[]} */
    const added = [];
    for (const line of news.logs ?? []) {
      if (!this.lines.has(line.key)) added.push(line);
      this.lines.set(line.key, line);
    }
    if (news.spans) this.tell("spans");
    if (added.length) this.tell("lines", added);
    if (news.gpu) this.tell("gpu", news.gpu);
  }

  plant() {
    this.children = new Map();
    let [first, last] = [Infinity, -Infinity];
    const ordered = [...this.spans.values()].sort((a, b) => a.start - b.start || b.dur - a.dur || (a.id < b.id ? -1 : 1));
    for (const span of ordered) {
      const parent = span.parent !== null && this.spans.has(span.parent) ? span.parent : null;
      const siblings = this.children.get(parent);
      if (siblings) siblings.push(span);
      else this.children.set(parent, [span]);
      first = Math.min(first, span.start);
      last = Math.max(last, span.start + span.dur);
    }
    this.domain = first < last ? [first, last] : [0, 1];
  }

  /** @returns {[number, number]} the part of the axis that is shown */
  get view() {
    return this.zoom ?? this.domain;
  }

  /** @param {number} time @returns {number} where it lies in the view, 0 to 1 (and beyond) */
  place(time) {
    const [from, to] = this.view;
    return (time - from) / (to - from);
  }

  /** @param {number} share @returns {number} the time at a place of the view */
  timeAt(share) {
    const [from, to] = this.view;
    return from + share * (to - from);
  }

  /** @param {string} timestamp ISO 8601 @returns {number} nanoseconds after the origin */
  offset(timestamp) {
    return Number(BigInt(Date.parse(timestamp)) * 1_000_000n - this.origin);
  }

  /** @param {number} ns after the origin @returns {number} Unix milliseconds */
  moment(ns) {
    return Number(this.origin / 1000n) / 1000 + ns / 1e6;
  }

  /** @param {number | null} time */
  setCursor(time) {
    if (time === this.cursor) return;
    this.cursor = time;
    this.tell("cursor");
  }

  /** @param {[number, number] | null} zoom */
  setZoom(zoom) {
    if (zoom) {
      const [from, to] = [Math.max(this.domain[0], zoom[0]), Math.min(this.domain[1], zoom[1])];
      if (to - from < 1000) return; // a microsecond
      zoom = [from, to];
    }
    this.zoom = zoom;
    this.tell("view");
  }

  /** @param {string | null} id */
  select(id) {
    if (id !== null && !this.spans.has(id)) return;
    this.selected = id;
    this.tell("select");
  }

  /** @param {string} kind @param {any} [detail] */
  tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

/** @param {Span} span @returns {number | null} N of step_N */
export function stepNumber(span) {
  const match = /^step_(\d+)$/.exec(span.name);
  return match ? Number(match[1]) : null;
}

/** Round times for an axis. @param {[number, number]} view @param {number} wanted @returns {number[]} */
export function ticks([from, to], wanted) {
  const rough = (to - from) / wanted;
  const scale = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * scale).find((n) => n >= rough) ?? rough;
  const found = [];
  for (let at = Math.ceil(from / step); at * step < to; at++) found.push(at * step);
  return found;
}
