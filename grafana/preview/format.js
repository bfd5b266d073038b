/** Figures as people read them, by Grafana's units. Pure and exact: digits are cut from decimal strings. */

import { compare, divide, isNumber, round, shift } from "./decimal.js";
import { iso } from "./zone.js";

const THIN = "\u2009";
const SHORT = [[12, "Tri"], [9, "Bil"], [6, "Mil"], [3, "K"]];
const BYTES = [[12, "TB"], [9, "GB"], [6, "MB"], [3, "kB"]];
const RATES = { eps: "ev/s", cps: "c/s", ops: "ops/s", reqps: "req/s", rps: "rd/s", wps: "wr/s", rowsps: "rows/s" };
const SIGNS = { currencyUSD: "$", currencyEUR: "€" };
const SECONDS = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
const MOST_DECIMALS = 12; // of money: picodollars

const absolute = (value) => String(value).replace(/^-/, "");
const atLeast = (value, least) => compare(absolute(value), least) >= 0;

/** Digits in groups of three. */
function grouped(value) {
  const [, sign, whole, rest] = /^(-?)(\d+)(.*)$/.exec(value);
  const zero = /^0*(\.0*)?$/.test(whole + rest);
  return (zero ? "" : sign) + whole.replace(/\B(?=(\d{3})+$)/g, ",") + rest;
}

const trimmed = (value) => (value.includes(".") ? value.replace(/\.?0+$/, "") : value);

/** How many decimals say the first three digits of a value below 1. */
function significant(value) {
  const found = /^0?\.(0*)[1-9]/.exec(shift(absolute(value), 0));
  return found ? Math.min(found[1].length + 3, MOST_DECIMALS) : 2;
}

function plain(value, decimals) {
  if (decimals !== null) return grouped(round(value, decimals));
  return grouped(trimmed(round(value, atLeast(value, "1") || !atLeast(value, "1e-12") ? 2 : significant(value))));
}

function scaled(value, decimals, steps) {
  const step = steps.find(([power]) => atLeast(value, shift("1", power)));
  if (!step) return plain(value, decimals);
  const small = shift(value, -step[0]);
  const places = decimals ?? (atLeast(small, "100") ? 0 : atLeast(small, "10") ? 1 : 2);
  return `${grouped(round(small, places))}${THIN}${step[1]}`;
}

const signed = (sign, text) => (text.startsWith("-") ? `-${sign}${text.slice(1)}` : sign + text);

/** At least cents; a value below a cent with its first two digits, so that it is never 0 and never 1e-05. */
function money(sign, value, decimals) {
  const cents = atLeast(value, "0.01") || !atLeast(value, "1e-12");
  const text = grouped(round(value, decimals ?? (cents ? 2 : Math.min(significant(value) - 1, MOST_DECIMALS))));
  return signed(sign, text);
}

function duration(seconds, decimals) {
  if (!atLeast(seconds, "1")) return `${plain(shift(seconds, 3), decimals ?? (atLeast(seconds, "0.1") ? 0 : null))}${THIN}ms`;
  const [length, name] = SECONDS.find(([each]) => atLeast(seconds, String(each)));
  const many = divide(seconds, length);
  return `${grouped(round(many, decimals ?? (atLeast(many, "100") ? 0 : 1)))}${THIN}${name}`;
}

const UNITS = {
  none: plain,
  short: (value, decimals) => scaled(value, decimals, SHORT),
  locale: (value, decimals) => grouped(decimals === null ? trimmed(shift(value, 0)) : round(value, decimals)),
  percent: (value, decimals) => `${grouped(round(value, decimals ?? 1))}%`,
  percentunit: (value, decimals) => `${grouped(round(shift(value, 2), decimals ?? 1))}%`,
  s: duration,
  ms: (value, decimals) => duration(shift(value, -3), decimals),
  decbytes: (value, decimals) => scaled(value, decimals, BYTES),
};

/**
 * @param {string|number} value a number in JSON or a decimal string
 * @param {{unit?: string, decimals?: number, zone: string}} how Grafana's unit; instants are shown in the zone
 */
export function format(value, { unit = "short", decimals = null, zone }) {
  if (!isNumber(value)) return String(value);
  if (SIGNS[unit]) return money(SIGNS[unit], value, decimals);
  if (UNITS[unit]) return UNITS[unit](value, decimals);
  if (unit.startsWith("dateTime")) return iso(Number(value), zone);
  if (RATES[unit]) return `${scaled(value, decimals, SHORT)} ${RATES[unit]}`;
  const [, kind, words] = /^(prefix|suffix):(.*)$/.exec(unit) ?? [null, "suffix", unit];
  const figure = plain(value, decimals);
  return kind === "prefix" ? `${words.trimEnd()}${figure}` : `${figure} ${words.trim()}`;
}

/** A short form for axes, where steps are round: $2.5 K. */
export function formatTick(value, { unit = "short", zone }) {
  const sign = SIGNS[unit];
  if (sign && (Number.isInteger(value) || Math.abs(value) >= 1_000)) return signed(sign, shortened(scaled(value, null, SHORT)));
  if (sign) return money(sign, value, null);
  return shortened(format(value, { unit, decimals: unit.startsWith("percent") ? 1 : null, zone }));
}

/** Without zeros at the end of the fraction. */
const shortened = (text) => text.replace(/(\.\d*?)0+(?!\d)/, "$1").replace(/\.(?!\d)/, "");
