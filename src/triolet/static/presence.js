/** Who is there: the joins and leaves of a channel, as a live map. */

import { Handlers, optional } from "./handlers.js";
import { unlessAborted } from "./line.js";

/** The sessions that joins and leaves come to. A session is one connection of a member's. */
class Sessions {
  #sessions = new Map();

  constructor(roster = []) {
    for (const said of roster) this.#sessions.set(said.session, { info: null, stated: 0, ...said });
  }

  /** A join may come again, for a session that is there. */
  take(name, said) {
    const { session, stated } = said ?? {};
    if (typeof session !== "string") return;
    const known = this.#sessions.get(session);
    if (name === "join" && !(known?.stated > stated)) this.#sessions.set(session, { info: null, ...said });
    if (name === "leave" && known && !(known.stated > stated)) this.#sessions.delete(session);
  }

  /** Each member once. */
  members() {
    const members = new Map();
    for (const { member, info } of this.#sessions.values()) {
      members.set(member, { member, info, sessions: (members.get(member)?.sessions ?? 0) + 1 });
    }
    return members;
  }
}

/**
 * Who is there, as a Map of members: each once, however many sessions it has. A map that is only coming to be shows
 * nobody, and one that has lost its place goes on showing who was there, until it knows anew.
 */
export class Presence extends Map {
  #open;
  #options;
  #handlers = new Handlers();
  #follow = null;
  #sessions = null;
  #ready = {};
  #abort = () => this.close();

  constructor(open, options) {
    super();
    this.#open = open;
    this.#options = options;
    this.#ready.promise = optional(new Promise((resolve, reject) => Object.assign(this.#ready, { resolve, reject })));
    /** @type {import("./api.js").State} */
    this.state = "connecting";
    options.signal?.addEventListener("abort", this.#abort);
    if (options.signal?.aborted) this.close();
    else this.#begin();
  }

  async #begin() {
    this.#sessions = null;
    let roster = { sessions: [], cursor: "0" };
    try {
      if (this.#options.roster) roster = await this.#options.roster();
    } catch (error) {
      return this.#become("gone", { error, reason: "roster" });
    }
    if (this.state !== "gone") this.#listen(new Sessions(roster.sessions ?? []), roster.cursor);
  }

  #listen(sessions, after) {
    const follow = (this.#follow = this.#open({ after }));
    const isOurs = () => this.#follow === follow;
    follow.on("event", ({ event, data }) => {
      if (!isOurs()) return;
      sessions.take(event, data);
      if (this.#sessions === sessions) this.#show();
    });
    follow.on("live", () => {
      if (!isOurs()) return;
      this.#sessions = sessions;
      this.#show();
      this.#become("live");
      this.#ready.resolve();
    });
    follow.on("gap", () => {
      // What was missed may have been a leave. From the oldest event on all is told that is still true.
      if (!isOurs() || this.#sessions !== sessions) return;
      this.#follow = null;
      follow.close();
      this.#become("behind");
      void this.#begin();
    });
    follow.on("state", (state, why) => {
      if (isOurs() && state !== "live") this.#become(state, why);
    });
  }

  #become(state, why = {}) {
    if (this.state === "gone" || state === this.state) return;
    this.state = state;
    this.#handlers.tell("state", state, why);
    if (state !== "gone") return;
    this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#ready.reject(why.error ?? new Error(why.reason ?? "closed"));
    this.#handlers.tell("gone", why);
  }

  #show() {
    const now = this.#sessions.members();
    const before = new Map(this);
    this.clear();
    for (const [member, one] of now) this.set(member, one);
    let isOther = before.size !== now.size;
    for (const [member, one] of now) {
      const then = before.get(member);
      isOther ||= then?.sessions !== one.sessions || then.info !== one.info;
      if (!then) this.#handlers.tell("join", one);
    }
    for (const [member, one] of before) if (!now.has(member)) this.#handlers.tell("leave", one);
    if (isOther) this.#handlers.tell("change", this);
  }

  /** "join" and "leave" with a member, "change" with this, "state", "gone". @returns {() => void} takes it off again */
  on(name, call) {
    return this.#handlers.on(name, call);
  }

  /** Once it is known who is there. */
  ready({ signal } = {}) {
    return optional(signal ? unlessAborted(this.#ready.promise, signal) : this.#ready.promise);
  }

  close() {
    const follow = this.#follow;
    this.#follow = null;
    follow?.close();
    this.#become("gone", { reason: "closed" });
  }
}
