/** Who is there: the joins and leaves of a channel, as a live map. */

import { Handlers, deferred, optional } from "./handlers.js";
import { onAbort, unlessAborted } from "./line.js";

/**
 * @import { FollowOptions, Present, PresenceHandlers, PresenceOptions, PresenceWhy, State } from "./api.js"
 * @import { Follow } from "./follow.js"
 * @import { Roster } from "./roster.js"
 */

/**
 * Who is there, as a Map of members: each once, however many sessions it has. A map that is only coming to be shows
 * nobody, and one that has lost its place goes on showing who was there, until it knows anew.
 *
 * @template [Info=any]
 * @extends {Map<string, Present<Info>>}
 */
export class Presence extends Map {
  #handlers = new Handlers();
  #ready = deferred();
  /** @type {Roster | null} */
  #roster = null;
  #off;

  /**
   * `open(options)` follows the channel.
   *
   * @param {(options: FollowOptions) => Follow} open
   * @param {PresenceOptions<Info>} options
   * @internal
   */
  constructor(open, { roster, signal }) {
    super();
    /** @type {State} whether it is known who is there */
    this.state = "connecting";
    this.#off = onAbort(signal, () => this.close());
    void this.#begin(open, roster);
  }

  /**
   * What only some pages need is loaded by them alone.
   *
   * @param {(options: FollowOptions) => Follow} open
   * @param {PresenceOptions<Info>["roster"]} roster
   */
  async #begin(open, roster) {
    /** @param {State} state @param {PresenceWhy} why */
    const become = (state, why) => this.#become(state, why);
    try {
      const { Roster } = await import("./roster.js");
      /** @param {string} name @param {unknown} said */
      const tell = (name, said) => this.#handlers.tell(name, said);
      if (this.state !== "gone") this.#roster = new Roster(open, roster, this, { become, tell });
    } catch (error) {
      become("gone", { error, reason: "load" });
    }
  }

  /** @param {State} state @param {PresenceWhy} why */
  #become(state, why) {
    if (this.state === "gone" || (state === this.state && !why.error)) return;
    this.state = state;
    this.#handlers.tell("state", state, why);
    if (state === "live") this.#ready.resolve();
    if (state !== "gone") return;
    this.#off?.();
    this.#ready.reject(why.error ?? new Error(why.reason));
    this.#handlers.tell("gone", why);
  }

  /**
   * Calls on what happens: see `PresenceHandlers`.
   *
   * @template {keyof PresenceHandlers} Name
   * @param {Name} name
   * @param {PresenceHandlers<Info>[Name]} call
   * @returns {() => void} takes it off again
   */
  on(name, call) {
    return this.#handlers.on(name, call);
  }

  /**
   * Once it is known who is there.
   *
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<void>}
   */
  ready({ signal } = {}) {
    return optional(unlessAborted(this.#ready.promise, signal));
  }

  /** Ends it. */
  close() {
    this.#become("gone", { reason: "closed" });
    this.#roster?.close();
  }
}
