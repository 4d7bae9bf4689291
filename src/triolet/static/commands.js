/** What is to happen once: commands, asked again under one id until they are answered. Knows nothing of channels. */

import { deferred } from "./handlers.js";
import { Ended, backoff, pause, tell, unlessAborted, within } from "./line.js";
import { asked, isPage, locate, login, retryAfter, typeOf } from "./requests.js";
import { LONGEST } from "./settings.js";

/**
 * @import { Reply, SendOptions } from "./api.js"
 * @import { Place } from "./requests.js"
 * @import { Settings } from "./settings.js"
 * @import { Message } from "./track.js"
 *
 * @typedef {Reply & {retry?: number}} Answer
 *
 * @typedef {Object} Question  a command that a WebSocket has been asked
 * @property {string} id
 * @property {WebSocket} socket
 * @property {Promise<Answer>} promise
 * @property {(answer: Answer) => void} resolve
 * @property {(reason: unknown) => void} reject
 */

/** Commands that are asked at once, as many as the server lets one connection have open; the others wait in order. */
const OPEN = 16;
const WAITING = 1_000;

/** From so many bytes on one goes by POST: what the server finds too long is refused there, and ends a WebSocket for good. */
const LONG = 65_536;

/** Answers that say "not now": none of them is kept by the server, so the same id may get another. */
const LATER = /408|425|429|50[234]/;

/** Nobody knows whether it happened, if it was `sent`. Asking again under the same `id` is safe. */
export class Unanswered extends Error {
  /** @type {string} "Unanswered" */
  name = "Unanswered";

  /** @param {string} message @param {string} id @param {boolean} sent @param {unknown} cause @internal */
  constructor(message, id, sent, cause) {
    super(message, { cause });
    /** @type {string} under which it may be asked again */
    this.id = id;
    /** @type {boolean} whether it may have happened */
    this.sent = sent;
  }
}

/** An id that nobody else has: 128 bits. A page that is no secure context has no `crypto.randomUUID`. */
export function newId(crypto = globalThis.crypto) {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
}

/** A command as it is asked, each time alike: what the page changes in `data` later is no part of it. */
class Command {
  sent = false;
  /** @type {unknown} */
  trouble;

  /** @param {string | URL} url @param {any} data @param {SendOptions & Settings} options @param {Place} base */
  constructor(url, data, { id = newId(), stringify }, base) {
    const isText = typeof id === "string" && /^[\x20-\x7e]+$/.test(id);
    if (!isText) throw new TypeError("id: a text of printable ASCII characters");
    this.id = id;
    this.url = locate(url, base);
    /** @type {string} */
    this.body = stringify(data ?? null);
    if (this.body === undefined) throw new TypeError("data: what JSON can say");
  }

  /** As a message of a WebSocket. */
  get message() {
    const { id, url, body } = this;
    const head = JSON.stringify({ type: "command", id, url: url.pathname + url.search });
    return `${head.slice(0, -1)},"data":${body}}`;
  }

  /** As the header `Idempotency-Key`: a string of RFC 9651, section 3.3.3. Of printable ASCII JSON makes the same. */
  get key() {
    return JSON.stringify(this.id);
  }

  /** @param {any} error */
  unanswered(error) {
    const outcome = this.sent ? "it may have happened" : "it was never sent";
    const message = `no answer to the command ${this.url.pathname}: ${error?.message ?? error}; ${outcome}`;
    return new Unanswered(message, this.id, this.sent, this.trouble ?? error);
  }
}

/** @param {Response} response @param {(text: string) => any} parse */
async function read(response, parse) {
  if (response.redirected && isPage(response)) throw login();
  const text = await response.text();
  const isJson = /^application\/(.*\+)?json/.test(typeOf(response));
  if (!text) return null;
  try {
    return isJson ? parse(text) : text;
  } catch {
    return text; // it only says that it is
  }
}

/**
 * "Running" is another process's word: it is running there. Any other 409 is the app's answer.
 *
 * @param {Answer} answer
 */
function isPassing({ status, data }) {
  return LATER.test(`${status}`) || (status === 409 && data?.error === "running");
}

/** The commands of one client: over its WebSocket while that is open, else by POST. */
export class Commands {
  #base;
  /** @type {WebSocket | null} */
  #socket = null;
  /** Settled when it is worth while to ask at once. */
  #opened = deferred();
  /** @type {Set<Question>} */
  #asked = new Set();
  /** Begins each that is asked, or waits: the first of them are asked. @type {Set<() => void>} */
  #turns = new Set();
  #changed;

  /** How many have been asked for, and wait for their answer. */
  get unanswered() {
    return this.#turns.size;
  }

