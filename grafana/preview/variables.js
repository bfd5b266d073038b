/** The variables of a dashboard: what can be chosen, and what is. */

import { ALL } from "./interpolate.js";

const ALL_OPTION = { text: "All", value: ALL };

/**
 * The variables with their options and values, in the order of the JSON: the options of one may depend on the values of
 * those before it.
 *
 * @param {Object[]} models templating.list
 * @param {Map<string, string[]>} chosen values from the address or the controls
 * @param {function(Object, Object[]): Promise<{text, value}[]>} ask options of a query variable, given those before it
 * @returns {Promise<Object[]>} {name, label, hide, multi, skipUrlSync, options, values, texts}
 */
export async function resolveVariables(models, chosen, ask) {
  const resolved = [];
  for (const model of models) {
    const found = model.type === "query" ? await ask(model, resolved) : known(model);
    resolved.push(withValues(model, model.includeAll ? [ALL_OPTION, ...found] : found, chosen.get(model.name)));
  }
  return resolved;
}

/** Options that stand in the JSON; a constant has one. */
function known({ type, options = [], query = "" }) {
  const told = options.filter(({ value }) => value !== ALL);
  if (told.length) return told.map(({ text, value }) => ({ text: String(text), value: String(value) }));
  if (type !== "custom") return query ? [{ text: query, value: query }] : [];
  return query.split(",").map((part) => {
    const [text, value] = part.split(" : ").map((each) => each.trim());
    return { text, value: value ?? text };
  });
}

function withValues({ name, label, hide = 0, multi = false, skipUrlSync = false, current = {} }, options, chosen) {
  const usual = [current.value ?? []].flat().map(String);
  const isOption = (value) => options.some((option) => option.value === value);
  let values = chosen ?? usual.filter(isOption);
  if (!values.length) values = options.slice(0, 1).map(({ value }) => value);
  if (!multi) values = values.slice(0, 1);
  return { name, label: label || name, hide, multi, skipUrlSync, options, values, texts: textsOf(values, options) };
}

/** A value that is no option (a member that vanished, another range) is its own text. */
function textsOf(values, options) {
  return values.map((value) => options.find((option) => option.value === value)?.text ?? value);
}

/** The values after one option was clicked: All and the others exclude each other, none is all. */
export function toggled({ multi, values, options }, value) {
  if (!multi) return [value];
  if (value === ALL) return [ALL];
  const left = values.filter((each) => each !== value && each !== ALL);
  const next = values.includes(value) ? left : [...left, value];
  return next.length || options[0]?.value !== ALL ? next : [ALL];
}

/** Values by name, as the server takes them. */
export const valuesOf = (variables) => Object.fromEntries(variables.map(({ name, values }) => [name, values]));
