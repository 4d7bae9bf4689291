/** A connection whose credential is about to end, and how it is kept. */

import { backoff, pause } from "./line.js";
import { ask, locate } from "./requests.js";
import { currentToken } from "./token.js";

/**
 * @import { Line } from "./line.js"
 * @import { Settings } from "./settings.js"
 * @import { Message } from "./track.js"
 */

const SHORTEST_WAIT = 1_000;

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
 * @returns {(message: Message) => void} what is to hear every message of the connection
 */
export function renewal(renew, refuse, options, line, signal) {
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
      const retry = error.retry ?? backoff(attempt, options);
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
    if (message.type !== "expiring" || message.refused) return;
    due = message;
    if (!isBusy) void run();
  };
}

/**
 * How a stream's credential is renewed: beside it, by its key. A token that is a text is the only one there is.
 *
 * @param {Message} message
 * @param {string | null} url
 * @param {Settings} options
 * @param {AbortSignal} signal
 */
export async function renewStream({ key }, url, options, signal) {
  if (key && typeof options.token !== "string") await ask("renew", url, { key }, options, signal);
}

/**
 * How a WebSocket's is: in band. With no token there is nothing that could be said.
 *
 * @param {WebSocket} socket
 * @param {Settings} options
 * @param {AbortSignal} signal
 */
export async function renewSocket(socket, options, signal) {
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
