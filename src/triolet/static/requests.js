/** Requests, and what their answers say about asking again. */

import { optional } from "./handlers.js";
import { Ended, asEnded, unlessAborted, within } from "./line.js";
import { authorization } from "./token.js";

/**
 * @import { Options } from "./api.js"
 * @import { Line } from "./line.js"
 * @import { Settings } from "./settings.js"
 *
 * @typedef {Record<string, string>} HeaderMap
 * @typedef {string | URL | null | undefined} Place  a URL; that of a follow may be none, and is not asked for then
 */

/** Statuses below 500 that asking again may change; any other 4xx is an answer. */
const PASSING = /408|425|429/;

/** A page where a channel should be will not become one. @param {string} [found] */
export function login(found = "") {
  return new Ended(`a login, or another page${found}`, { retry: null, reason: "login" });
}

/** Closings that an answer can name too, in its `error`. @type {Record<number, string>} */
export const REASONS = { 4401: "expired", 4403: "revoked" };

/**
 * A URL, as `fetch` takes it: from where another stands, or from the page. What stands behind a # is the page's own.
 *
 * @param {Place} url
 * @param {Place} [base]
 * @returns {URL}
 */
export function locate(url, base) {
  const origin = base === undefined ? (globalThis.document?.baseURI ?? globalThis.location?.href) : locate(base);
  const target = new URL(/** @type {string} */ (url), origin);
  target.protocol = target.protocol.replace(/^ws/, "http");
  target.hash = "";
  return target;
}

/** A channel's URL, asked something. @param {Place} url @param {Record<string, any>} query */
export function address(url, query) {
  const target = locate(url);
  for (const [name, value] of Object.entries(query)) {
    if (value != null) target.searchParams.set(name, value);
  }
  return target;
}

/** Ms until an answer wants to be asked again; undefined where it does not say. @param {Response} response */
export function retryAfter(response) {
  const after = Number(response.headers.get("Retry-After")) * 1_000;
  return after > 0 ? after : undefined;
}

/**
 * The page's own headers: an object, what `fetch` takes besides, or a function that gives it.
 *
 * @param {Options} options
 * @param {AbortSignal} [signal]
 * @returns {Promise<HeaderMap | undefined>}
 */
export async function ownHeaders({ headers }, signal) {
  /** @type {any} */
  const given = typeof headers === "function" ? await unlessAborted(headers(), signal) : headers;
  return Symbol.iterator in Object(given) ? Object.fromEntries(given) : given;
}

/**
 * All headers of a request, as they are good now: the page's, who it is, and what the request is for.
 *
 * @param {Options} options
 * @param {AbortSignal | undefined} signal
 * @param {HeaderMap} more
 * @returns {Promise<HeaderMap>}
 */
export async function allHeaders(options, signal, more) {
  return { ...(await ownHeaders(options, signal)), ...(await authorization(options, signal)), ...more };
}

/** @param {Response} response */
export function typeOf(response) {
  return (response.headers.get("Content-Type") ?? "").toLowerCase().split(/[\s;]/)[0];
}

/**
 * A page where a channel should be: of a login, of a portal, of an error that calls itself 200.
 *
 * @param {Response} response
 */
export function isPage(response) {
  return /html/.test(typeOf(response));
}

/**
 * What an answer is not, for the one who asked for a channel. A page, or another place's answer, will not become one.
 *
 * @param {Response} response
 * @param {string} expected
 */
export function checkType(response, expected) {
  if (typeOf(response) === expected) return;
  const { redirected, url } = response;
  const found = `${typeOf(response) || "nothing"}${redirected ? ` at ${url}` : ""}, in place of ${expected}`;
  if (redirected || isPage(response)) throw login(`: ${found}`);
  throw new Ended(found, { reason: "type" });
}

/** Why an answer is none, and whether to ask again. @param {Response} response */
export async function failure(response) {
  const { ok, status } = response;
  const final = status < 500 && !PASSING.test(`${status}`);
  const said = /40[013]/.test(`${status}`) ? await response.json().catch(() => null) : null;
  const code = [4401, 4403].find((one) => REASONS[one] === said?.error);
  const retry = final ? null : retryAfter(response);
  // Below 400 it is a redirect that was not followed, or a 204, say, with nothing in it.
  const kind = ok ? "type" : status < 400 ? "login" : status === 401 ? "expired" : final ? "refused" : undefined;
  const message = code ? said.error : `HTTP ${status}`;
  return new Ended(message, { code, status, retry, reason: code ? said.error : kind, error: said?.error });
}

/**
 * Where a request is sent on, and that fails, it has come to a login at another origin: followed blindly, it would look like
 * a network that is down. A command that is sent again by this has the same key.
 *
 * @param {string | URL} url
 * @param {RequestInit} request
 * @param {Settings} options
 */
async function fetched(url, request, { fetch }) {
  const response = await fetch(url, { redirect: "manual", cache: "no-store", ...request }).catch((error) => {
    throw asEnded(error, { reason: "unreachable" });
  });
  const { ok, status } = response;
  if (ok || status === 304 || status >= 400 || request.redirect) return response;
  return fetch(url, { cache: "no-store", ...request }).catch(() => {
    throw login();
  });
}

/**
 * A request whose answer is 200 or 304, or an error that says whether to ask again.
 *
 * @param {URL} url
 * @param {HeaderMap} headers
 * @param {Settings} options
 * @param {AbortSignal} signal
 */
export async function request(url, headers, options, signal) {
  const response = await unlessAborted(fetched(url, { headers, signal }, options), signal);
  if (response.status === 200 || response.status === 304) return response;
  throw await failure(response);
}

/**
 * Asks within the time that a connection may be silent for. `more`: its own headers, and its method and body. `sending` of
 * the options is told right before it goes out.
 *
 * @template T
 * @param {string | URL} url
 * @param {RequestInit & {headers: HeaderMap}} request
 * @param {Settings} options
 * @param {AbortSignal | undefined} outer
 * @param {(response: Response) => Promise<T>} hear
 */
export function asked(url, { headers, ...more }, options, outer, hear) {
  const silent = () => new Ended("silent");
  return within(options.silence, silent, options, outer, async (signal) => {
    const all = await allHeaders(options, signal, headers);
    options.sending?.();
    return hear(await fetched(url, { ...more, headers: all, signal }, options));
  });
}

/**
 * Why a WebSocket was not opened, which browsers keep from a page: beside the next try its URL is asked for. What only some
 * pages need is loaded by them alone; where that fails, another try may ask.
 *
 * @param {Ended} why  how it ended
 * @param {Place} url
 * @param {Settings} options
 * @param {Line} line
 */
export function askWhy(why, url, options, line) {
  if (!why.unopened || !line.isDoubtful) return;
  const asking = import("./why.js");
  optional(asking.then(({ ask }) => ask(url, options, line)));
}
