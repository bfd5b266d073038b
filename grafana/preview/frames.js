/** ClickHouse's answer as frames of fields, and what panels take from them. Pure. */

import { add, compare, divide, isNumber, subtract } from "./decimal.js";
import { configured, isHidden, pattern } from "./field.js";
import { interpolate, plain } from "./interpolate.js";

/**
 * Fields of an answer: {name, kind, values, ref, labels, config, dateOnly}.
 *
 * Kind is number (values: numbers or decimal strings), time (instants in milliseconds), boolean or string.
 */
export function frame({ meta, data }, ref, fieldConfig) {
  return meta.map(({ name, type }, column) => {
    const bare = bareType(type);
    const kind = kindOf(bare);
    const values = data.map((row) => (kind === "time" && row[column] !== null ? instantOf(row[column]) : row[column]));
    return withConfig({ name, kind, values, ref, labels: {}, dateOnly: /^Date(32)?$/.test(bare) }, fieldConfig);
  });
}

function withConfig(field, fieldConfig) {
  const config = configured(field, fieldConfig);
  if (config.displayName) config.displayName = interpolate(config.displayName, (name) => ofField(name, field), "text");
  return { ...field, config };
}

/** What a display name may say of its field: ${__field.name}, ${__field.labels.provider}. */
function ofField(name, field) {
  if (name === "__field.name" || name === "__series.name") return plain(name, field.name);
  return name.startsWith("__field.labels.") ? plain(name, String(field.labels[name.slice(15)] ?? "")) : null;
}

function bareType(type) {
  const found = /^(?:Nullable|LowCardinality|SimpleAggregateFunction)\((?:\w+, )?(.*)\)$/.exec(type);
  return found ? bareType(found[1]) : type;
}

function kindOf(type) {
  if (/^Date/.test(type)) return "time";
  if (/^(U?Int|Float|BFloat|Decimal)/.test(type)) return "number";
  return type === "Bool" ? "boolean" : "string";
}

/** ClickHouse writes DateTime as "2026-11-27 14:05:11.123", in UTC. */
function instantOf(text) {
  return Date.parse(`${text.slice(0, 10)}T${text.slice(11, 23) || "00:00:00"}Z`);
}

/**
 * Series over time: [{field, points: [[instant, value]]}], each in the order of time.
 *
 * Columns of numbers are series of their name; where there is a column of text beside time, as the ClickHouse plugin
 * does it, each of its values is a series of that name.
 */
export function series(fields, fieldConfig) {
  const time = fields.find(({ kind }) => kind === "time");
  if (!time) throw new Error("this query has no column of time");
  const labels = fields.filter(({ kind }) => kind === "string");
  const numbers = fields.filter(({ kind }) => kind === "number");
  const found = new Map();
  for (const field of numbers) {
    for (const [row, at] of time.values.entries()) {
      const parts = labels.map((label) => label.values[row]);
      const key = JSON.stringify([field.name, ...parts]);
      if (!found.has(key)) found.set(key, { field: labelled(field, labels, parts, numbers, fieldConfig), points: [] });
      found.get(key).points.push([at, field.values[row]]);
    }
  }
  for (const { points } of found.values()) points.sort(([left], [right]) => left - right);
  return [...found.values()];
}

function labelled(field, labels, parts, numbers, fieldConfig) {
  if (!labels.length) return field;
  const name = (numbers.length > 1 ? [field.name, ...parts] : parts).join(" ");
  return withConfig({ ...field, name, labels: Object.fromEntries(labels.map((each, at) => [each.name, parts[at]])) }, fieldConfig);
}

const REDUCERS = {
  lastNotNull: (values) => values.at(-1),
  last: (values) => values.at(-1),
  firstNotNull: (values) => values[0],
  first: (values) => values[0],
  sum: (values) => values.reduce(add),
  mean: (values) => divide(values.reduce(add), values.length),
  max: (values) => values.reduce((left, right) => (compare(left, right) < 0 ? right : left)),
  min: (values) => values.reduce((left, right) => (compare(left, right) > 0 ? right : left)),
  count: (values) => values.length,
  diff: (values) => subtract(values.at(-1), values[0]),
};

/** One value of many, nulls aside; null where there is none. @throws {Error} a calculation that is not known here */
function reduced(values, calc) {
  if (!REDUCERS[calc]) throw new Error(`the preview does not know the calculation ${calc}`);
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return null;
  return known.every(isNumber) ? REDUCERS[calc](known) : known.at(calc.startsWith("first") ? 0 : -1);
}

/**
 * The single values of a stat or a gauge: [{field, name, value, row, points}].
 *
 * With `values` each row of the first numeric column is one, named by the row's text; else each field is one, reduced.
 */
export function single(frames, { calcs = ["lastNotNull"], fields = "", values = false, limit = 50 }, fieldConfig) {
  const all = frames.flatMap((each) => (values ? rows(each) : reduce(each, calcs[0], fields, fieldConfig)));
  return values ? all.slice(0, limit) : all;
}

function rows(fields) {
  const names = fields.filter(({ kind }) => kind === "string");
  const field = fields.find((each) => each.kind === "number" && !isHidden(each));
  if (!field) return [];
  return field.values.map((value, row) => {
    const name = names.filter((each) => !isHidden(each)).map((each) => each.values[row]).join(" ");
    return { field, name: name || field.config.displayName || field.name, value, row, fields };
  });
}

function reduce(fields, calc, wanted, fieldConfig) {
  const time = fields.some(({ kind }) => kind === "time");
  const numbers = fields.some(({ kind }) => kind === "number");
  if (time && numbers && fields[0].values.length) {
    return series(fields, fieldConfig).filter(({ field }) => !isHidden(field)).map(({ field, points }) => {
      const value = reduced(points.map((point) => point[1]), calc);
      return { field, name: field.config.displayName || field.name, value, row: points.length - 1, points, fields };
    });
  }
  const chosen = fields.filter((each) => !isHidden(each) && (wanted ? pattern(wanted).test(each.name) : each.kind === "number"));
  return chosen.map((field) => {
    const value = reduced(field.values, calc);
    return { field, name: field.config.displayName || field.name, value, row: field.values.length - 1, fields };
  });
}
