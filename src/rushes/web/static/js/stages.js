// <rushes-stages>: where a video's time went, as one bar of its stages and a list with the same colours.
import { fill, h } from "./dom.js";
import { nanoseconds, percent } from "./numbers.js";

class StagesElement extends HTMLElement {
  /** @param {any} video the video's story */
  show(video) {
    const whole = video.stages.reduce((/** @type {number} */ sum, /** @type {any} */ s) => sum + s.ns, 0) + video.open_ns;
    const most = Math.max(...video.stages.map((/** @type {any} */ s) => s.ns), 0);
    const rest = video.running ? "under way, not reported yet" : "in no stage";
    const width = (/** @type {number} */ ns) => ({ width: `${(100 * ns) / whole}%` });
    const restShown = video.open_ns > whole * 0.001;
    fill(
      this,
      h("div", { class: "stage-bar", role: "img", "aria-label": video.stages.map((/** @type {any} */ s) => `${s.name} ${s.text}`).join(", ") },
        ...video.stages.map((/** @type {any} */ s) => h("i", { "data-stage": s.kind, style: width(s.ns), title: `${s.name}: ${s.text}, ${s.share}` })),
        restShown ? h("i", { "data-stage": "open", style: width(video.open_ns), title: rest }) : null),
      h("ul", { class: "stage-list" },
        ...video.stages.map((/** @type {any} */ s) =>
          h("li", { "data-largest": s.ns === most || null },
            h("i", { class: "swatch", "data-stage": s.kind }), h("span", {}, s.name), h("span", {}, s.text), h("span", { class: "share" }, s.share))),
        restShown
          ? h("li", { class: "faint" }, h("i", { class: "swatch" }), h("span", {}, rest), h("span", {}, nanoseconds(video.open_ns)),
              h("span", { class: "share" }, percent(video.open_ns / whole)))
          : null),
    );
  }
}
customElements.define("rushes-stages", StagesElement);
export { StagesElement };
