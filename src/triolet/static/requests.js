/** Requests, and what their answers say about asking again. */

import { Ended, within } from "./line.js";
import { authorization } from "./token.js";

/** Statuses below 500 that asking again may change; any other 4xx is an answer. */
const PASSING_STATUSES = new Set([408, 425, 429]);

/** Closings that an answer can name too, in its `error`. */
const CLOSINGS = { expired: 4401, revoked: 4403 };

/** A URL, as a page writes it: from where another stands, or from the page. */
export function locate(url, base) {
  const origin = base === undefined ? globalThis.location?.href : locate(base);
  const target = new URL(url, origin);
  target.protocol = target.protocol.replace("ws", "http");
  return target;
}

/** A channel's URL, asked something. */
export function address(url, query) {
  const target = locate(url);
  for (const [name, value] of Object.entries(query)) {
    if (value != null) target.searchParams.set(name, value);
  }
  return target;
}

/** Where Triolet itself is asked, for those that follow a URL: beside this script, or at the root of another origin. */
function home(name, url, { base }) {
  const script = new URL("./", import.meta.url);
  const isHere = script.origin === locate(url).origin && script.pathname.endsWith("/triolet/");
  return locate(name, locate(base ?? (isHere ? script : "/triolet/"), url));
}

/** Ms until an answer wants to be asked again; undefined where it does not say. */
export function retryAfter(response) {
  const after = Number(response.headers.get("Retry-After")) * 1_000;
  return after > 0 ? after : undefined;
}

/** Why an answer is none, and whether to ask again. */
async function failure(response) {
  const { status } = response;
  const final = status < 500 && !PASSING_STATUSES.has(status);
  const said = status === 401 || status === 403 ? await response.json().catch(() => null) : null;
  const code = Object.hasOwn(CLOSINGS, said?.error ?? "") ? CLOSINGS[said.error] : undefined;
  const retry = final ? null : retryAfter(response);
  return new Ended(code ? said.error : `HTTP ${status}`, { code, status, retry });
}

/** A request whose answer is 200 or 304, or an error that says whether to ask again. */
export async function request(url, query, headers, options, signal) {
  const asked = { headers: { ...options.headers, ...headers }, signal, cache: "no-store" };
  const response = await options.fetch(address(url, query), asked);
  if (response.status === 200 || response.status === 304) return response;
  throw await failure(response);
}

/** Asks Triolet itself, at `/triolet/<name>`, with the credential that is good now. */
export function ask(name, url, body, options, signal) {
  const silent = () => new Ended("silent");
  return within(options.silence, silent, options, signal, async (inner) => {
    const headers = { ...options.headers, ...(await authorization(options, inner)) };
    headers["Content-Type"] = "application/json";
    const asked = { method: "POST", headers, body: JSON.stringify(body), signal: inner, cache: "no-store" };
    const response = await options.fetch(home(name, url, options), asked);
    if (!response.ok) throw await failure(response);
    return response.status === 200 ? response.json() : null;
  });
}
