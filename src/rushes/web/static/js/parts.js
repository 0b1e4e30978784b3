// The parts of a denoising step: what each kind of module took, as `rushes.instrument` writes it on the step's span.

/** @typedef {import("./model.js").Span} Span */
/** @typedef {{kind: string, tone: string, ns: number, executed: number | null, skipped: number | null}} Part */

export const KINDS = ["spatial_attn", "temporal_attn", "joint_attn", "cross_attn", "ffn", "audio", "block", "other"];
/** @type {Record<string, string>} */
export const NAMES = {
  spatial_attn: "Spatial attention", temporal_attn: "Temporal attention", joint_attn: "Joint attention",
  cross_attn: "Cross-attention", ffn: "Feed-forward", audio: "Audio", block: "Compiled blocks", other: "Other",
};
/** @type {Record<string, string>} sums of other stages have the colour of what they do */
const TONES = { temporal_upsample: "temporal", spatial_upsample: "spatial" };

/** @param {string} kind @returns {string | null} the name of its colour */
export const toneOf = (kind) => (kind in NAMES ? kind.replace(/_attn$/, "") : (TONES[kind] ?? null));

/** @param {Span} step @returns {Part[]} none for a step whose modules were not timed; together they are the step */
export function partsOf(step) {
  const number = (/** @type {string} */ key) => (step.attrs[key] === undefined ? null : Number(step.attrs[key]));
  const found = KINDS.flatMap((kind) => {
    const ns = number(`rushes.ns.${kind}`);
    return ns === null || !(ns >= 0)
      ? []
      : [{ kind, tone: toneOf(kind) ?? "other", ns, executed: number(`rushes.executed.${kind}`), skipped: number(`rushes.skipped.${kind}`) }];
  });
  const rest = (number("rushes.ns.total") ?? 0) - found.reduce((sum, part) => sum + part.ns, 0);
  if (found.length && rest > 0) found.push({ kind: "other", tone: "other", ns: rest, executed: null, skipped: null });
  return found;
}

/** @param {Span} span @returns {boolean} whether it adds up many modules: its length counts, its place doesn't */
export const isSum = (span) => span.attrs["rushes.aggregated"] === "true";
