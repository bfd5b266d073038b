/** Grafana's time ranges: now-30d, now/w, now-1M/M, milliseconds, ISO. Pure: "now" is an argument. */

import { instant, later, plus, readable, startOf, wall } from "./zone.js";

const STEP = /^(?:([+-])(\d+)([smhdwMQy])|\/f?([smhdwMQy]))/;

/**
 * The instant that an expression names, in milliseconds.
 *
 * @param {string} expression
 * @param {number} now instant
 * @param {string} zone decides where days, weeks and months begin
 * @param {boolean} isEnd a rounded end is the last millisecond of its unit: now/d until now/d is all of today
 * @throws {Error} not an expression of this kind
 */
function resolve(expression, now, zone, isEnd = false) {
  const told = String(expression).trim();
  if (/^-?\d+$/.test(told)) return Number(told);
  if (!told.startsWith("now")) {
    const parsed = /^\d{4}-\d\d-\d\d/.test(told) ? Date.parse(told) : NaN;
    if (Number.isNaN(parsed)) throw new Error(`not a time: ${told}`);
    return parsed;
  }
  let at = now;
  for (let rest = told.slice(3); rest; ) {
    const step = STEP.exec(rest);
    if (!step) throw new Error(`not a time: ${told}`);
    const [whole, sign, count, unit, rounded] = step;
    if (rounded) {
      const start = startOf(wall(at, zone), rounded);
      at = isEnd ? instant(plus(start, 1, rounded), zone) - 1 : instant(start, zone);
    } else at = later(at, Number(sign + count), unit, zone);
    rest = rest.slice(whole.length);
  }
  return at;
}

/** {from, to} as instants. @throws {Error} the end lies before the start, or either is no time */
export function resolveRange({ from, to }, now, zone) {
  const range = { from: resolve(from, now, zone), to: resolve(to, now, zone, true) };
  if (range.from > range.to) throw new Error("the range ends before it begins");
  return range;
}

/** A panel's own range (Grafana's "relative time", such as 30d): that long, up to the end of the page's. */
export function panelRange(range, timeFrom, zone) {
  if (!timeFrom) return range;
  return { from: resolve(timeFrom.startsWith("now") ? timeFrom : `now-${timeFrom}`, range.to, zone), to: range.to };
}

const NAMES = { s: "second", m: "minute", h: "hour", d: "day", w: "week", M: "month", Q: "quarter", y: "year" };

/** What the range is called: the preset's name, "Last 6 hours", or its two ends. */
export function rangeName({ from, to }, presets, resolved, zone) {
  const preset = presets.find((each) => each.from === from && each.to === to);
  const [, count, unit] = /^now-(\d+)([smhdwMQy])$/.exec(to === "now" ? from : "") ?? [];
  if (!preset && unit) return `Last ${count === "1" ? "" : `${count} `}${NAMES[unit]}${count === "1" ? "" : "s"}`;
  return preset ? preset.display : `${readable(resolved.from, zone)} – ${readable(resolved.to, zone)}`;
}

/** Milliseconds of Grafana's intervals (30s, 5m, 1h); 0 where there is none. */
export function interval(text) {
  const found = /^(\d+)([smhd])$/.exec(text || "");
  return found ? plus(0, Number(found[1]), found[2]) : 0;
}
