/** Big figures, one or several, with a sparkline where there is a series. */

import { el, svg } from "../dom.js";
import { shown } from "../field.js";
import { single } from "../frames.js";
import { linksOf } from "../links.js";
import { colourOf, palette } from "../theme.js";
import { linked } from "./linked.js";

const WIDTH = 100; // of the sparkline's own coordinates
const HEIGHT = 30;

export function draw(body, panel, frames, context) {
  const { reduceOptions = {}, graphMode, colorMode, textMode } = panel.options;
  const found = single(frames, reduceOptions, panel.fieldConfig);
  if (!found.some(({ value }) => value !== null)) return false;
  const named = textMode === "value_and_name" || textMode === "name" || (textMode !== "value" && found.length > 1);
  const stats = found.map((each) => {
    const { text, colour, isEmpty } = shown(each.value, each.field, context.zone);
    const css = colourOf(colour);
    const style = css && colorMode?.startsWith("background") ? `background:${css};color:#fff` : css && colorMode !== "none" ? `color:${css}` : null;
    const value = el("span", { class: isEmpty ? "value none" : "value", style, title: isEmpty ? text : told(each.value, text) }, text);
    return el(
      "div",
      { class: "stat", data: { name: each.name } },
      named ? el("span", { class: "name" }, each.name) : null,
      linked(value, linksOf(each, context)),
      graphMode === "area" && each.points?.length > 1 ? sparkline(each.points, css ?? palette()[0]) : null,
    );
  });
  body.parentElement.style.setProperty("--values", stats.length); // where each is a line, they decide the height
  body.replaceChildren(el("div", { class: "stats", data: { count: String(stats.length) } }, ...stats));
  return true;
}

/** The exact value, where the text is shorter. */
const told = (value, text) => (value === null || String(value) === text ? null : String(value));

function sparkline(points, colour) {
  const known = points.filter(([, value]) => value !== null).map(([at, value]) => [at, Number(value)]);
  const [first, last] = [known[0][0], known.at(-1)[0]];
  const values = known.map(([, value]) => value);
  const [least, most] = [Math.min(0, ...values), Math.max(...values)];
  const place = ([at, value]) => {
    const x = ((at - first) / (last - first || 1)) * WIDTH;
    const y = HEIGHT - 2 - ((value - least) / (most - least || 1)) * (HEIGHT - 4);
    return `${x.toFixed(2)},${y.toFixed(2)}`;
  };
  const line = known.map(place).join(" L");
  return svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { d: `M${line} L${WIDTH},${HEIGHT} L0,${HEIGHT} Z`, fill: colour, opacity: "0.14" }),
    svg("path", { d: `M${line}`, fill: "none", stroke: colour, "stroke-width": "1.5", "vector-effect": "non-scaling-stroke" }),
  );
}
