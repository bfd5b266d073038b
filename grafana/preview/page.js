/** Starts the page: reads the address, loads the dashboard that it names, and keeps both in step. */

import { read, write } from "./address.js";
import { marks } from "./annotations.js";
import * as api from "./api.js";
import { pageLinks, rangeControl, variableControl } from "./controls.js";
import { createGrid } from "./grid.js";
import { pageLookup } from "./interpolate.js";
import { siblingAddress } from "./links.js";
import { createShell } from "./shell.js";
import { startTheme, switchTheme } from "./theme.js";
import { interval, resolveRange } from "./time_range.js";
import { resolveVariables, valuesOf } from "./variables.js";

const USUAL_RANGE = { from: "now-30d", to: "now" };

async function boot() {
  const { uid } = read(window.location);
  const shell = createShell();
  let redraw = () => {};
  startTheme(() => redraw());
  shell.onTheme(() => switchTheme(() => redraw()));
  try {
    const [dashboard, pages, zone] = await Promise.all([api.dashboard(uid), api.dashboards(), api.timezone()]);
    document.title = `${dashboard.title} · spendstream`;
    const page = { uid, dashboard, pages, zone, grid: createGrid(dashboard), shell, running: new AbortController() };
    redraw = page.grid.redraw;
    shell.show(dashboard, page.grid.element);
    shell.onRefresh(() => refresh(page));
    window.addEventListener("popstate", () => refresh(page));
    refreshNowAndThen(page);
    await refresh(page);
  } catch (error) {
    shell.fail(error.message);
  }
}

/** Loads everything anew, as the address says. */
async function refresh(page) {
  const { uid, dashboard, zone, grid, shell } = page;
  page.running.abort();
  page.running = new AbortController();
  const { signal } = page.running;
  const said = read(window.location);
  const expressions = { from: said.from ?? dashboard.time?.from ?? USUAL_RANGE.from, to: said.to ?? dashboard.time?.to ?? USUAL_RANGE.to };
  try {
    shell.busy(true);
    const range = resolveRange(expressions, Date.now(), zone);
    const about = (variables) => ({ dashboard: uid, ...range, variables: valuesOf(variables) });
    const ask = (model, before) => api.options({ variable: model.name, ...about(before) }, signal);
    const variables = await resolveVariables(dashboard.templating?.list ?? [], said.variables, ask);
    const lookup = pageLookup(variables, { ...expressions, range });
    showControls(page, { expressions, range, variables, lookup });
    const annotations = await annotationsOf(dashboard, (name) => api.annotation({ annotation: name, ...about(variables) }, signal));
    const context = { zone, range, lookup, annotations };
    await grid.load(context, (question) => api.query({ ...about(variables), ...question }, signal), signal);
    shell.fail(null);
  } catch (error) {
    if (error.name === "AbortError") return;
    shell.fail(error.message);
  }
  shell.busy(false);
}

function showControls(page, { expressions, range, variables, lookup }) {
  const { uid, dashboard, zone, shell } = page;
  const go = (change) => {
    const next = { uid, ...expressions, variables, ...change };
    window.history.pushState(null, "", write(next));
    refresh(page);
  };
  const set = (name) => (values) => go({ variables: changed(variables, name, values, dashboard) });
  const presets = dashboard.timepicker?.quick_ranges ?? [];
  shell.controls([
    ...variables.filter(({ hide }) => hide !== 2).map((each) => variableControl(each, set(each.name))),
    rangeControl({ ...expressions, resolved: range, presets, zone }, go),
  ]);
  const menus = (dashboard.links ?? []).filter(({ type }) => type === "dashboards");
  const siblings = page.pages.filter(({ tags }) => menus.some((menu) => menu.tags.every((tag) => tags.includes(tag))));
  shell.pages(pageLinks(siblings, uid, (other) => siblingAddress(other, menus[0], lookup)));
}

/** The variables with one changed; those whose options hang on it choose anew. */
function changed(variables, name, values, { templating }) {
  const hangs = ({ type, query }) => type === "query" && new RegExp(`\\$\\{?${name}\\b`).test(query?.rawSql ?? query);
  const left = variables.filter((each) => !hangs(templating.list.find((model) => model.name === each.name)));
  return left.map((each) => (each.name === name ? { ...each, values } : each));
}

async function annotationsOf({ annotations }, ask) {
  const wanted = (annotations?.list ?? []).filter(({ enable, target }) => enable && target?.rawSql);
  const found = await Promise.all(wanted.map(async (each) => marks(await ask(each.name), each)));
  return found.flat();
}

/** Refreshes as often as the JSON says, while somebody looks. */
function refreshNowAndThen(page) {
  const every = interval(page.dashboard.refresh);
  if (every) window.setInterval(() => document.hidden || page.shell.isOpen() || refresh(page), every);
}

boot();
