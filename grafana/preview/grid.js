/** Panels and rows on Grafana's grid of 24 columns; one column where the page is narrow. */

import { el } from "./dom.js";
import { interpolate } from "./interpolate.js";
import { createPanel } from "./panel.js";

const QUERIES_AT_ONCE = 4; // a browser has six connections to an origin; variables and pages want some

/** The dashboard's panels: {element, load(context, ask, signal), redraw()}. */
export function createGrid({ panels }) {
  const element = el("main", { class: "grid" });
  const drawn = [];
  const headings = [];
  const parts = panels.flatMap((part) => [part, ...(part.panels ?? [])]); // a row that is closed in Grafana has its panels inside
  for (const part of parts.sort(byPlace)) {
    if (part.type === "row") {
      const heading = row(part);
      headings.push({ part, heading });
      element.append(heading);
    } else {
      const panel = createPanel(part);
      element.append(panel.element);
      drawn.push(panel);
    }
  }

  /** Asks for all panels again, a few at a time, from top to bottom. */
  async function load(context, ask, signal) {
    for (const { part, heading } of headings) heading.querySelector("h2").textContent = interpolate(part.title, context.lookup, "text");
    const waiting = [...drawn];
    const work = async () => {
      while (waiting.length && !signal.aborted) await waiting.shift().load(context, ask);
    };
    await Promise.all(Array.from({ length: QUERIES_AT_ONCE }, work));
  }

  return { element, load, redraw: () => drawn.forEach((panel) => panel.redraw()) };
}

const byPlace = (left, right) => left.gridPos.y - right.gridPos.y || left.gridPos.x - right.gridPos.x;

function row({ gridPos, title }) {
  return el("div", { class: "row", style: `--y:${gridPos.y + 1}` }, el("h2", {}, title));
}
