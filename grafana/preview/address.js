/** What the page's address says, and how it is said: /d/<uid>/?from=now-7d&to=now&var-provider=openai. Pure. */

import { percentEncode } from "./interpolate.js";

/** @returns {{uid: string, from: ?string, to: ?string, variables: Map<string, string[]>}} */
export function read({ pathname, search }) {
  const uid = decodeURIComponent(/^\/d\/([^/]+)/.exec(pathname)?.[1] ?? "");
  const query = new URLSearchParams(search);
  const variables = new Map();
  for (const [name, value] of query) {
    if (name.startsWith("var-")) variables.set(name.slice(4), [...(variables.get(name.slice(4)) ?? []), value]);
  }
  return { uid, from: query.get("from"), to: query.get("to"), variables };
}

/** The path and query of a state; variables that are hidden are not told. */
export function write({ uid, from, to, variables }) {
  const said = variables
    .filter(({ hide, skipUrlSync }) => hide !== 2 && !skipUrlSync)
    .flatMap(({ name, values }) => values.map((value) => `&var-${percentEncode(name)}=${percentEncode(value)}`));
  return `/d/${percentEncode(uid)}/?from=${percentEncode(from)}&to=${percentEncode(to)}${said.join("")}`;
}
