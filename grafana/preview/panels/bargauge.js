/** A bar a value: name, bar, figure. */

import { el } from "../dom.js";
import { shown } from "../field.js";
import { single } from "../frames.js";
import { linksOf } from "../links.js";
import { colourOf, palette } from "../theme.js";
import { linked } from "./linked.js";

export function draw(body, panel, frames, context) {
  const found = single(frames, panel.options.reduceOptions ?? {}, panel.fieldConfig);
  if (!found.length) return false;
  const most = Math.max(...found.map(({ value }) => Number(value ?? 0)));
  const rows = found.map((each) => {
    const { min = 0, max = most } = each.field.config;
    const { text, colour } = shown(each.value, each.field, context.zone);
    return el(
      "li",
      { class: "gauge-row", data: { name: each.name } },
      el("span", { class: "name", title: each.name }, linked(each.name, linksOf(each, context))),
      meter(Number(each.value ?? 0), min, max, colourOf(colour) ?? palette()[0]),
      el("span", { class: "figure", title: String(each.value ?? "") }, text),
    );
  });
  body.replaceChildren(el("ul", { class: "gauges" }, ...rows));
  return true;
}

/** The bar alone, filled from the least to the greatest value. */
export function meter(value, min, max, colour) {
  const share = max > min ? Math.min(Math.max((value - min) / (max - min), 0), 1) : 0;
  return el("span", { class: "meter" }, el("span", { style: `width:${(share * 100).toFixed(2)}%;background:${colour}` }));
}
