// Numbers as people read them: scaled units, three significant digits. The twin of rushes/web/numbers.py.

/** @param {number} value @returns {string} 1.24, 45.2, 680 */
export function significant(value) {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  const text = value.toFixed(Math.min(digits, 20));
  return text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

/** @param {number} seconds @returns {string} 680 ms, 1.24 s, 2 min 15 s */
export function duration(seconds) {
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 60) {
    for (const [unit, scale] of /** @type {[string, number][]} */ ([["s", 1], ["ms", 1e-3], ["µs", 1e-6]])) {
      if (size >= scale * 0.9995) return `${significant(seconds / scale)} ${unit}`;
    }
    return `${significant(seconds / 1e-9)} ns`;
  }
  const whole = Math.round(size);
  const sign = seconds < 0 ? "-" : "";
  if (whole < 3600) return sign + two(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86400) return sign + two(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return sign + two(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

/** @param {number} large @param {string} unit @param {number} small @param {string} smallUnit */
const two = (large, unit, small, smallUnit) => (small ? `${large} ${unit} ${small} ${smallUnit}` : `${large} ${unit}`);

/** @param {number} ratio @returns {string} a share to a tenth of a percent */
export function percent(ratio) {
  return ratio > 0 && ratio < 0.001 ? "< 0.1 %" : `${(100 * ratio).toFixed(1)} %`;
}

/** @param {number} value @returns {string} 892, 12.3 k, 4.5 M */
export function count(value) {
  const size = Math.abs(value);
  for (const [unit, scale] of /** @type {[string, number][]} */ ([["G", 1e9], ["M", 1e6], ["k", 1e3]])) {
    if (size >= scale * 0.9995) return `${significant(value / scale)} ${unit}`;
  }
  return significant(value);
}

/**
 * A value in a panel's unit.
 * @param {number} value @param {string} unit
 * @returns {{text: string, unit: string}} the figure and what stands beside it
 */
export function inUnit(value, unit) {
  if (unit === "s" || unit === "ms") {
    const text = duration(unit === "ms" ? value / 1000 : value);
    const at = text.indexOf(" ");
    return text.indexOf(" ", at + 1) > 0 ? { text, unit: "" } : { text: text.slice(0, at), unit: text.slice(at + 1) };
  }
  if (unit === "%") return { text: percentage(value), unit: "%" };
  return { text: count(value), unit };
}

/** @param {number} value a percentage: 99.95 must not read 100 @returns {string} */
function percentage(value) {
  const text = significant(value);
  return text === "100" && value < 100 ? String(Math.floor(value * 100) / 100) : text;
}

/** @type {Record<string, string>} units as metrics tell them (UCUM, Prometheus), and as pages show them */
const UNITS = { s: "s", seconds: "s", ms: "ms", milliseconds: "ms", "%": "%", percent: "%", By: "B", bytes: "B", Cel: "°C", 1: "" };

/** @param {string} told @returns {string} a metric's unit as pages show it: none for what it counts, such as {job} */
export function unitOf(told) {
  const [, counted = null] = /^\{(.*)\}$/.exec(told) ?? [];
  return UNITS[counted ?? told] ?? (counted === null ? told : "");
}

/** @param {number} value @param {string} unit @returns {string} */
export function withUnit(value, unit) {
  const shown = inUnit(value, unit);
  return shown.unit ? `${shown.text} ${shown.unit}` : shown.text;
}

/** @param {number} ns @returns {string} */
export const nanoseconds = (ns) => duration(ns / 1e9);

/** @param {string} id @returns {string} shortened in the middle */
export const short = (id) => (id.length <= 16 ? id : `${id.slice(0, 10)}…${id.slice(-6)}`);
