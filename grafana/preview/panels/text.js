/** Words. Markdown is drawn; HTML is shown as the text that it is. */

import { el } from "../dom.js";
import { interpolate } from "../interpolate.js";
import { markdown } from "../markdown.js";

export function draw(body, panel, frames, context) {
  const { content = "", mode } = panel.options;
  const text = interpolate(content, context.lookup, "text");
  if (!text.trim()) return false;
  body.replaceChildren(el("div", { class: "words" }, ...(mode === "markdown" ? markdown(text) : [el("pre", {}, text)])));
  return true;
}
