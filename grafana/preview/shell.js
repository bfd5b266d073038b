/** What stands around the panels: the bar at the top, the banner, titles, controls, and errors of the whole page. */

import { el } from "./dom.js";

export function createShell() {
  const pages = el("div", { class: "menu" });
  const controls = el("div", { class: "controls" });
  const title = el("h1", {}, "AI spend");
  const about = el("p", { class: "lead" });
  const failure = el("p", { class: "failure page-failure", role: "alert", hidden: true });
  const main = el("div", {});
  const theme = el("button", { type: "button", class: "icon", data: { control: "theme" }, title: "Light or dark" }, "◐");
  const again = el("button", { type: "button", class: "icon", data: { control: "refresh" }, title: "Refresh" }, "↻");
  const brand = el("a", { class: "brand", href: "/" }, el("img", { src: "/static/icon.svg", alt: "" }), "spendstream");
  const banner = el(
    "p",
    { class: "banner" },
    el("strong", {}, "Preview"),
    ": for the whole of it open these dashboards in Grafana; how, says README.md under “Dashboards”.",
  );
  document.body.replaceChildren(
    el("header", { class: "top" }, brand, pages, el("div", { class: "tools" }, again, theme)),
    banner,
    el("div", { class: "bar" }, el("div", { class: "titles" }, title, about), controls),
    failure,
    main,
  );
  return {
    show(dashboard, grid) {
      title.textContent = dashboard.title;
      about.textContent = dashboard.description ?? "";
      main.replaceWith(grid);
    },
    pages: (nav) => pages.replaceChildren(nav),
    controls: (elements) => controls.replaceChildren(...elements),
    isOpen: () => controls.querySelector(".box") !== null,
    busy: (isBusy) => document.body.classList.toggle("busy", isBusy),
    fail(message) {
      failure.hidden = message === null;
      failure.textContent = message ?? "";
    },
    onTheme: (listener) => theme.addEventListener("click", listener),
    onRefresh: (listener) => again.addEventListener("click", listener),
  };
}
