/** What a person sets above the panels: variables, the time range, refresh. */

import { el } from "./dom.js";
import { popover } from "./popover.js";
import { rangeName } from "./time_range.js";
import { toggled } from "./variables.js";
import { instant, wall } from "./zone.js";

const MANY = 8; // options from which a search field helps

/** A control for one variable; `choose` is given its new values once the box is closed. */
export function variableControl(variable, choose) {
  let values = variable.values;
  const text = variable.texts.join(", ");
  const fill = (box, close) => {
    values = variable.values;
    const list = el("div", { class: "options", role: "listbox" });
    const draw = (wanted) => list.replaceChildren(...optionRows(variable, values, wanted, pick));
    const pick = (value) => {
      values = toggled({ ...variable, values }, value);
      if (!variable.multi) return close();
      draw(box.querySelector("input[type=search]")?.value ?? "");
    };
    if (variable.options.length > MANY) {
      const search = el("input", { type: "search", placeholder: "Search", "aria-label": `Search ${variable.label}` });
      search.addEventListener("input", () => draw(search.value));
      box.append(search);
    }
    box.append(list);
    draw("");
  };
  const closed = () => String(values) !== String(variable.values) && choose(values);
  const control = popover({ text, label: variable.label, name: `var-${variable.name}` }, fill, closed);
  return el("div", { class: "control" }, el("span", { class: "label" }, variable.label), control);
}

function optionRows({ multi, options, label }, values, wanted, pick) {
  const found = options.filter(({ text }) => text.toLowerCase().includes(wanted.toLowerCase()));
  if (!found.length) return [el("p", { class: "hint" }, `No ${label.toLowerCase()} in this range`)];
  return found.map(({ text, value }) => {
    const isChosen = values.includes(value);
    const attributes = { type: "button", class: multi ? "option many" : "option", role: "option", "aria-selected": String(isChosen) };
    return el("button", { ...attributes, on: { click: () => pick(value) } }, text || "(unattributed)");
  });
}

/** The time range: presets, and two ends in the organisation's time zone. `choose` is given {from, to}. */
export function rangeControl({ from, to, resolved, presets, zone }, choose) {
  const fill = (box, close) => {
    const pick = (range) => {
      close();
      choose(range);
    };
    const rows = presets.map((preset) => {
      const isChosen = preset.from === from && preset.to === to;
      const attributes = { type: "button", class: "option", role: "option", "aria-selected": String(isChosen) };
      return el("button", { ...attributes, on: { click: () => pick({ from: preset.from, to: preset.to }) } }, preset.display);
    });
    box.append(el("div", { class: "options", role: "listbox" }, ...rows), customRange(resolved, zone, pick));
  };
  const text = rangeName({ from, to }, presets, resolved, zone);
  return el("div", { class: "control" }, popover({ text, label: "Time range", name: "range" }, fill));
}

function customRange(resolved, zone, pick) {
  const field = (name, at) => {
    const value = new Date(wall(at, zone)).toISOString().slice(0, 16);
    return el("input", { type: "datetime-local", name, value, required: true, max: "9999-12-31T23:59" });
  };
  const [from, to] = [field("from", resolved.from), field("to", resolved.to)];
  const told = (input) => instant(Date.parse(`${input.value}Z`), zone);
  const submit = (event) => {
    event.preventDefault();
    to.setCustomValidity(told(from) < told(to) ? "" : "The end lies before the start");
    if (event.target.reportValidity()) pick({ from: String(told(from)), to: String(told(to)) });
  };
  to.addEventListener("input", () => to.setCustomValidity(""));
  return el(
    "form",
    { class: "custom", on: { submit } },
    el("label", {}, "From ", from),
    el("label", {}, "To ", to),
    el("p", { class: "hint" }, `Time zone: ${zone}`),
    el("button", { type: "submit", class: "primary" }, "Apply"),
  );
}

/** The menu of the other pages: one link each. */
export function pageLinks(pages, current, addressOf) {
  const links = pages.map(({ uid, title }) =>
    el("a", { href: addressOf(uid), "aria-current": uid === current ? "page" : null }, title),
  );
  return el("nav", { class: "pages", "aria-label": "Dashboards" }, ...links);
}
