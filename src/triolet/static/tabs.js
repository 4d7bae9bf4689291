/**
 * One connection for all tabs of a browser. Whoever holds a lock leads: it has the connection, and the others tell it over
 * a BroadcastChannel what they follow, each from its own cursor. When the leader is gone the next one has the lock, says
 * so, and hears from everybody where they stand. A leader that hangs keeps its lock: it is taken from it.
 */

import { newId } from "./commands.js";
import { Desk, named, plain } from "./desk.js";
import { Ended } from "./line.js";
import { PageLife } from "./page.js";
import { isBefore } from "./track.js";

/**
 * @import { State, Transport, Why } from "./api.js"
 * @import { Member } from "./desk.js"
 * @import { Settings } from "./settings.js"
 * @import { Message, Track } from "./track.js"
 * @import { Ways, WaysHooks } from "./ways.js"
 *
 * @typedef {Settings & {locks: LockManager, BroadcastChannel: typeof BroadcastChannel}} TabsSettings
 */

/** After how many ms without an answer, at least and half of at most, a leader that was asked for one counts as hung. */
const MARGIN = 5_000;

/**
 * Opens what a tab shares with the others, where it may: a page in a sandbox has no locks, nor one whose user keeps it from
 * what sites store.
 *
 * @param {string} name
 * @param {TabsSettings} settings
 * @param {(hooks: WaysHooks) => Ways} open
 * @param {WaysHooks} hooks
 */
export async function openTabs(name, settings, open, hooks) {
  const { BroadcastChannel, locks } = settings;
  new BroadcastChannel(`triolet ${name}`).close();
  await locks.request(`triolet try ${newId()}`, () => null);
  return new Tabs(name, settings, open, hooks);
}

export class Tabs {
  #name;
  #settings;
  #open;
  #hooks;
  #id = newId();
  /** @type {Map<number, Track>} */
  #tracks = new Map();
  /** @type {Map<Track, number>} */
  #ids = new Map();
  #number = 0;
  /** Those that have left and ask anew. @type {WeakSet<Track>} */
  #deaf = new WeakSet();
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #isHere = false;
  /** @type {(() => void) | null} */
  #leave = null;
  /** @type {Ways | null} */
  #ways = null;
  /** @type {Desk | null} */
  #desk = null;
  /** @type {Set<string>} */
  #known = new Set();
  /** @type {Transport | null} */
  #transport = null;
  /** @type {any} */
  #due = null;
  /** When there was word of the leader, and what looks whether that is long ago. */
  #heardAt = 0;
  /** @type {any} */
  #looking = null;
  /** What was told last of why a connection is as it is, and its name. @type {{name?: string, why: Why}} */
  #told = { why: {} };
  /** @type {((options: LockOptions) => void) | null} asks for the leader's lock */
  #claim = null;
  #life;

  /**
   * `open(hooks)` opens the ways to the server, for the tab that leads; `hooks` are those of Ways.
   *
   * @param {string} name
   * @param {TabsSettings} settings
   * @param {(hooks: WaysHooks) => Ways} open
   * @param {WaysHooks} hooks
   */
  constructor(name, settings, open, hooks) {
    this.#name = name;
    this.#settings = settings;
    this.#open = open;
    this.#hooks = hooks;
    this.#life = new PageLife({ pause: () => this.#quit(), wake: () => this.wake() }, settings);
    this.#join();
  }

  /** Whether this tab has the connection. */
  get isLeader() {
    return this.#ways !== null;
  }

  get transport() {
    return this.#ways?.transport ?? this.#transport;
  }

  get socketState() {
    return this.#ways?.socketState ?? null;
  }