  /**
   * @param {Place} [base]  the URL from which those of commands are seen
   * @param {(unanswered: number) => void} [changed]
   */
  constructor(base, changed) {
    this.#base = base;
    this.#changed = changed;
  }

  /** The network may be back: what waits is asked now. */
  wake() {
    this.#opened.resolve();
    this.#opened = deferred();
  }

  /** Over this WebSocket from now on. @param {WebSocket} socket */
  use(socket) {
    this.#socket = socket;
    this.wake();
  }

  /** This WebSocket is gone: what was asked over it is asked again. @param {WebSocket | null} socket */
  lose(socket) {
    for (const asked of this.#asked) {
      if (asked.socket === socket) asked.reject(new Ended("the connection ended"));
    }
    if (this.#socket === socket) this.#socket = null;
  }

  /** Takes a "reply". @param {Message} reply */
  hear({ id, status, data, retry, repeated = false }) {
    for (const asked of this.#asked) {
      if (asked.id === id) asked.resolve({ status, data, retry, repeated });
    }
  }

  /**
   * See `command` of triolet.js.
   *
   * @param {string | URL} url
   * @param {any} data
   * @param {SendOptions & Settings} options
   * @returns {Promise<Reply>}
   */
  async send(url, data, options) {
    const { timeout, signal } = options;
    if (!(timeout > 0)) throw new TypeError("timeout: more than 0 ms");
    const command = new Command(url, data, options, this.#base);
    if (this.#turns.size === OPEN + WAITING) throw command.unanswered(`${WAITING} others wait`);
    const late = () => new Error(`${timeout} ms are over`);
    /** @param {AbortSignal} inner */
    const run = (inner) => this.#inTurn(inner, () => this.#ask(command, options, inner));
    try {
      return await within(Math.min(timeout, LONGEST), late, options, signal, run);
    } catch (error) {
      throw command.unanswered(error);
    }
  }

  /** @template T @param {AbortSignal} signal @param {() => Promise<T>} call */
  async #inTurn(signal, call) {
    const { promise, resolve } = deferred();
    const turns = this.#turns.add(resolve);
    tell(this.#changed, turns.size);
    try {
      if (turns.size > OPEN) await unlessAborted(promise, signal);
      return await call();
    } finally {
      turns.delete(resolve);
      for (const begin of [...turns].slice(0, OPEN)) begin();
      tell(this.#changed, turns.size);
    }
  }

  /** @param {Command} command @param {Settings} options @param {AbortSignal} signal @returns {Promise<Reply>} */
  async #ask(command, options, signal) {
    /** @param {any} error @returns {any} */
    const failed = (error) => {
      if (signal.aborted) throw signal.reason;
      if (error?.retry === null) throw error;
      return { error };
    };
    for (let attempt = 0; ; attempt += 1) {
      const { error, retry, ...answer } = await this.#once(command, options, signal).catch(failed);
      if (answer.status && !isPassing(answer)) return answer;
      command.trouble = error ?? new Error(`status ${answer.status}`);
      // Where the network was the trouble, the moment is when the WebSocket is there again.
      const early = error && this.#socket === null ? this.#opened.promise : undefined;
      await pause(backoff(attempt, options, retry), options, signal, early);
    }
  }

  /**
   * @param {Command} command
   * @param {Settings} options
   * @param {AbortSignal} signal
   */
  async #once(command, options, signal) {
    const socket = this.#socket;
    const isOurs = socket?.readyState === 1 && command.url.origin === locate(socket.url).origin;
    const isOver = isOurs && new Blob([command.body]).size < LONG;
    return isOver ? this.#say(socket, command, signal) : this.#post(command, options, signal);
  }

  /** @param {WebSocket} socket @param {Command} command @param {AbortSignal} signal @returns {Promise<Answer>} */
  async #say(socket, command, signal) {
    /** @type {Question} */
    const question = { id: command.id, socket, ...deferred() };
    this.#asked.add(question);
    command.sent = true;
    socket.send(command.message);
    try {
      return await unlessAborted(question.promise, signal);
    } finally {
      this.#asked.delete(question);
    }
  }

  /**
   * Without an answer for as long as a stream may be silent, the connection counts as lost.
   *
   * @param {Command} command
   * @param {Settings} options
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  #post(command, options, signal) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": command.key };
    const post = { method: "POST", headers, body: command.body };
    const sending = () => (command.sent = true);
    return asked(command.url, post, { ...options, sending }, signal, async (response) => {
      const repeated = response.headers.get("Idempotency-Replayed") === "true";
      return { status: response.status, data: await read(response, options.parse), retry: retryAfter(response), repeated };
    });
  }
}
