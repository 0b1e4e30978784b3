// <rushes-time ms="…">: a moment as people say it ("3 min ago"), or with `clock` as a clock shows it ("21:07"); the
// absolute one on hover, in the local zone.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** @param {number} ms @returns {string} 14:02, with the day if it is not today's */
export function clockTime(ms) {
  const moment = new Date(ms);
  const today = new Date().toDateString() === moment.toDateString();
  return today ? clock.format(moment) : `${day.format(moment)} ${clock.format(moment)}`;
}

/** @param {number} ms @returns {string} 14:02:07.250 */
export function exactTime(ms) {
  return `${seconds.format(new Date(ms))}.${String(Math.floor(ms % 1000)).padStart(3, "0")}`;
}

/** @param {number} ms @returns {string} */
export function absolute(ms) {
  const d = new Date(ms);
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${exactTime(ms)}`;
}

/** @param {number} ms @returns {string} */
export function relative(ms) {
  const ago = Math.round((Date.now() - ms) / 1000);
  if (ago < 5) return "now";
  if (ago < 60) return `${ago} s ago`;
  if (ago < 3600) return `${Math.floor(ago / 60)} min ago`;
  if (ago < 86400) return `${Math.floor(ago / 3600)} h ago`;
  return clockTime(ms);
}

/** @type {Set<MomentElement>} */
const shown = new Set();
setInterval(() => shown.forEach((element) => element.show()), 10_000);

class MomentElement extends HTMLElement {
  static observedAttributes = ["ms"];

  connectedCallback() {
    shown.add(this);
    this.show();
  }

  disconnectedCallback() {
    shown.delete(this);
  }

  attributeChangedCallback() {
    this.show();
  }

  show() {
    const ms = Number(this.getAttribute("ms"));
    if (!ms) return;
    const text = this.hasAttribute("clock") ? clockTime(ms) : relative(ms);
    if (this.textContent !== text) this.textContent = text;
    this.title = absolute(ms);
  }
}
customElements.define("rushes-time", MomentElement);
