/** Who the page is for the server: its token, in a form that each way in can carry. Knows nothing of connections. */

/** @import { Options } from "./api.js" */

import { Ended, unlessAborted } from "./line.js";

const PROTOCOL = "triolet.1";
const TOKEN_PROTOCOL = "triolet.token.";

/** What the header `Authorization` can carry here, and what a subprotocol can (a token of RFC 9110, section 5.6.2). */
const HEADER_TOKEN = /^[\x21-\x7e]+$/;
const PROTOCOL_TOKEN = /^[-!#$%&'*+.^_`|~0-9A-Za-z]+$/;

/**
 * The token, if it can be sent. Of the token itself nothing gets into an error.
 *
 * @param {unknown} token
 * @param {Options} options
 */
function sendable(token, { transport }) {
  if (typeof token !== "string" || !HEADER_TOKEN.test(token)) {
    throw new TypeError("token: a text of visible ASCII characters, or a function that returns one");
  }
  if (transport === "websocket" && !PROTOCOL_TOKEN.test(token)) {
    throw new TypeError("token: a WebSocket carries letters, digits and -!#$%&'*+.^_`|~ only");
  }
  return token;
}

/** Looks at the option before anything is tried. @param {Options} options @throws {TypeError} */
export function checkToken(options) {
  if (options.token != null && typeof options.token !== "function") sendable(options.token, options);
}

/**
 * The token to use now; null without one. That a page's function fails is trouble that may pass.
 *
 * @param {Options} options
 * @param {AbortSignal} [signal]
 */
export async function currentToken(options, signal) {
  const { token } = options;
  const given = typeof token === "function" ? await unlessAborted(token(), signal) : token;
  if (given == null) return null;
  try {
    return sendable(given, options);
  } catch (/** @type {any} */ { message }) {
    throw new Ended(message, { retry: null, reason: "token" });
  }
}

/**
 * The headers that say who asks.
 *
 * @param {Options} options
 * @param {AbortSignal} [signal]
 * @returns {Promise<Record<string, string>>}
 */
export async function authorization(options, signal) {
  const token = await currentToken(options, signal);
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/**
 * The subprotocols of a WebSocket: ours, and as browsers can set no header there, the token for another.
 *
 * @param {Options} options
 * @param {AbortSignal} signal
 */
export async function subprotocols(options, signal) {
  const token = await currentToken(options, signal);
  return token === null ? PROTOCOL : [PROTOCOL, TOKEN_PROTOCOL + token];
}
