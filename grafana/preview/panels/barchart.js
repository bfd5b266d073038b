/** Bars of categories: the text column names them, each column of numbers is a series. */

import { axisLook, drawChart, gridLook, legendLook, tooltipLook, tooltipRows } from "../chart.js";
import { isHidden, shown, titleOf } from "../field.js";
import { formatTick } from "../format.js";
import { linksOf } from "../links.js";
import { colourOf, palette } from "../theme.js";
import { follow } from "./follow.js";

export function draw(body, panel, frames, context) {
  const fields = frames.find((each) => each[0]?.values.length);
  if (!fields) return false;
  const { xField, orientation, stacking, legend = {}, xTickLabelMaxLength = 24 } = panel.options;
  const category = fields.find(({ name }) => name === xField) ?? fields.find(({ kind }) => kind !== "number");
  const bars = fields.filter((field) => field.kind === "number" && field !== category && !isHidden(field));
  if (!category || !bars.length) throw new Error("this query has no column of names, or none of numbers");
  const names = category.values.map((value) => shown(value, category, context.zone).text);
  const isLying = orientation === "horizontal";
  const hasLegend = legend.showLegend !== false && bars.length > 1;
  const { unit } = bars[0].config;
  const look = axisLook();
  const grid = gridLook(hasLegend);
  const categories = {
    ...look,
    type: "category",
    data: names,
    inverse: isLying,
    splitLine: { show: false },
    axisLabel: { ...look.axisLabel, interval: isLying ? 0 : "auto", width: isLying ? body.clientWidth * 0.36 : 90, overflow: "truncate",
      formatter: (name) => shortened(name, xTickLabelMaxLength) },
  };
  const values = {
    ...look,
    type: "value",
    splitNumber: 4,
    min: bars[0].config.min,
    max: bars[0].config.max,
    axisLabel: { ...look.axisLabel, formatter: (value) => formatTick(value, { unit, zone: context.zone }) },
  };
  const option = {
    grid,
    legend: hasLegend ? legendLook(bars.map(titleOf)) : undefined,
    xAxis: isLying ? values : categories,
    yAxis: isLying ? categories : values,
    tooltip: tooltipLook((items) => tip(items, bars, names, context)),
    series: bars.map((field, at) => oneSeries(field, at, stacking, isLying)),
  };
  drawChart(body, option, ({ seriesIndex, dataIndex }) => {
    const field = bars[seriesIndex];
    const links = [field, category].flatMap((each) => linksOf({ field: each, value: each.values[dataIndex], row: dataIndex, fields }, context));
    follow(links);
  });
  return true;
}

const shortened = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

function oneSeries(field, at, stacking, isLying) {
  const colour = colourOf(field.config.color?.mode === "fixed" ? field.config.color.fixedColor : null) ?? palette()[at % palette().length];
  return {
    name: titleOf(field),
    type: "bar",
    stack: stacking === "normal" || stacking === "percent" ? "all" : undefined,
    barMaxWidth: 28,
    itemStyle: { color: colour, borderRadius: stacking === "normal" ? 0 : isLying ? [0, 3, 3, 0] : [3, 3, 0, 0] },
    data: field.values.map((value) => {
      const own = field.config.color?.mode === "thresholds" ? colourOf(shown(value, field).colour) : null;
      return { value: value === null ? null : Number(value), ...(own ? { itemStyle: { color: own } } : {}) };
    }),
  };
}

function tip(items, bars, names, { zone }) {
  const row = items[0].dataIndex;
  return tooltipRows(
    names[row],
    items.map(({ seriesIndex, color }) => {
      const field = bars[seriesIndex];
      return { colour: color, name: titleOf(field), text: shown(field.values[row], field, zone).text };
    }),
  );
}
