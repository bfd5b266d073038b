/** Shares of a whole: a pie or a donut. */

import { drawChart, legendLook, tooltipLook, tooltipRows } from "../chart.js";
import { shown } from "../field.js";
import { format } from "../format.js";
import { single } from "../frames.js";
import { linksOf } from "../links.js";
import { palette, styled } from "../theme.js";
import { follow } from "./follow.js";

const LEGEND_WIDTH = 200; // beside the pie
const LEGEND_HEIGHT = 34; // below it
const LEAST_SIDE = 120; // of a pie that has its legend beside it

export function draw(body, panel, frames, context) {
  const { reduceOptions = {}, pieType, legend = {}, displayLabels = [] } = panel.options;
  const slices = single(frames, reduceOptions, panel.fieldConfig).filter(({ value }) => value !== null && Number(value) > 0);
  if (!slices.length) return false;
  const whole = slices.reduce((sum, { value }) => sum + Number(value), 0);
  const share = ({ value }) => format(Number(value) / whole, { unit: "percentunit", zone: context.zone });
  const text = (slice) => shown(slice.value, slice.field, context.zone).text;
  const hasLegend = legend.showLegend !== false;
  const isRight = hasLegend && legend.placement === "right" && body.clientWidth - LEGEND_WIDTH > LEAST_SIDE;
  const [width, height] = [body.clientWidth - (isRight ? LEGEND_WIDTH : 0), body.clientHeight - (hasLegend && !isRight ? LEGEND_HEIGHT : 0)];
  const side = Math.min(width, height);
  const byName = new Map(slices.map((slice) => [slice.name, slice]));
  const words = (name) => {
    const slice = byName.get(name);
    const told = (legend.values ?? []).map((each) => ({ value: text, percent: share })[each]?.(slice));
    return [name, ...told.filter(Boolean)].join("  ");
  };
  const option = {
    color: palette(),
    legend: hasLegend ? legendLook([...byName.keys()], { isRight, width: isRight ? LEGEND_WIDTH - 30 : 0, formatter: words }) : undefined,
    tooltip: tooltipLook(({ dataIndex, color }) => {
      const slice = slices[dataIndex];
      return tooltipRows(slice.name, [{ colour: color, name: share(slice), text: text(slice) }]);
    }, "item"),
    series: [
      {
        type: "pie",
        radius: [pieType === "donut" ? side * 0.27 : 0, side * 0.46],
        center: [width / 2, height / 2],
        itemStyle: { borderColor: styled("surface"), borderWidth: 2, borderRadius: 3 },
        label: { show: displayLabels.length > 0, position: "inside", fontSize: 11, color: "#fff",
          formatter: ({ dataIndex }) => (Number(slices[dataIndex].value) / whole < 0.05 ? "" : share(slices[dataIndex])) },
        labelLine: { show: false },
        data: slices.map((slice) => ({ name: slice.name, value: Number(slice.value) })),
      },
    ],
  };
  drawChart(body, option, ({ dataIndex }) => follow(linksOf(slices[dataIndex], context)));
  return true;
}
