/** Apache ECharts in the look of this page: one chart a panel body, kept over redraws. */

import { el } from "./dom.js";
import { styled } from "./theme.js";
import * as echarts from "./vendor/echarts.esm.min.js";

const charts = new WeakMap();
const LEGEND_HEIGHT = 26;
const MOST_LETTERS = 40; // of a name in a legend

/**
 * Draws, or draws again.
 *
 * @param {HTMLElement} body the panel's; what was in it gives way
 * @param {Object} option ECharts'
 * @param {function(Object): void} [clicked] called with what was clicked
 */
export function drawChart(body, option, clicked) {
  const chart = charts.get(body) ?? start(body);
  chart.off("click");
  if (clicked) chart.on("click", clicked);
  chart.setOption({ animation: false, ...option }, { notMerge: true });
}

function start(body) {
  const holder = el("div", { class: "chart" });
  body.replaceChildren(holder);
  const chart = echarts.init(holder, null, { renderer: "svg" });
  const watch = new ResizeObserver(() => chart.resize());
  watch.observe(holder);
  charts.set(body, Object.assign(chart, { watch }));
  return chart;
}

/** Forgets the chart of a body, so that something else can stand there. */
export function clearChart(body) {
  const chart = charts.get(body);
  chart?.watch.disconnect();
  chart?.dispose();
  charts.delete(body);
}

/** How many labels of times fit side by side. */
export const fitting = (body) => Math.max(Math.floor(body.clientWidth / 70), 2);

export function axisLook() {
  return {
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: { color: styled("muted"), fontSize: 11, hideOverlap: true },
    splitLine: { lineStyle: { color: styled("line") } },
  };
}

export function gridLook(hasLegend) {
  return { left: 4, right: 14, top: 14, bottom: hasLegend ? LEGEND_HEIGHT + 8 : 6, outerBoundsMode: "same", outerBoundsContain: "axisLabel" };
}

const shortened = (name) => (name.length > MOST_LETTERS ? `${name.slice(0, MOST_LETTERS - 1)}…` : name);

export function legendLook(names, { isRight = false, width = 0, formatter = shortened } = {}) {
  return {
    type: "scroll",
    data: names,
    orient: isRight ? "vertical" : "horizontal",
    ...(isRight ? { right: 4, top: "middle" } : { left: 4, bottom: 2 }),
    icon: "roundRect",
    itemWidth: 10,
    itemHeight: 10,
    itemGap: isRight ? 8 : 14,
    formatter,
    textStyle: { color: styled("muted"), fontSize: 12, ...(width ? { width, overflow: "truncate" } : {}) },
    pageTextStyle: { color: styled("muted") },
    pageIconColor: styled("muted"),
    pageIconInactiveColor: styled("line"),
  };
}

export function tooltipLook(formatter, trigger = "axis") {
  return {
    trigger,
    confine: true,
    formatter,
    axisPointer: { type: "line", lineStyle: { color: styled("muted"), type: "dashed" } },
    backgroundColor: styled("raised"),
    borderColor: styled("line"),
    textStyle: { color: styled("text"), fontSize: 12 },
    extraCssText: "box-shadow: 0 6px 20px rgb(0 0 0 / .18); border-radius: 8px; padding: 8px 10px",
  };
}

/** The content of a tooltip, as elements: a heading and rows of {colour, name, text}. */
export function tooltipRows(heading, rows) {
  const line = ({ colour, name, text }) =>
    el("div", { class: "tip-row" }, el("i", { style: `background:${colour}` }), el("span", {}, name), el("b", {}, text));
  return el("div", { class: "tip" }, el("div", { class: "tip-head" }, heading), ...rows.map(line));
}
