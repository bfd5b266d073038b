/**
 * Exact decimals. ClickHouse's Decimals and 64-bit integers come as strings; a figure that is shown is never a float.
 *
 * A value is a decimal string, or a number that JSON brought; inside it is a BigInt of `units` of 10 ** -scale.
 */

const PLAIN = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/;

/** {units, scale} of a value, or null where it is no finite number. */
function parse(value) {
  const found = PLAIN.exec(String(value).trim());
  if (!found || !(found[2] || found[3])) return null;
  const [, sign, whole, fraction = "", exponent = "0"] = found;
  let scale = fraction.length - Number(exponent);
  let units = BigInt(whole + fraction || "0");
  if (scale < 0) {
    units *= 10n ** BigInt(-scale);
    scale = 0;
  }
  return { units: sign === "-" ? -units : units, scale };
}

function text({ units, scale }) {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  return (units < 0n ? "-" : "") + (scale ? `${whole}.${digits.slice(digits.length - scale)}` : whole);
}

function aligned(left, right) {
  const [a, b] = [parse(left), parse(right)];
  const scale = Math.max(a.scale, b.scale);
  return [a.units * 10n ** BigInt(scale - a.scale), b.units * 10n ** BigInt(scale - b.scale), scale];
}

export function isNumber(value) {
  return value !== null && value !== undefined && parse(value) !== null;
}

/** The value with that many decimals, half to even, as the pipeline rounds money. */
export function round(value, decimals) {
  const { units, scale } = parse(value);
  if (scale <= decimals) return text({ units: units * 10n ** BigInt(decimals - scale), scale: decimals });
  const step = 10n ** BigInt(scale - decimals);
  const size = units < 0n ? -units : units;
  let kept = size / step;
  const twice = (size % step) * 2n;
  if (twice > step || (twice === step && kept % 2n === 1n)) kept += 1n;
  return text({ units: units < 0n ? -kept : kept, scale: decimals });
}

/** The value times 10 ** places. */
export function shift(value, places) {
  const { units, scale } = parse(value);
  return places > scale ? text({ units: units * 10n ** BigInt(places - scale), scale: 0 }) : text({ units, scale: scale - places });
}

export function add(left, right) {
  const [a, b, scale] = aligned(left, right);
  return text({ units: a + b, scale });
}

export function subtract(left, right) {
  const [a, b, scale] = aligned(left, right);
  return text({ units: a - b, scale });
}

/** The value divided by a count, with 12 decimals: picodollars. */
export function divide(value, count) {
  const { units, scale } = parse(value);
  const places = BigInt(Math.max(12 - scale, 0));
  const whole = (units * 10n ** (places + 1n)) / BigInt(count);
  return round(text({ units: whole, scale: scale + Number(places) + 1 }), 12);
}

/** Negative, 0 or positive, for sorting. */
export function compare(left, right) {
  const [a, b] = aligned(left, right);
  return a < b ? -1 : Number(a > b);
}
