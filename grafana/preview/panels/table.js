/** Rows as the query orders them: links, gauge cells, colours by threshold, sorted by a click on a heading. */

import { compare, isNumber } from "../decimal.js";
import { el } from "../dom.js";
import { isHidden, shown, titleOf, valueColour } from "../field.js";
import { linksOf } from "../links.js";
import { colourOf, palette } from "../theme.js";
import { meter } from "./bargauge.js";
import { linked } from "./linked.js";

const order = new WeakMap(); // by body: the sorting that a person chose, kept over refreshes

export function draw(body, panel, frames, context) {
  const fields = frames.find((each) => each[0]?.values.length);
  if (!fields) return false;
  const columns = fields.filter((field) => !isHidden(field));
  const sorting = order.get(body) ?? usualSorting(panel, columns);
  const rows = sorted([...fields[0].values.keys()], columns[sorting?.column]?.values, sorting);
  const sort = (column) => {
    const isDown = sorting?.column === column ? !sorting.isDown : columns[column].kind === "number";
    order.set(body, { column, isDown });
    draw(body, panel, frames, context);
  };
  const greatest = columns.map(({ values, kind }) => (kind === "number" ? Math.max(...values.map((value) => Number(value ?? 0))) : 0));
  const table = el(
    "table",
    {},
    el("thead", {}, el("tr", {}, ...columns.map((field, at) => heading(field, at, sorting, sort)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...columns.map((field, at) => cell(field, row, fields, greatest[at], context))))),
  );
  const scroller = el("div", { class: "scroller", tabindex: "0" }, table);
  const before = body.querySelector(".scroller");
  const [top, left] = [before?.scrollTop ?? 0, before?.scrollLeft ?? 0];
  body.replaceChildren(scroller);
  scroller.scrollTo(left, top);
  return true;
}

function usualSorting({ options }, columns) {
  const [told] = options?.sortBy ?? [];
  const column = told ? columns.findIndex((field) => titleOf(field) === told.displayName) : -1;
  return column < 0 ? null : { column, isDown: Boolean(told.desc) };
}

function sorted(rows, values, sorting) {
  if (!values) return rows;
  const way = sorting.isDown ? -1 : 1;
  return rows.sort((left, right) => {
    const [a, b] = [values[left], values[right]];
    if (a === null || b === null) return Number(a === null) - Number(b === null); // what is absent comes last
    return way * (isNumber(a) && isNumber(b) ? compare(a, b) : String(a).localeCompare(String(b)));
  });
}

const alignment = ({ kind, config }) => ({ left: "left", right: "right", center: "center" })[config.custom.align] ?? (kind === "number" ? "right" : "left");

function heading(field, at, sorting, sort) {
  const isSorted = sorting?.column === at;
  const state = isSorted ? (sorting.isDown ? "descending" : "ascending") : null;
  const { width, minWidth } = field.config.custom;
  const style = width || minWidth ? `--width:${Number(width ?? minWidth)}px` : null;
  const button = el("button", { type: "button", on: { click: () => sort(at) } }, titleOf(field), isSorted ? (sorting.isDown ? " ↓" : " ↑") : "");
  return el("th", { class: alignment(field), "aria-sort": state, style, scope: "col" }, button);
}

function cell(field, row, fields, greatest, context) {
  const value = field.values[row];
  const { text, colour, isEmpty } = shown(value, field, context.zone);
  const kind = field.config.custom.cellOptions?.type ?? "auto";
  const content = linked(text, linksOf({ field, value, row, fields }, context));
  const title = text.length > 24 || (field.kind === "number" && !isEmpty && String(value) !== text) ? String(value ?? text) : null;
  const attributes = { class: [alignment(field), isEmpty ? "none" : ""].join(" ").trim(), title };
  if (kind === "gauge") {
    const { min = 0, max = greatest } = field.config;
    const css = colourOf(colour ?? valueColour(value, field.config)) ?? palette()[0];
    const words = field.config.custom.cellOptions.valueDisplayMode === "hidden" ? null : el("span", {}, content);
    return el("td", { ...attributes, class: "gauge" }, el("span", { class: "cell-gauge" }, meter(Number(value ?? 0), min, max, css), words));
  }
  const css = colourOf(colour);
  if (css && kind === "color-background") return el("td", { ...attributes, style: `background:${css};color:#fff` }, content);
  return el("td", { ...attributes, style: css && kind === "color-text" ? `color:${css}` : null }, content);
}
