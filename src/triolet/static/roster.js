/** How it is found out who is there: from the joins and leaves that a channel tells. */

/**
 * @import { FollowOptions, Present, PresenceWhy, Roster as Said, State } from "./api.js"
 * @import { Follow } from "./follow.js"
 * @import { Presence } from "./presence.js"
 *
 * @typedef {{member: string, session: string, info?: any, stated?: number}} Session
 *
 * @typedef {Object} RosterHooks
 * @property {(state: State, why: PresenceWhy) => void} become
 * @property {(name: string, said: any) => void} tell
 */

/** The sessions that joins and leaves come to. A session is one connection of a member's. */
class Sessions {
  /** @type {Map<string, Session>} */
  #sessions = new Map();

  /** @param {Session[]} roster */
  constructor(roster) {
    for (const said of roster) this.#sessions.set(said.session, { info: null, stated: 0, ...said });
  }

  /** A join may come again, for a session that is there. @param {string} name @param {any} said */
  take(name, said) {
    const { session, stated } = said ?? {};
    if (typeof session !== "string") return;
    const isNewer = Number(this.#sessions.get(session)?.stated) > stated;
    if (name === "join" && !isNewer) this.#sessions.set(session, { info: null, ...said });
    if (name === "leave" && !isNewer) this.#sessions.delete(session);
  }

  /** Each member once. */
  members() {
    /** @type {Map<string, Present>} */
    const members = new Map();
    for (const { member, info } of this.#sessions.values()) {
      members.set(member, { member, info, sessions: (members.get(member)?.sessions ?? 0) + 1 });
    }
    return members;
  }
}

/**
 * Keeps a map of members as the channel has it. `open(options)` follows the channel, `presence` is the map, `hooks` are
 * `become(state, why)` and `tell(name, said)`.
 */
export class Roster {
  #open;
  #roster;
  #presence;
  #hooks;
  /** @type {Follow | null} */
  #follow = null;
  /** @type {Sessions | null} */
  #sessions = null;
  #isOver = false;

  /**
   * @param {(options: FollowOptions) => Follow} open
   * @param {(() => Said | Promise<Said>) | undefined} roster
   * @param {Presence} presence
   * @param {RosterHooks} hooks
   */
  constructor(open, roster, presence, hooks) {
    this.#open = open;
    this.#roster = roster;
    this.#presence = presence;
    this.#hooks = hooks;
    void this.#begin();
  }

  async #begin() {
    this.#sessions = null;
    try {
      const { sessions, cursor } = this.#roster ? await this.#roster() : { sessions: [], cursor: "0" };
      const isWhole = Array.isArray(sessions) && cursor != null;
      if (!isWhole) throw new TypeError("roster: an object with sessions, an array, and the cursor of then");
      if (!this.#isOver) this.#listen(new Sessions(sessions), cursor);
    } catch (/** @type {any} */ error) {
      this.#hooks.become("gone", { error, reason: error?.reason ?? "roster" });
    }
  }

  /** @param {Sessions} sessions @param {string} after */
  #listen(sessions, after) {
    const follow = (this.#follow = this.#open({ after }));
    follow.on("event", ({ event, data }) => {
      sessions.take(event, data);
      if (this.#sessions === sessions) this.#show(sessions);
    });
    follow.on("live", () => {
      this.#sessions = sessions;
      this.#show(sessions);
      this.#hooks.become("live", {});
    });
    follow.on("gap", () => {
      // What was missed may have been a leave. From the oldest event on all is told that is still true.
      if (this.#sessions !== sessions) return;
      this.#follow = null;
      follow.close();
      this.#hooks.become("behind", {});
      void this.#begin();
    });
    follow.on("state", (state, why) => {
      if (this.#follow === follow && state !== "live") this.#hooks.become(state, why);
    });
  }

  /** @param {Sessions} sessions */
  #show(sessions) {
    const presence = this.#presence;
    const now = sessions.members();
    const before = new Map(presence);
    presence.clear();
    for (const [member, one] of now) presence.set(member, one);
    let isOther = before.size !== now.size;
    for (const [member, one] of now) {
      const then = before.get(member);
      isOther ||= then?.sessions !== one.sessions || then?.info !== one.info;
      if (!then) this.#hooks.tell("join", one);
    }
    for (const [member, one] of before) if (!now.has(member)) this.#hooks.tell("leave", one);
    if (isOther) this.#hooks.tell("change", presence);
  }

  close() {
    this.#isOver = true;
    this.#follow?.close();
  }
}
