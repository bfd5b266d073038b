/** One panel: its frame, what it asks, and the state that it is in (data-state: loading, drawn, empty, error). */

import { clearChart } from "./chart.js";
import { el } from "./dom.js";
import { frame } from "./frames.js";
import { interpolate } from "./interpolate.js";
import { inline } from "./markdown.js";
import { safeAddress } from "./links.js";
import { draw as barchart } from "./panels/barchart.js";
import { draw as bargauge } from "./panels/bargauge.js";
import { draw as piechart } from "./panels/pie.js";
import { draw as stat } from "./panels/stat.js";
import { draw as table } from "./panels/table.js";
import { draw as text } from "./panels/text.js";
import { draw as timeseries } from "./panels/timeseries.js";
import { panelRange } from "./time_range.js";

const KINDS = { barchart, bargauge, piechart, stat, table, text, timeseries };
const LEAST_POINTS = 100;

/**
 * A panel on the page: {element, load(context, ask), redraw()}.
 *
 * @param {Object} panel the JSON's
 */
export function createPanel(panel) {
  const title = el("h3", {});
  const note = panel.timeFrom ? el("span", { class: "note" }, `Last ${panel.timeFrom.replace(/^now-/, "")}`) : null;
  const body = el("div", { class: "body" });
  const head = el("header", {}, title, note, panel.description ? description(panel) : null);
  const { x, y, w, h } = panel.gridPos;
  const style = `--x:${x + 1};--y:${y + 1};--w:${w};--h:${h}`;
  const data = { panelId: String(panel.id), kind: panel.type, state: "loading" };
  const element = el("section", { class: "panel", style, data, "aria-label": panel.title || null }, head, body);
  let last = null;

  function redraw() {
    if (!last) return;
    try {
      if (!KINDS[panel.type]) throw new Error(`The preview cannot draw panels of the kind ${panel.type}. Grafana can.`);
      const isDrawn = KINDS[panel.type](body, panel, last.frames, last.context);
      if (isDrawn) element.dataset.state = "drawn";
      else say("empty", panel.fieldConfig?.defaults?.noValue ?? "No data in this range");
    } catch (error) {
      say("error", error.message);
    }
  }

  function say(state, message) {
    clearChart(body);
    body.replaceChildren(el("p", { class: state === "error" ? "failure" : "nothing", role: state === "error" ? "alert" : null }, message));
    element.dataset.state = state;
  }

  async function load(context, ask) {
    title.replaceChildren(...titleNodes(panel, context));
    element.setAttribute("aria-busy", "true");
    if (!last) element.dataset.state = "loading";
    try {
      const range = panelRange(context.range, panel.timeFrom, context.zone);
      const maxDataPoints = panel.maxDataPoints ?? Math.max(Math.round(body.clientWidth), LEAST_POINTS);
      const targets = (panel.targets ?? []).filter(({ hide }) => !hide);
      const answers = await Promise.all(targets.map(({ refId }) => ask({ panel: panel.id, ref: refId, ...range, maxDataPoints })));
      const frames = answers.map((answer, at) => frame(answer, targets[at].refId, panel.fieldConfig));
      last = { frames, context: { ...context, range } };
      redraw();
    } catch (error) {
      if (error.name === "AbortError") return;
      last = null;
      say("error", error.message);
    }
    element.removeAttribute("aria-busy");
  }

  return { element, load, redraw };
}

function titleNodes({ title = "", links = [] }, { lookup }) {
  const text = interpolate(title, lookup, "text");
  const href = links.length ? safeAddress(interpolate(links[0].url, lookup, "glob")) : null;
  return [href ? el("a", { href, title: links[0].title }, text) : text];
}

let described = 0;

/** The "i" whose words show on hover, focus and tap. */
function description(panel) {
  described += 1;
  const id = `about-${described}`;
  const words = el("span", { class: "about", role: "tooltip", id }, ...inline(panel.description));
  return el("button", { type: "button", class: "info", "aria-label": "About this panel", "aria-describedby": id }, "i", words);
}
