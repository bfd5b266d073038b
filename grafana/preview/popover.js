/** A button that opens a box below it: for variables, the time range and the menu of pages. */

import { el } from "./dom.js";

/**
 * @param {Object} button {text, label, name}: what stands on it, what it is called, and data-control for its place
 * @param {function(HTMLElement, function): void} fill puts the content into the box, anew at each opening; may close it
 * @param {function(): void} closed called after the box was closed
 */
export function popover({ text, label, name }, fill, closed = () => {}) {
  const box = el("div", { class: "box", role: "dialog", "aria-label": label });
  const opener = el("button", { class: "opener", type: "button", "aria-expanded": "false", title: text }, el("span", {}, text));
  const holder = el("div", { class: "popover", data: { control: name } }, opener);
  const elsewhere = (event) => holder.contains(event.target) || close();
  const onKey = (event) => {
    if (event.key !== "Escape") return;
    close();
    opener.focus();
  };

  function open() {
    box.replaceChildren();
    fill(box, close);
    holder.append(box);
    keepInside(box);
    opener.setAttribute("aria-expanded", "true");
    document.addEventListener("pointerdown", elsewhere);
    document.addEventListener("keydown", onKey);
    box.querySelector("input, button")?.focus();
  }

  function close() {
    if (!box.isConnected) return;
    box.remove();
    opener.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", elsewhere);
    document.removeEventListener("keydown", onKey);
    closed();
  }

  opener.addEventListener("click", () => (box.isConnected ? close() : open()));
  return holder;
}

/** Moves the box to the left by what would stick out of the window. */
function keepInside(box) {
  box.style.left = "0";
  const over = box.getBoundingClientRect().right - (document.documentElement.clientWidth - 8);
  if (over > 0) box.style.left = `${-over}px`;
}
