/** What a connection answers its server: a new credential, and how far the page is. Loaded by the pages that need it alone. */

import { backoff, pause } from "./line.js";
import { asked, failure, locate } from "./requests.js";
import { currentToken } from "./token.js";

/**
 * @import { Options } from "./api.js"
 * @import { Line } from "./line.js"
 * @import { Place } from "./requests.js"
 * @import { Settings } from "./settings.js"
 * @import { Message } from "./track.js"
 */

const SHORTEST_WAIT = 1_000;

/**
 * What hears the messages of one connection that want an answer. A WebSocket is told itself; for a stream, Triolet is asked
 * beside it. `refuse(message)` hears what the server will never take.
 *
 * @param {{socket?: WebSocket, url?: string | null}} connection
 * @param {(message: Message) => void} refuse
 * @param {Settings} options
 * @param {Line} line
 * @param {AbortSignal} signal
 * @returns {(message: Message) => void}
 */
export function answers({ socket, url }, refuse, options, line, signal) {
  /** @param {Message} message */
  const renew = (message) => (socket ? renewSocket(socket, options, signal) : renewStream(message, url, options, signal));
  const renewed = renewal(renew, refuse, options, line, signal);
  const applied = socket && acknowledging(socket, options, signal);
  return (message) => (message.type === "event" ? applied?.(message) : renewed(message));
}

/**
 * Says what was applied, the newest of each channel, at most once in `acknowledge` ms.
 *
 * @param {WebSocket} socket
 * @param {Settings} options
 * @param {AbortSignal} signal
 * @returns {(event: Message) => void}
 */
function acknowledging(socket, options, signal) {
  const applied = new Map();
  const say = () => {
    for (const [channel, cursor] of socket.readyState === 1 ? applied : []) {
      socket.send(JSON.stringify({ type: "ack", channel, cursor }));
    }
    applied.clear();
  };
  return ({ channel, id }) => {
    if (applied.size === 0) {
      const ms = /** @type {number} */ (options.acknowledge);
      pause(ms, options, signal).then(say, () => null); // else the connection has ended
    }
    applied.set(channel, id);
  };
}

/**
 * Answers "expiring" on one connection with a new credential, until the server has it or the connection ends.
 *
 * It waits for a part of what is left, drawn for each client, so that many do not ask at one moment, and so that a
 * token which is good for less than the server's warning is not renewed all the time.
 *
 * `renew(message)` does it, and throws; `refuse(message)` hears what the server will never take.
 *
 * @param {(message: Message) => Promise<void>} renew
 * @param {(message: Message) => void} refuse
 * @param {Settings} options
 * @param {Line} line
 * @param {AbortSignal} signal
 * @returns {(message: Message) => void} what is to hear each warning
 */
function renewal(renew, refuse, options, line, signal) {
  /** @type {Message | null} */
  let due = null;
  let isBusy = false;

  /** @param {Message} message @returns {Promise<any>} */
  const tried = async (message) => {
    try {
      await renew(message);
      return null;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  };

  /** @param {Message} message */
  const answer = async (message) => {
    const part = (message.in * (1 + options.random())) / 4;
    await pause(Math.max(SHORTEST_WAIT, Math.round(part)), options, signal);
    for (let attempt = 0; ; attempt += 1) {
      const error = await tried(message);
      if (error === null || signal.aborted) return;
      const retry = backoff(attempt, options, error.retry);
      line.trouble(error.retry === null ? { error } : { retry, error });
      if (error.retry === null) return refuse({ ...message, refused: true });
      await pause(retry, options, signal);
    }
  };

  /** One after the other: the next warning may come before the answer to what the last one led to. */
  const run = async () => {
    isBusy = true;
    while (due !== null && !signal.aborted) {
      const message = due;
      due = null;
      await answer(message).catch(() => null); // the connection has ended
    }
    isBusy = false;
  };

  return (message) => {
    if (message.refused) return;
    due = message;
    if (!isBusy) void run();
  };
}

/**
 * Where Triolet itself is asked, for those that follow a URL: beside this script, or at the root of another origin.
 *
 * @param {string} name
 * @param {Place} url
 * @param {Options} options
 */
function home(name, url, { base }) {
  const script = new URL("./", import.meta.url);
  const isHere = script.origin === locate(url).origin && script.pathname.endsWith("/triolet/");
  return locate(name, locate(base ?? (isHere ? script : "/triolet/"), url));
}

/**
 * Asks Triolet itself, at `/triolet/<name>`, with the credential that is good now.
 *
 * @param {string} name
 * @param {Place} url
 * @param {unknown} body
 * @param {Settings} options
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
function ask(name, url, body, options, signal) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return asked(home(name, url, options), post, options, signal, async (response) => {
    if (!response.ok) throw await failure(response);
    return response.status === 200 ? response.json() : null;
  });
}

/**
 * How a stream's credential is renewed: beside it, by its key. A token that is a text is the only one there is.
 *
 * @param {Message} message
 * @param {Place} url
 * @param {Settings} options
 * @param {AbortSignal} signal
 */
async function renewStream({ key }, url, options, signal) {
  if (key && typeof options.token !== "string") await ask("renew", url, { key }, options, signal);
}

/**
 * How a WebSocket's is: in band. With no token there is nothing that could be said.
 *
 * @param {WebSocket} socket
 * @param {Settings} options
 * @param {AbortSignal} signal
 */
async function renewSocket(socket, options, signal) {
  const token = typeof options.token === "function" ? await currentToken(options, signal) : null;
  if (token !== null) socket.send(JSON.stringify({ type: "auth", token }));
}

/**
 * The URL of a channel with a ticket in it. See `ticketed` of triolet.js.
 *
 * @param {string | URL} url
 * @param {Settings} options
 */
export async function withTicket(url, options) {
  const { ticket } = await ask("ticket", url, {}, options);
  const target = locate(url);
  target.searchParams.set("ticket", ticket);
  return String(target);
}
