/** Annotations of a dashboard: marks in time, drawn on its time series. Pure. */

import { frame } from "./frames.js";

/**
 * Marks from the answer to an annotation's query: [{from, to, title, text, colour}].
 *
 * The columns are Grafana's: time, timeEnd, title, text, tags; all but time may be absent.
 */
export function marks(answer, { name, iconColor }) {
  const fields = frame(answer, "Anno", {});
  const column = (wanted) => fields.find((field) => field.name.toLowerCase() === wanted);
  const time = column("time");
  if (!time) throw new Error(`the annotation ${name} has no column time`);
  const instant = (field, row) => (field?.values[row] === null || field === undefined ? null : Number(field.values[row]));
  const word = (wanted, row) => column(wanted)?.values[row] || "";
  return time.values.map((_, row) => {
    const from = instant(time, row);
    const title = word("title", row) || name;
    return { from, to: instant(column("timeend"), row) ?? from, title, text: word("text", row), colour: iconColor };
  });
}
