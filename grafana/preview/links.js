/** Data links: from a value to another page. Pure, but for the origin of the page. */

import { shown } from "./field.js";
import { interpolate, percentEncode, plain } from "./interpolate.js";

/**
 * The address, if a person may be sent there: a path of this origin, or https. Anything else (javascript:, data:,
 * //elsewhere over http) is null.
 */
export function safeAddress(url, origin = window.location.origin) {
  let parsed;
  try {
    parsed = new URL(url, origin);
  } catch {
    return null;
  }
  if (parsed.origin === origin) return parsed.pathname + parsed.search + parsed.hash;
  return parsed.protocol === "https:" ? parsed.href : null;
}

/**
 * Links of one value: [{title, href, isAway, opensTab}].
 *
 * @param {Object} cell {field, value, row, fields}: the value's field, and the row that it stands in
 * @param {Object} context {lookup, zone}
 */
export function linksOf({ field, value, row, fields }, { lookup, zone }) {
  const links = field.config.links ?? [];
  const known = (name) => ofValue(name, { field, value, row, fields, zone }) ?? lookup(name);
  return links
    .map(({ title, url, targetBlank }) => {
      const href = safeAddress(interpolate(url, known, "glob"));
      return { title: interpolate(title || "Open", known, "text"), href, isAway: href?.startsWith("https:"), opensTab: targetBlank };
    })
    .filter(({ href }) => href !== null);
}

const asText = (value) => (value === null || value === undefined ? "" : String(value));

function ofValue(name, { field, value, row, fields, zone }) {
  const column = /^__data\.fields(?:\[(?:"([^"]*)"|'([^']*)'|(\d+))\]|\.(\w+))(?:\.(\w+))?$/.exec(name);
  if (column) {
    const [, double, single, at, dotted, part] = column;
    const found = at === undefined ? fields?.find((each) => each.name === (double ?? single ?? dotted)) : fields?.[Number(at)];
    if (!found) return plain(name, "");
    const told = found.values[row];
    return plain(name, part === "text" ? shown(told, found, zone).text : asText(told));
  }
  if (name === "__value.raw" || name === "__value.numeric" || name === "__value") return plain(name, asText(value));
  if (name === "__value.text") return plain(name, shown(value, field, zone).text);
  if (name === "__value.time") return plain(name, asText(fields?.find(({ kind }) => kind === "time")?.values[row]));
  if (name === "__field.name" || name === "__series.name") return plain(name, field.name);
  if (name.startsWith("__field.labels.")) return plain(name, asText(field.labels[name.slice(15)]));
  return null;
}

/** The address of another dashboard that keeps range and variables, as the JSON's link asks for it. */
export function siblingAddress(uid, { keepTime, includeVars }, lookup) {
  const parts = [keepTime && "${__url_time_range}", includeVars && "${__all_variables}"].filter(Boolean);
  const query = parts.map((part) => interpolate(part, lookup, "glob")).filter(Boolean).join("&");
  return `/d/${percentEncode(uid)}/${query && `?${query}`}`;
}