  /** @param {Track} track */
  begin(track) {
    track.isShared = true;
    const id = (this.#number += 1);
    this.#tracks.set(id, track);
    this.#ids.set(track, id);
    this.#follow(id, track);
  }

  /** @param {Track} track */
  leave(track) {
    const id = this.#ids.get(track);
    if (id === undefined) return;
    this.#ids.delete(track);
    this.#tracks.delete(id);
    this.#toLeader({ type: "unfollow", tab: this.#id, id });
  }

  /**
   * Says it over the leader's connection.
   *
   * @param {any} data
   * @returns {boolean} whether there is one, as far as this tab knows
   */
  tell(data) {
    if (this.#ways) return this.#ways.tell(data);
    this.#toLeader({ type: "tell", data });
    return this.#transport === "websocket";
  }

  wake() {
    this.#join();
    this.#toLeader({ type: "wake" });
  }

  first() {
    this.#toLeader({ type: "first" });
  }

  close() {
    this.#settings.clock.clearTimeout(this.#due);
    this.#life.end();
    this.#quit();
  }

  // --- among the tabs -------------------------------------------------------------------------------------

  #join() {
    if (this.#channel) return;
    const { BroadcastChannel, locks } = this.#settings;
    const channel = (this.#channel = new BroadcastChannel(`triolet ${this.#name}`));
    channel.onmessage = ({ data }) => this.#hear(data);
    const gone = new AbortController();
    /** @type {Promise<void>} */
    const left = new Promise((resolve) => {
      this.#leave = () => {
        resolve();
        gone.abort();
      };
    });
    /** @param {string} name @param {() => unknown} call */
    const hold = (name, call) => locks.request(name, { signal: gone.signal }, call).catch(() => null);
    // Nobody hears of this tab before it holds its lock: a lock that is free says that a tab is gone.
    void hold(this.#lockOf(this.#id), () => {
      if (this.#channel !== channel) return undefined;
      this.#isHere = true;
      for (const [id, track] of this.#tracks) this.#follow(id, track);
      return left;
    });
    const lead = () => {
      if (this.#channel !== channel || this.#ways) return undefined;
      this.#lead();
      return left;
    };
    /** Others have taken the lock, since they heard nothing of this tab for long. */
    const robbed = () => {
      if (this.#channel !== channel || !this.#ways) return;
      this.#quit();
      this.#join();
    };
    this.#claim = (options) => void locks.request(`triolet leader ${this.#name}`, options, lead).catch(robbed);
    this.#claim({ signal: gone.signal });
    this.#heardAt = this.#settings.clock.now();
    this.#look();
  }

  /** Looks after the leader: one that hangs keeps its lock. @param {boolean} [wasAsked] */
  #look(wasAsked = false) {
    const { clock, silence, random } = this.#settings;
    const left = this.isLeader ? silence : this.#heardAt + silence - clock.now();
    const asks = left <= 1 && !wasAsked;
    if (asks) this.#post({ to: "leader", type: "ask" });
    else if (left <= 1) this.#claim?.({ steal: true });
    // Not all at one moment: who comes first has the others hear of it.
    const ms = asks ? MARGIN * (1 + random()) : left <= 1 ? silence : left;
    this.#looking = clock.setTimeout(() => this.#look(asks), ms);
  }

  /** What holds a lock or a channel is not kept by browsers. */
  #quit() {
    if (!this.#channel) return;
    for (const id of this.#tracks.keys()) this.#toLeader({ type: "unfollow", tab: this.#id, id });
    this.#desk?.close();
    this.#desk = this.#ways = null;
    this.#known.clear();
    this.#channel.close();
    this.#channel = null;
    this.#settings.clock.clearTimeout(this.#looking);
    this.#isHere = false;
    this.#leave?.();
    for (const track of this.#tracks.values()) track.become("connecting", { reason: "paused" });
  }

  #lead() {
    this.#ways = this.#open({
      ...this.#hooks,
      changed: (why, of) => this.#changed(why, of),
      tell: (name, said) => this.#toAll(name, said),
    });
    this.#desk = new Desk(this.#ways, this.#settings.clock, (members, message) => this.#forward(members, message));
    this.#begun();
    this.#post({ to: "all", type: "leader", transport: this.#ways.transport });
    this.#hooks.changed({});
  }

  /** @param {Why} why @param {State} [of] */
  #changed(why, of) {
    if (!this.#ways) return;
    const { transport } = this.#ways;
    if (transport !== this.#transport) this.#post({ to: "all", type: "transport", transport });
    this.#transport = transport;
    const said = named(why);
    if (of === "gone") this.#post({ to: "all", type: "gone", why: said });
    this.#hooks.changed(this.#why(said), of);
  }

  /** @param {string} tab */
  #lockOf(tab) {
    return `triolet tab ${tab}`;
  }

  /** @param {Record<string, any>} message */
  #post(message) {
    this.#channel?.postMessage(message);
  }

  /** @param {Message} message */
  #toLeader(message) {
    if (this.#desk) this.#serve(message);
    else this.#post({ ...message, to: "leader" });
  }

  /** @param {string} name @param {any} said */
  #toAll(name, said) {
    this.#hooks.tell(name, said);
    if (name === "beat") return; // that each follow hears of by itself
    this.#post({ to: "all", type: "said", name, said: name === "fault" ? plain(said) : said });
  }

  /** @param {Member[]} members @param {Message} message */
  #forward(members, message) {
    this.#post({ to: members, type: "take", message });
    for (const { tab, id } of members) {
      if (tab === this.#id) this.#take(id, message);
    }
  }

  /** @param {number} id @param {Track} track */
  #follow(id, { url, cursor }) {
    if (this.#isHere) this.#toLeader({ type: "follow", tab: this.#id, id, url, after: cursor });
  }

  /** A new leader: it is told what this tab follows. Until it has that, nothing is up to date. */
  #begun() {
    for (const [id, track] of [...this.#tracks]) {
      track.become("connecting", { retry: 0, reason: "leader" });
      if (this.#tracks.get(id) === track) this.#follow(id, track);
    }
  }

  /** A tab that is closed says nothing; but its lock is free then. @param {string} tab */
  #watch(tab) {
    if (this.#known.has(tab)) return;
    this.#known.add(tab);
    const desk = this.#desk;
    const gone = () => {
      this.#known.delete(tab);
      if (this.#desk === desk) desk?.forget(tab);
    };
    this.#settings.locks.request(this.#lockOf(tab), gone).catch(() => null);
  }

  // --- what is heard --------------------------------------------------------------------------------------

  /** @param {any} data @returns {unknown} */
  #hear(data) {
    if (data.to === "leader") return this.#desk && this.#serve(data);
    this.#heardAt = this.#settings.clock.now();
    switch (data.type) {
      case "take":
        for (const { tab, id } of data.to) if (tab === this.#id) this.#take(id, data.message);
        return undefined;
      case "leader":
        this.#begun();
      // falls through
      case "transport":
        this.#transport = data.transport;
        return this.#hooks.changed({});
      case "gone": // the socket; what a tab follows there says so too
        return this.#hooks.changed(this.#why(data.why), "gone");
      case "said":
        return this.#hooks.tell(data.name, data.name === "fault" ? revived(data.said) : data.said);
    }
  }

  /** As the leader. @param {any} data @returns {unknown} */
  #serve(data) {
    const desk = /** @type {Desk} */ (this.#desk);
    const ways = /** @type {Ways} */ (this.#ways);
    if (data.tab && data.tab !== this.#id) this.#watch(data.tab);
    switch (data.type) {
      case "follow":
        desk.follow(data);
        if (data.tab !== this.#id) this.#post({ to: "all", type: "transport", transport: ways.transport });
        return undefined;
      case "unfollow":
        return desk.unfollow(data);
      case "ask":
        return this.#post({ to: "all", type: "transport", transport: ways.transport });
      case "tell":
        return ways.tell(data.data);
      case "wake":
        return ways.wake();
      case "first":
        return ways.first();
    }
  }

  /** @param {number} id @param {Message} message */
  #take(id, message) {
    const track = this.#tracks.get(id);
    if (!track || track.state === "gone") return;
    if (message.type === "open") this.#deaf.delete(track);
    if (this.#deaf.has(track) && message.type !== "state") return; // on its way when this one left
    if (message.type === "state") return this.#become(track, message);
    const { type, ...said } = message;
    if (type === "fault") return track.tell("fault", said);
    if (type === "gap" && isPast(said.to, track.cursor)) return; // others stood further back
    try {
      track.take(message);
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
      if (error.retry === null) return this.#become(track, { type, state: "gone", why: { error, reason: error.reason } });
      this.#deaf.add(track);
      track.become("connecting", { retry: 0, reason: error.reason });
      if (this.#tracks.get(id) === track) this.#follow(id, track); // else the page has left it
      return;
    }
    const room = track.room();
    if (room !== null) this.#wait(id, track, room);
  }

  /**
   * One reason of several follows is one thing here too.
   *
   * @param {any} said
   * @returns {Why}
   */
  #why({ name, ...why }) {
    if (name === undefined || name !== this.#told.name) this.#told = { name, why: revived(why) };
    return this.#told.why;
  }

  /**
   * A leader that has long been hidden tries less often. But somebody may look at this tab.
   *
   * @param {Track} track
   * @param {Message} said
   */
  #become(track, { state, why }) {
    track.become(state, this.#why(why));
    if (state === "gone") this.leave(track); // no leader after this one is asked for it
    const page = this.#settings.page ?? globalThis.document;
    if (!this.#channel || !(why.retry > 0) || page?.visibilityState === "hidden") return;
    this.#settings.clock.clearTimeout(this.#due);
    this.#due = this.#settings.clock.setTimeout(() => this.#toLeader({ type: "wake" }), why.retry);
  }

  /**
   * The page is full: it leaves, and comes back from its cursor when there is room.
   *
   * @param {number} id
   * @param {Track} track
   * @param {Promise<void>} room
   */
  #wait(id, track, room) {
    this.#deaf.add(track);
    this.#toLeader({ type: "unfollow", tab: this.#id, id });
    track.become("behind");
    room.then(() => this.#tracks.get(id) === track && this.#follow(id, track));
  }
}

/**
 * Whether one cursor is known to stand where another does, or before it.
 *
 * @param {string} cursor
 * @param {string | null} other
 */
function isPast(cursor, other) {
  return other !== null && (cursor === other || isBefore(cursor, other));
}

/** What `plain` has made plain. @param {any} said */
function revived({ error, ...why }) {
  return error ? { ...why, error: new Ended(error.message, error) } : why;
}
