/** Time series: lines and areas, bars, stacked or not; annotations and thresholds on them. */

import { axisLook, drawChart, fitting, gridLook, legendLook, tooltipLook, tooltipRows } from "../chart.js";
import { isHidden, shown, titleOf } from "../field.js";
import { formatTick } from "../format.js";
import { series } from "../frames.js";
import { linksOf } from "../links.js";
import { colourOf, palette, styled } from "../theme.js";
import { readable, ticks } from "../zone.js";
import { follow } from "./follow.js";

const DASHES = { dash: "dashed", dot: "dotted" };

/** @returns {boolean} whether there was anything to draw */
export function draw(body, panel, frames, context) {
  const lines = frames.flatMap((fields) => (fields[0].values.length ? series(fields, panel.fieldConfig) : []));
  const visible = lines.filter(({ field, points }) => !isHidden(field) && points.some(([, value]) => value !== null)).sort(byTotal);
  if (!visible.length) return false;
  const times = [...new Set(visible.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b);
  const colours = visible.map(({ field }, at) => colourOf(fixed(field)) ?? palette()[at % palette().length]);
  const legend = panel.options?.legend?.showLegend !== false && visible.length + context.annotations.length > 1;
  const drawn = visible.map((line, at) => oneSeries(line, times, colours[at]));
  drawn[0] = { ...drawn[0], ...marks(panel, context) };
  const option = {
    color: colours,
    grid: gridLook(legend),
    legend: legend ? legendLook(visible.map(({ field }) => titleOf(field))) : undefined,
    xAxis: timeAxis(times, visible, context, fitting(body)),
    yAxis: valueAxes(visible, context.zone),
    tooltip: tooltipLook((items) => tip(items, visible, context)),
    series: drawn,
  };
  drawChart(body, option, ({ seriesIndex, dataIndex, componentType }) => {
    if (componentType !== "series") return;
    const { field, points } = visible[seriesIndex];
    const row = points.findIndex(([at]) => at === times[dataIndex]);
    follow(linksOf({ field, value: points[row]?.[1] ?? null, row, fields: [field] }, context));
  });
  return true;
}

/** Members, which the query gives in no order of their own: the greatest first. */
const total = ({ points }) => points.reduce((sum, [, value]) => sum + Number(value), 0);
const byTotal = (left, right) => (Object.keys(left.field.labels).length ? total(right) - total(left) : 0);

const fixed = ({ config }) => (config.color?.mode === "fixed" ? config.color.fixedColor : null);
const isBars = ({ config }) => config.custom.drawStyle === "bars";
const isStacked = ({ config }) => ["normal", "percent"].includes(config.custom.stacking?.mode);

/** Every series of a stack has a value at each time, or ECharts would set bars beside each other. */
function oneSeries({ field, points }, times, colour) {
  const { custom } = field.config;
  const known = new Map(points);
  const absent = isStacked(field) ? 0 : null;
  const data = times.map((at) => [at, known.has(at) && known.get(at) !== null ? Number(known.get(at)) : absent]);
  const shared = {
    name: titleOf(field),
    data,
    stack: isStacked(field) ? custom.stacking.group ?? "A" : undefined,
    yAxisIndex: custom.axisPlacement === "right" ? 1 : 0,
    itemStyle: { color: colour },
  };
  if (isBars(field)) return { ...shared, type: "bar", barMaxWidth: 36, barCategoryGap: "20%" };
  return {
    ...shared,
    type: "line",
    smooth: custom.lineInterpolation === "smooth" ? 0.3 : false,
    step: custom.lineInterpolation === "stepAfter" ? "end" : false,
    symbol: "circle",
    symbolSize: 4,
    showSymbol: custom.showPoints !== "never" && points.length < 3,
    connectNulls: Boolean(custom.spanNulls),
    lineStyle: { width: Math.max(custom.lineWidth ?? 1, 1.5), color: colour, type: DASHES[custom.lineStyle?.fill] ?? "solid" },
    areaStyle: custom.fillOpacity ? { opacity: custom.fillOpacity / 100, color: colour } : undefined,
  };
}

function timeAxis(times, visible, { range, zone }, most) {
  const gap = times.slice(1).reduce((least, at, before) => Math.min(least, at - times[before]), Infinity);
  const beside = visible.some(({ field }) => isBars(field)) && Number.isFinite(gap) ? gap / 2 : 0;
  const [min, max] = [Math.min(range.from, times[0] - beside), Math.max(range.to, times.at(-1) + beside)];
  const marks = ticks(min, max, most, zone);
  const labels = new Map(marks.map(({ at, label }) => [at, label]));
  const customValues = marks.map(({ at }) => at);
  const look = axisLook();
  return {
    ...look,
    type: "time",
    min,
    max,
    axisLine: { show: true, lineStyle: { color: styled("line") } },
    axisLabel: { ...look.axisLabel, customValues, formatter: (at) => labels.get(at) ?? "" },
    axisTick: { show: true, customValues, lineStyle: { color: styled("line") } },
    splitLine: { show: false },
  };
}

function valueAxes(visible, zone) {
  const side = (isRight) => {
    const found = visible.find(({ field }) => (field.config.custom.axisPlacement === "right") === isRight);
    const { unit, min, max, custom = {} } = found?.field.config ?? {};
    const look = axisLook();
    const isShare = found && visible.some(({ field }) => field.config.custom.stacking?.mode === "percent");
    return {
      ...look,
      type: "value",
      show: Boolean(found),
      position: isRight ? "right" : "left",
      splitNumber: 4,
      minInterval: visible.every(({ points }) => points.every(([, value]) => Number.isInteger(Number(value)))) ? 1 : undefined,
      min: min ?? (custom.axisSoftMin === undefined ? undefined : (extent) => Math.min(extent.min, custom.axisSoftMin)),
      max: isShare ? undefined : max,
      splitLine: { ...look.splitLine, show: !isRight },
      axisLabel: { ...look.axisLabel, formatter: (value) => formatTick(value, { unit, zone }) },
    };
  };
  return [side(false), side(true)];
}

/** Thresholds as lines, annotations as lines and areas, both on the first series. */
function marks(panel, { annotations, range }) {
  const { thresholds, custom = {} } = panel.fieldConfig?.defaults ?? {};
  const hasLines = /line|dashed/.test(custom.thresholdsStyle?.mode ?? "");
  const bounds = hasLines ? thresholds.steps.filter(({ value }) => value !== null) : [];
  const within = annotations.filter(({ from, to }) => to >= range.from && from <= range.to);
  const line = (colour) => ({ color: colour, type: "dashed", width: 1.2 });
  return {
    markLine: {
      symbol: "none",
      label: { show: false },
      data: [
        ...bounds.map(({ value, color }) => ({ yAxis: value, lineStyle: line(colourOf(color)) })),
        ...within.map(({ from, colour }) => ({ xAxis: from, lineStyle: line(colourOf(colour) ?? styled("accent")) })),
      ],
      silent: true,
    },
    markArea: {
      silent: true,
      data: within
        .filter(({ from, to }) => to > from)
        .map(({ from, to, colour }) => [
          { xAxis: from, itemStyle: { color: colourOf(colour) ?? styled("accent"), opacity: 0.12 } },
          { xAxis: Math.min(to, range.to) },
        ]),
    },
  };
}

function tip(items, visible, { annotations, range, zone }) {
  const at = items[0].value[0];
  const near = (range.to - range.from) / 100;
  const rows = items
    .map(({ seriesIndex, color }) => {
      const { field, points } = visible[seriesIndex];
      const value = points.find(([when]) => when === at)?.[1] ?? null;
      return { value, colour: color, name: titleOf(field), text: shown(value, field, zone).text };
    })
    .filter(({ value }) => value !== null && (items.length === 1 || Number(value) !== 0))
    .sort((left, right) => Number(right.value) - Number(left.value));
  const events = annotations
    .filter(({ from, to }) => from - near <= at && at <= to + near)
    .map(({ colour, title, text }) => ({ colour: colourOf(colour) ?? styled("accent"), name: title, text }));
  return tooltipRows(readable(at, zone), [...rows, ...events]);
}
