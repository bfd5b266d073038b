/**
 * A subset of Markdown as elements: headings, paragraphs, lists, tables, fenced code; bold, italics, code and links.
 * Markup in the text stays text.
 */

import { el } from "./dom.js";
import { safeAddress } from "./links.js";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|(?<![\w*])[*_]([^*_]+)[*_](?!\w)|\[([^\]]+)\]\(([^)\s]+)\)/g;
const BLOCKS = [
  [/^(#{1,4})\s+(.*)$/, ([, marks, text]) => el(`h${Math.min(marks.length + 2, 6)}`, {}, ...inline(text))],
  [/^(?:---+|\*\*\*+)$/, () => el("hr")],
];
const LISTS = [["ul", /^\s*[-*]\s+(.*)$/], ["ol", /^\s*\d+[.)]\s+(.*)$/]];

/** Text with bold, italics, code and links, as nodes. */
export function inline(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, code, bold, italics, label, url] = found;
    nodes.push(text.slice(end, found.index));
    if (code) nodes.push(el("code", {}, code));
    else if (bold) nodes.push(el("strong", {}, ...inline(bold)));
    else if (italics) nodes.push(el("em", {}, ...inline(italics)));
    else nodes.push(anchor(label, url, whole));
    end = found.index + whole.length;
  }
  return [...nodes, text.slice(end)].filter((node) => node !== "");
}

function anchor(label, url, whole) {
  const href = safeAddress(url);
  if (href === null) return whole;
  const isAway = href.startsWith("https:");
  return el("a", { href, target: isAway ? "_blank" : null, rel: isAway ? "noopener noreferrer" : null }, ...inline(label));
}

/** The text as a list of block elements. */
export function markdown(text) {
  const lines = text.replace(/\r\n/g, "\n").split("\n");
  const blocks = [];
  while (lines.length) {
    const block = fenced(lines) ?? single(lines) ?? list(lines) ?? table(lines) ?? paragraph(lines);
    if (block) blocks.push(block);
  }
  return blocks;
}

function fenced(lines) {
  if (!lines[0].startsWith("```")) return null;
  lines.shift();
  const code = take(lines, (line) => !line.startsWith("```"));
  lines.shift();
  return el("pre", {}, el("code", {}, code.join("\n")));
}

function single(lines) {
  for (const [form, make] of BLOCKS) {
    const found = form.exec(lines[0]);
    if (found) {
      lines.shift();
      return make(found);
    }
  }
  return null;
}

function list(lines) {
  for (const [tag, form] of LISTS) {
    const items = take(lines, (line) => form.test(line));
    if (items.length) return el(tag, {}, ...items.map((line) => el("li", {}, ...inline(form.exec(line)[1]))));
  }
  return null;
}

function table(lines) {
  if (!lines[0].trim().startsWith("|") || !/^[\s|:-]+$/.test(lines[1] ?? "")) return null;
  const [head, , ...rows] = take(lines, (line) => line.trim().startsWith("|"));
  const cells = (line, tag) => line.trim().replace(/^\||\|$/g, "").split("|").map((text) => el(tag, {}, ...inline(text.trim())));
  const body = rows.map((line) => el("tr", {}, ...cells(line, "td")));
  return el("table", {}, el("thead", {}, el("tr", {}, ...cells(head, "th"))), el("tbody", {}, ...body));
}

function paragraph(lines) {
  const first = lines.shift();
  if (!first.trim()) return null;
  const isPlain = (line) => line.trim() && !line.startsWith("```") && ![...BLOCKS, ...LISTS].some((each) => each.some((form) => form.test?.(line)));
  return el("p", {}, ...inline([first, ...take(lines, isPlain)].join(" ")));
}

function take(lines, wanted) {
  const end = lines.findIndex((line) => !wanted(line));
  return lines.splice(0, end < 0 ? lines.length : end);
}
