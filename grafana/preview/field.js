/** What Grafana's field configuration says about a column: unit, thresholds, mappings, colours. Pure. */

import { compare, isNumber } from "./decimal.js";
import { format } from "./format.js";
import { readable } from "./zone.js";

function matches({ id, options }, field) {
  if (id === "byName") return field.name === options;
  if (id === "byNames") return (options.names ?? []).includes(field.name);
  if (id === "byRegexp") return pattern(options).test(field.name);
  if (id === "byFrameRefID") return field.ref === options;
  return id === "byType" && field.kind === options;
}

/** Grafana writes regular expressions with and without slashes. */
export function pattern(text) {
  const found = /^\/(.*)\/([a-z]*)$/.exec(text);
  return found ? new RegExp(found[1], found[2].replace("g", "")) : new RegExp(text);
}

/** The configuration of one field: the panel's defaults, then each override that matches. */
export function configured(field, { defaults = {}, overrides = [] } = {}) {
  const config = { ...defaults, custom: { ...defaults.custom } };
  for (const { matcher, properties } of overrides) {
    if (!matches(matcher, field)) continue;
    for (const { id, value } of properties) {
      if (id.startsWith("custom.")) config.custom[id.slice(7)] = value;
      else config[id] = value;
    }
  }
  return config;
}

export const isHidden = ({ config }) => Boolean(config.custom.hidden || config.custom.hideFrom?.viz);

export const titleOf = (field) => field.config.displayName || field.name || "(unattributed)";

function mapped(value, mappings = []) {
  for (const { type, options } of mappings) {
    const found = {
      value: () => options[String(value)],
      range: () => isNumber(value) && within(value, options) && options.result,
      regex: () => value !== null && pattern(options.pattern).test(String(value)) && options.result,
      special: () => special(value, options.match) && options.result,
    }[type]?.();
    if (found) return found;
  }
  return null;
}

function within(value, { from, to }) {
  return (from === null || compare(value, from) >= 0) && (to === null || compare(value, to) <= 0);
}

function special(value, match) {
  const nothing = value === null;
  return { null: nothing, "null+nan": nothing, empty: value === "", true: value === true, false: value === false }[match];
}

/** The last threshold that a value reaches: its colour's name. */
function thresholdColour(value, { thresholds, min = 0, max = 100 }) {
  if (!thresholds?.steps?.length) return null;
  const share = thresholds.mode === "percentage";
  const bound = (step) => (share ? min + (step.value / 100) * (max - min) : step.value);
  const [first, ...rest] = thresholds.steps;
  if (!isNumber(value)) return first.color;
  return rest.reduce((found, step) => (compare(value, bound(step)) >= 0 ? step.color : found), first.color);
}

/** The colour that the configuration gives a value: a name of Grafana's, or null where the series' own is meant. */
export function valueColour(value, config) {
  if (config.color?.mode === "fixed") return config.color.fixedColor;
  return config.color?.mode === "thresholds" ? thresholdColour(value, config) : null;
}

/** {text, colour, isEmpty} of one value; instants are in the zone. */
export function shown(value, { kind, config, dateOnly }, zone) {
  const mapping = mapped(value, config.mappings);
  const colour = mapping?.color ?? (kind === "number" ? valueColour(value, config) : null);
  if (mapping?.text) return { text: mapping.text, colour, isEmpty: false };
  if (value === null || value === undefined) return { text: config.noValue ?? "–", colour: null, isEmpty: true };
  return { text: worded(value, kind, config, dateOnly, zone), colour, isEmpty: false };
}

function worded(value, kind, { unit, decimals }, dateOnly, zone) {
  if (kind === "time" && dateOnly) return new Date(value).toISOString().slice(0, 10);
  if (kind === "time") return unit?.startsWith("dateTime") ? format(value, { unit, zone }) : readable(value, zone);
  if (kind === "number") return format(value, { unit, decimals, zone });
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
