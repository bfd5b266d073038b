/**
 * Calendar arithmetic in an IANA time zone. Pure.
 *
 * An instant is in milliseconds since 1970 UTC. A wall clock is written as the instant at which UTC shows the same:
 * its fields are read with the getUTC... methods of Date.
 */

const formats = new Map();
const FIELDS = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };

function format(zone) {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat("en-GB", { ...FIELDS, timeZone: zone, hourCycle: "h23", calendar: "iso8601" }));
  }
  return formats.get(zone);
}

/** What the wall clock of the zone shows at an instant. */
export function wall(instant, zone) {
  const second = Math.floor(instant / 1000) * 1000;
  const part = Object.fromEntries(format(zone).formatToParts(second).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) + (instant - second);
}

/** The first instant at which the wall clock shows that; in the gap of a spring night the hour before it counts on. */
export function instant(clock, zone) {
  const offsets = [-86_400_000, 86_400_000].map((away) => wall(clock + away, zone) - (clock + away));
  const found = offsets.map((offset) => clock - offset).filter((candidate) => wall(candidate, zone) === clock);
  return found.length ? Math.min(...found) : clock - offsets[0];
}

const STARTS = {
  m: (date) => date.setUTCSeconds(0, 0),
  h: (date) => date.setUTCMinutes(0, 0, 0),
  d: (date) => date.setUTCHours(0, 0, 0, 0),
  w: (date) => date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7)),
  M: (date) => date.setUTCDate(1),
  Q: (date) => date.setUTCMonth(date.getUTCMonth() - (date.getUTCMonth() % 3), 1),
  y: (date) => date.setUTCMonth(0, 1),
};

/** The wall clock at the start of its minute, hour, day, week (Monday), month, quarter or year. */
export function startOf(clock, unit) {
  const date = new Date(clock);
  if (!"smh".includes(unit)) STARTS.d(date);
  if (unit === "s") date.setUTCMilliseconds(0);
  else STARTS[unit](date);
  return date.getTime();
}

const DAYS = { d: 1, w: 7 };
const MONTHS = { M: 1, Q: 3, y: 12 };
const LENGTHS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The wall clock that many units later; the 31st becomes the last day of a shorter month. */
export function plus(clock, count, unit) {
  const date = new Date(clock);
  if (DAYS[unit]) date.setUTCDate(date.getUTCDate() + count * DAYS[unit]);
  else if (MONTHS[unit]) {
    const day = date.getUTCDate();
    date.setUTCMonth(date.getUTCMonth() + count * MONTHS[unit], 1);
    date.setUTCDate(Math.min(day, new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()));
  } else return clock + count * LENGTHS[unit];
  return date.getTime();
}

/** An instant that many units later: calendar units by the wall clock, hours and less by the time that passes. */
export function later(from, count, unit, zone) {
  return DAYS[unit] || MONTHS[unit] ? instant(plus(wall(from, zone), count, unit), zone) : plus(from, count, unit);
}

const two = (number) => String(number).padStart(2, "0");
const NAMES = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** "2026-11-27 14:05:11" in the zone. */
export function iso(at, zone) {
  return new Date(wall(at, zone)).toISOString().slice(0, 19).replace("T", " ");
}

/** "27 Nov 2026 14:05" in the zone. */
export function readable(at, zone) {
  const date = new Date(wall(at, zone));
  const day = `${date.getUTCDate()} ${NAMES[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
  return `${day} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
}

// steps between the ticks of an axis, the smallest first: unit, how many, about how many milliseconds
const STEPS = [
  ...[1, 5, 15, 30].map((count) => ["m", count, count * LENGTHS.m]),
  ...[1, 3, 6, 12].map((count) => ["h", count, count * LENGTHS.h]),
  ...[1, 2].map((count) => ["d", count, count * LENGTHS.d]),
  ...[1, 2].map((count) => ["w", count, count * 7 * LENGTHS.d]),
  ...[1, 3, 6].map((count) => ["M", count, count * 30 * LENGTHS.d]),
  ...[1, 2, 5].map((count) => ["y", count, count * 365 * LENGTHS.d]),
];
const COARSER = { m: "h", h: "d", d: "M", w: "w", M: "y", y: "y" };

/** At most about `most` ticks between two instants, each where the zone's clock is round: [{at, label}]. */
export function ticks(from, to, most, zone) {
  const [unit, count] = STEPS.find(([, , length]) => (to - from) / length <= most) ?? STEPS.at(-1);
  const found = [];
  for (let clock = startOf(wall(from, zone), COARSER[unit]); ; ) {
    const at = instant(clock, zone);
    if (at > to) return found;
    if (at >= from) found.push({ at, label: tickLabel(new Date(clock), unit) });
    const next = plus(clock, count, unit);
    // days begin anew with each month, so that ticks stand on its first
    clock = unit === "d" && startOf(next, "M") !== startOf(clock, "M") ? startOf(next, "M") : next;
  }
}

function tickLabel(date, unit) {
  if (unit === "y") return String(date.getUTCFullYear());
  if (unit === "M") return date.getUTCMonth() ? NAMES[date.getUTCMonth()] : String(date.getUTCFullYear());
  const day = `${date.getUTCDate()} ${NAMES[date.getUTCMonth()]}`;
  if (unit === "d" || unit === "w" || !(date.getUTCHours() || date.getUTCMinutes())) return day;
  return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
}
