/** The preview server's interface. It is sent names of panels and values, never SQL. */

async function ask(path, body, signal) {
  let response;
  try {
    response = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : null,
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The preview server does not answer. Is it still running?");
  }
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  throw new Error(saidError(text) ?? `The preview server answered ${response.status}.`);
}

function saidError(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return null;
  }
}

export const dashboards = () => ask("/api/dashboards");

export const dashboard = (uid) => ask(`/api/dashboards/${encodeURIComponent(uid)}`);

export const timezone = async () => (await ask("/api/timezone")).timezone;

/** @param {Object} question {dashboard, panel, ref, from, to, maxDataPoints, variables} */
export const query = (question, signal) => ask("/api/query", question, signal);

/** @param {Object} question {dashboard, annotation, from, to, variables} */
export const annotation = (question, signal) => ask("/api/annotation", question, signal);

/** @param {Object} question {dashboard, variable, from, to, variables} */
export const options = async (question, signal) => (await ask("/api/variable", question, signal)).options;
