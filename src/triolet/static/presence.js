/** Who is there: the joins and leaves of a channel, as a live map. */

import { Handlers, deferred, onAbort, optional } from "./handlers.js";
import { unlessAborted } from "./line.js";

/**
 * Who is there, as a Map of members: each once, however many sessions it has. A map that is only coming to be shows
 * nobody, and one that has lost its place goes on showing who was there, until it knows anew.
 *
 * @extends {Map<string, import("./api.js").Present>}
 */
export class Presence extends Map {
  #handlers = new Handlers();
  #ready = deferred();
  #roster = null;
  #off;

  /** `open(options)` follows the channel. */
  constructor(open, { roster, signal }) {
    super();
    /** @type {import("./api.js").State} */
    this.state = "connecting";
    this.#off = onAbort(signal, () => this.close());
    void this.#begin(open, roster);
  }

  /** What only some pages need is loaded by them alone. */
  async #begin(open, roster) {
    const become = (state, why) => this.#become(state, why);
    try {
      const { Roster } = await import("./roster.js");
      const tell = (name, said) => this.#handlers.tell(name, said);
      if (this.state !== "gone") this.#roster = new Roster(open, roster, this, { become, tell });
    } catch (error) {
      become("gone", { error, reason: "load" });
    }
  }

  #become(state, why) {
    if (this.state === "gone" || state === this.state) return;
    this.state = state;
    this.#handlers.tell("state", state, why);
    if (state === "live") this.#ready.resolve();
    if (state !== "gone") return;
    this.#off?.();
    this.#ready.reject(why.error ?? new Error(why.reason));
    this.#handlers.tell("gone", why);
  }

  /** "join" and "leave" with a member, "change" with this, "state", "gone". @returns {() => void} takes it off again */
  on(name, call) {
    return this.#handlers.on(name, call);
  }

  /** Once it is known who is there. */
  ready({ signal } = {}) {
    return optional(unlessAborted(this.#ready.promise, signal));
  }

  close() {
    this.#become("gone", { reason: "closed" });
    this.#roster?.close();
  }
}
