// The strips of a trace (waterfall, steps, GPUs, log, drawer) over one model.
import { Drawer } from "./drawer.js";
import { GpuElement } from "./gpu.js";
import { showLinks } from "./links.js";
import { LogElement } from "./log.js";
import { TraceModel } from "./model.js";
import { StepsElement } from "./steps.js";
import { WaterfallElement } from "./waterfall.js";

/** @param {any} data what the page brought: {trace, gpu, logs} @returns {TraceModel} */
export function beginStrips(data) {
  const model = new TraceModel();
  model.merge({ ...data.trace, logs: data.logs });
  /** @type {WaterfallElement} */ (document.querySelector("rushes-waterfall")).begin(model);
  /** @type {StepsElement} */ (document.querySelector("rushes-steps")).begin(model);
  const gpu = /** @type {GpuElement} */ (document.querySelector("rushes-gpu"));
  gpu.begin(model, data.gpu);
  model.addEventListener("gpu", (event) => gpu.show(/** @type {CustomEvent} */ (event).detail));
  /** @type {LogElement} */ (document.querySelector("rushes-log")).begin(model);
  new Drawer(model);
  showLinks(model);
  const linked = /^#span=([0-9a-f]{16})$/.exec(location.hash);
  if (linked) model.select(linked[1]);
  return model;
}
