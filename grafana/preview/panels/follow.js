/** Goes where a click on a drawing leads: the first of its links, if there is one. */
export function follow(links) {
  const [link] = links;
  if (!link) return;
  if (link.opensTab || link.isAway) window.open(link.href, "_blank", "noopener,noreferrer");
  else window.location.assign(link.href);
}
