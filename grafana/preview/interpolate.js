/** Variables in titles, texts and addresses, in Grafana's forms: $name, ${name}, ${name:format}. Pure. */

const REFERENCE = /\$\{(__data\.fields\[(?:"[^"]*"|'[^']*'|\d+)\](?:\.\w+)?|[\w.]+)(?::(\w+))?\}|\$(\w+)/g;

export const ALL = "$__all";

/** encodeURIComponent, and what it leaves that Grafana encodes. */
export function percentEncode(text) {
  return encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}

const glob = (values) => (values.length === 1 ? values[0] : `{${values.join(",")}}`);

const FORMATS = {
  glob: ({ values }) => glob(values),
  raw: ({ values }) => values.join(","),
  csv: ({ values }) => values.join(","),
  pipe: ({ values }) => values.join("|"),
  text: ({ texts }) => texts.join(" + "),
  percentencode: ({ values }) => percentEncode(glob(values)),
  queryparam: ({ name, values }) => values.map((value) => `var-${percentEncode(name)}=${percentEncode(value)}`).join("&"),
};

/**
 * @param {string} text
 * @param {function(string): ?{name, values: string[], texts: string[]}} lookup what a name stands for; null: left as it is
 * @param {string} usual the format where none is asked for
 */
export function interpolate(text, lookup, usual) {
  return text.replace(REFERENCE, (whole, braced, format, bare) => {
    const found = lookup(braced ?? bare);
    if (!found) return whole;
    if (found.isReady) return found.values[0];
    return (FORMATS[format ?? usual] ?? FORMATS.glob)(found);
  });
}

/** A lookup of the page's variables and of its range. */
export function pageLookup(variables, address) {
  return (name) => {
    if (name === "__url_time_range") return ready(`from=${percentEncode(address.from)}&to=${percentEncode(address.to)}`);
    if (name === "__all_variables") return ready(variables.filter(isPassed).map(FORMATS.queryparam).join("&"));
    if (name === "__from" || name === "__to") return plain(name, String(address.range[name.slice(2)]));
    return variables.find((each) => each.name === name) ?? null;
  };
}

/** tz is the organisation's and goes nowhere by address. */
const isPassed = ({ skipUrlSync, hide }) => !skipUrlSync && hide !== 2;

// what is a piece of an address as it stands
const ready = (text) => ({ name: "", values: [text], texts: [text], isReady: true });

export const plain = (name, text) => ({ name, values: [text], texts: [text] });
