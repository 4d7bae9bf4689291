/** Requests, and what their answers say about asking again. */

import { Ended, unlessAborted, within } from "./line.js";
import { authorization } from "./token.js";

/** Statuses below 500 that asking again may change; any other 4xx is an answer. */
const PASSING_STATUSES = new Set([408, 425, 429]);

/** Statuses of a URL that no WebSocket will be opened at. One that speaks WebSocket only answers 426. */
const REFUSING = new Set([401, 403, 404, 410]);

/** Closings that an answer can name too, in its `error`. */
const CLOSINGS = { expired: 4401, revoked: 4403 };

/** A URL, as `fetch` takes it: from where another stands, or from the page. What stands behind a # is the page's own. */
export function locate(url, base) {
  const origin = base === undefined ? (globalThis.document?.baseURI ?? globalThis.location?.href) : locate(base);
  const target = new URL(url, origin);
  if (/^wss?:$/.test(target.protocol)) target.protocol = target.protocol.replace("ws", "http");
  target.hash = "";
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

/** The page's own headers: an object, what `fetch` takes besides, or a function that gives it. */
export async function ownHeaders({ headers }, signal) {
  const given = typeof headers === "function" ? await unlessAborted(headers(), signal) : headers;
  return Symbol.iterator in Object(given) ? Object.fromEntries(given) : given;
}

/** All headers of a request, as they are good now: the page's, who it is, and what the request is for. */
export async function allHeaders(options, signal, more) {
  return { ...(await ownHeaders(options, signal)), ...(await authorization(options, signal)), ...more };
}

function typeOf(response) {
  return (response.headers.get("Content-Type") ?? "").split(";")[0].trim().toLowerCase();
}

/** A page where a channel should be: of a login, of a portal, of an error that calls itself 200. */
export function isPage(response) {
  return typeOf(response) === "text/html" || typeOf(response) === "application/xhtml+xml";
}

/** What an answer is not, for the one who asked for a channel. A page, or another place's answer, will not become one. */
export function checkType(response, expected) {
  if (typeOf(response) === expected) return;
  const isElsewhere = response.redirected || response.type === "opaqueredirect";
  const what = isElsewhere ? `a redirect to ${new URL(response.url, "http://localhost").pathname}` : typeOf(response) || "no type";
  if (!isElsewhere && !isPage(response)) throw new Ended(`not ${expected}, but ${what}`, { reason: "type" });
  throw new Ended(`a login, or another page, in place of the channel: ${what}`, { retry: null, reason: "login" });
}

/** Why an answer is none, and whether to ask again. */
async function failure(response) {
  const { status } = response;
  const final = status < 500 && !PASSING_STATUSES.has(status);
  const said = status === 401 || status === 403 ? await response.json().catch(() => null) : null;
  const code = Object.hasOwn(CLOSINGS, said?.error ?? "") ? CLOSINGS[said.error] : undefined;
  const retry = final ? null : retryAfter(response);
  // Below 400 it is a redirect that was not followed.
  const reason = status < 400 ? "login" : status === 401 ? "expired" : final ? "refused" : undefined;
  if (code) return new Ended(said.error, { code, status, retry });
  return new Ended(`HTTP ${status}`, { status, retry, reason });
}

/** A request whose answer is 200 or 304, or an error that says whether to ask again. */
export async function request(url, query, headers, options, signal) {
  const response = await options.fetch(address(url, query), { headers, signal, cache: "no-store" });
  if (response.status === 200 || response.status === 304) return response;
  throw await failure(response);
}

/** Asks Triolet itself, at `/triolet/<name>`, with the credential that is good now. */
export function ask(name, url, body, options, signal) {
  const silent = () => new Ended("silent");
  return within(options.silence, silent, options, signal, async (inner) => {
    const headers = await allHeaders(options, inner, { "Content-Type": "application/json" });
    const asked = { method: "POST", headers, body: JSON.stringify(body), signal: inner, cache: "no-store" };
    const response = await options.fetch(home(name, url, options), asked);
    if (!response.ok) throw await failure(response);
    return response.status === 200 ? response.json() : null;
  });
}

/**
 * Why a WebSocket was not opened, which browsers keep from a page: its URL is asked for, as a page would. What refuses
 * that for good refuses the WebSocket; everything else may be the network's.
 *
 * @returns {Promise<?Ended>}
 */
export async function whyNot(url, options) {
  try {
    return await within(options.silence, () => new Ended("silent"), options, undefined, async (signal) => {
      const headers = await allHeaders(options, signal, { Accept: "application/json" });
      const response = await options.fetch(locate(url), { headers, signal, cache: "no-store" });
      if (REFUSING.has(response.status)) return await failure(response);
      await response.body?.cancel?.();
      if (response.ok) checkType(response, "application/json");
      return null;
    });
  } catch (error) {
    return error instanceof Ended && error.retry === null ? error : null;
  }
}
