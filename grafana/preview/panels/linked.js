/** A value as the anchor that its data link makes of it; without a link, as it is. */

import { el } from "../dom.js";

/** @param {{title, href, isAway, opensTab}[]} links the first one counts, the titles of all are told */
export function linked(content, links) {
  const [link] = links;
  if (!link) return content;
  const opensTab = link.opensTab || link.isAway;
  const attributes = { href: link.href, title: link.title, target: opensTab ? "_blank" : null, rel: opensTab ? "noopener noreferrer" : null };
  return el("a", attributes, content);
}
