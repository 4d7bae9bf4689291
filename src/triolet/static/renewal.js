/** A connection whose credential is about to end, and how it is kept. */

import { backoff, pause } from "./line.js";
import { ask, locate } from "./requests.js";
import { currentToken } from "./token.js";

const SHORTEST_WAIT = 1_000;

/**
 * Answers "expiring" on one connection with a new credential, until the server has it or the connection ends.
 *
 * It waits for a part of what is left, drawn for each client, so that many do not ask at one moment, and so that a
 * token which is good for less than the server's warning is not renewed all the time.
 */
export class Renewal {
  #renew;
  #refuse;
  #options;
  #line;
  #signal;
  #due = null;
  #busy = false;

  /** `renew(message)` does it, and throws; `refuse(message)` hears what the server will never take. */
  constructor(renew, refuse, options, line, signal) {
    this.#renew = renew;
    this.#refuse = refuse;
    this.#options = options;
    this.#line = line;
    this.#signal = signal;
  }

  /** Listens to every message of the connection. */
  hear(message) {
    if (message.type !== "expiring" || message.refused) return;
    this.#due = message;
    if (!this.#busy) this.#run();
  }

  /** One after the other: the next warning may come before the answer to what the last one led to. */
  async #run() {
    this.#busy = true;
    while (this.#due !== null && !this.#signal.aborted) {
      const message = this.#due;
      this.#due = null;
      await this.#answer(message).catch(() => null); // the connection has ended
    }
    this.#busy = false;
  }

  async #answer(message) {
    const part = (message.in * (1 + this.#options.random())) / 4;
    await pause(Math.max(SHORTEST_WAIT, Math.round(part)), this.#options, this.#signal);
    for (let attempt = 0; ; attempt += 1) {
      const error = await this.#tried(message);
      if (error === null || this.#signal.aborted) return;
      if (error.retry === null) return this.#refused(message, error);
      const retry = error.retry ?? backoff(attempt, this.#options);
      this.#line.trouble({ retry, error });
      await pause(retry, this.#options, this.#signal);
    }
  }

  async #tried(message) {
    try {
      await this.#renew(message);
      return null;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  #refused(message, error) {
    this.#line.trouble({ error });
    this.#refuse({ ...message, refused: true });
  }
}

/** How a stream's credential is renewed: beside it, by its key. A token that is a text is the only one there is. */
export async function renewStream({ key }, url, options, signal) {
  if (key && typeof options.token !== "string") await ask("renew", url, { key }, options, signal);
}

/** How a WebSocket's is: in band. With no token there is nothing that could be said. */
export async function renewSocket(socket, options, signal) {
  const token = typeof options.token === "function" ? await currentToken(options, signal) : null;
  if (token !== null) socket.send(JSON.stringify({ type: "auth", token }));
}

/** The URL of a channel with a ticket in it. See `ticketed` of triolet.js. */
export async function withTicket(url, options) {
  const { ticket } = await ask("ticket", url, {}, options);
  const target = locate(url);
  target.searchParams.set("ticket", ticket);
  return String(target);
}
