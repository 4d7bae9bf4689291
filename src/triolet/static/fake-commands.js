/** The fake server's commands: each takes effect once, by its id, and whoever asks again is given the answer of then. */

import { jsonOf } from "./fake-log.js";

/** @import { Found, Given, Who, World } from "./fake-api.js" */
/** @import { FakeCommand } from "./fake.js" */

/** Answers below 500 that say "not now". */
const NOT_KEPT = new Set([408, 425, 429]);

/**
 * What a command is answered that publishes to a channel that has ended: nothing of it was done.
 *
 * @type {Given}
 */
const ENDED = {
  status: 409,
  data: { error: "ended", message: "a channel that it publishes to has ended; nothing was done" },
};

/** @param {Given} given */
function isKept(given) {
  return given !== ENDED && given.status < 500 && !NOT_KEPT.has(given.status);
}

/** What a handler has answered, as it is given. @param {any} said @returns {Given} @throws {TypeError} */
function checked(said = {}) {
  const { status = 200, data = null, retry, ...more } = Object(said);
  const isOne = Object(said) === said && !Array.isArray(said) && Object.keys(more).length === 0;
  if (!isOne) throw new TypeError(`a command answers {status, data, retry}, or nothing; not ${JSON.stringify(said)}`);
  if (!(status >= 200 && status <= 599)) throw new TypeError(`a command's status is 200 to 599, not ${status}`);
  if (status === 204 && data !== null) throw new TypeError("a command that is answered 204 has no data");
  const seconds = retry === undefined ? {} : { retry: 1_000 * Math.ceil(retry / 1_000) };
  return { status, data: data === null ? null : jsonOf(data, "a command's data"), ...seconds };
}

/** The same over HTTP. @param {Given} given */
export function responseOf({ status, data, retry, repeated }) {
  const headers = new Headers();
  if (retry !== undefined) headers.set("Retry-After", String(retry / 1_000));
  if (repeated) headers.set("Idempotency-Replayed", "true");
  return data === null ? new Response(null, { status, headers }) : Response.json(data, { status, headers });
}

/** And on a WebSocket. @param {string} id @param {Given} given */
export function replyOf(id, { status, data, retry, repeated }) {
  return { type: "reply", id, status, data, ...(retry !== undefined && { retry }), ...(repeated && { repeated }) };
}

export class Commands {
  #world;
  /** @type {Map<string, {text: string, answer: Promise<Given>}>} */
  #answers = new Map();
  /**
   * Those that took effect, in order.
   * @type {FakeCommand[]}
   */
  asked = [];
  /**
   * Those that have no answer yet.
   * @type {Set<FakeCommand>}
   */
  running = new Set();

  /** @param {World} world */
  constructor(world) {
    this.#world = world;
  }

  /**
   * @param {Found} found
   * @param {{url: URL, id: string, data: any, who: Pick<Who, "token" | "subject">}} asked
   * @returns {Promise<Given>}
   */
  async ask(found, { url, id, data, who }) {
    const path = url.pathname + url.search;
    const key = JSON.stringify([who.subject, path, id]);
    const text = JSON.stringify(data);
    const known = this.#answers.get(key);
    if (known && known.text !== text) return { status: 422, data: { error: "id" } };
    if (known) {
      const answer = await known.answer;
      return isKept(answer) ? { ...answer, repeated: true } : answer;
    }
    const command = { id, url: path, data };
    this.asked.push(command);
    const answer = this.#run(found, command, who);
    this.#answers.set(key, { text, answer });
    if (!isKept(await answer)) this.#answers.delete(key);
    return answer;
  }

  /** @param {Found} found @param {FakeCommand} command @param {Pick<Who, "token">} who @returns {Promise<Given>} */
  async #run({ route, params }, command, { token }) {
    /** @type {Parameters<World["publish"]>[]} */
    const events = [];
    /** @param {Parameters<World["publish"]>} event */
    const publish = (...event) => void events.push(event);
    const { id, url, data } = command;
    this.running.add(command);
    try {
      const { answer } = route.more;
      const said = await (typeof answer === "function" ? answer(data, { id, url, params, token, publish }) : answer);
      const given = checked(said);
      if (given.status < 400 && events.some(([at]) => this.#world.hasEnded(at))) return ENDED;
      if (given.status < 400) for (const event of events) this.#world.publish(...event);
      return given;
    } catch (error) {
      this.#world.trouble(error);
      return { status: 500, data: { error: "failed" } };
    } finally {
      this.running.delete(command);
    }
  }

  /** With the log that they are kept in. */
  forget() {
    this.#answers.clear();
  }
}
