/** A page's client of one server: what `connect` returns. */

import { winners } from "./choice.js";
import { Commands } from "./commands.js";
import { Follow } from "./follow.js";
import { Handlers, optional } from "./handlers.js";
import { Ended, onAbort, within } from "./line.js";
import { PageLife } from "./page.js";
import { Presence } from "./presence.js";
import { address, locate } from "./requests.js";
import { LONGEST, saidOf, settingsOf } from "./settings.js";
import { Keeper, openStore } from "./store.js";
import { Track } from "./track.js";
import { TRANSPORTS } from "./transports.js";
import { Ways } from "./ways.js";

/**
 * @import { ClientHandlers, ClientState, ConnectOptions, FollowOptions, PresenceOptions, Reply } from "./api.js"
 * @import { SendOptions, State, Transport, Why } from "./api.js"
 * @import { Unanswered } from "./commands.js"
 * @import { FollowOwner } from "./follow.js"
 * @import { Settings } from "./settings.js"
 * @import { Tabs } from "./tabs.js"
 * @import { TrackOptions } from "./track.js"
 * @import { WaysHooks } from "./ways.js"
 */

/**
 * From the worst to the best.
 *
 * @type {State[]}
 */
const STATES = ["connecting", "behind", "live"];

/** A page's client of one server: what `connect` returns. */
export class Client {
  #base;
  #settings;
  #store;
  #handlers = new Handlers();
  /** @type {Set<Follow<any>>} */
  #follows = new Set();
  #commands;
  /** @type {Ways | Tabs | null} */
  #ways = null;
  /** @type {Set<Track>} what is followed before it is known how */
  #early = new Set();
  #life;
  /** @type {{state: ClientState, transport: Transport | null}} */
  #said = { state: "idle", transport: null };
  #isClosed = false;
  #off;
  /** @type {Why} why its state is what it is: while it connects, why the last try has failed */
  why = {};

  /** @param {string | URL} [base] @param {ConnectOptions} [options] @internal */
  constructor(base, options = {}) {
    const { navigator, BroadcastChannel } = globalThis;
    const more = { transports: TRANSPORTS, timeout: 300_000, base: options.home };
    const settings = settingsOf(options, { ...more, locks: navigator?.locks, BroadcastChannel });
    const isKnown = settings.transports.length > 0 && settings.transports.every((one) => TRANSPORTS.includes(one));
    if (!isKnown) throw new TypeError(`transports: some of ${TRANSPORTS}`);
    this.#base = locate(base).href;
    if (settings.socket != null) settings.socket = locate(settings.socket, this.#base).href;
    this.#store = openStore(settings.store);
    this.#settings = settings;
    this.#commands = new Commands(this.#base, (unanswered) => this.#handlers.tell("unanswered", unanswered));
    this.#life = new PageLife({ wake: () => this.#commands.wake() }, settings);
    this.#begin();
    this.#look();
    this.#off = onAbort(settings.signal, () => this.close());
  }

  #begin() {
    const { share, locks, BroadcastChannel } = this.#settings;
    const { origin } = locate(this.#base);
    const known = this.#settings.winners ?? winners;
    const keeper = new Keeper(this.#store, `triolet:transport:${origin}`, this.#settings, this.#handlers);
    const remember = (/** @type {Transport} */ transport) => void keeper.keep(transport);
    const settings = { ...this.#settings, remember };
    /** @param {WaysHooks} hooks */
    const open = (hooks) => new Ways(this.#base, settings, this.#commands, { ...hooks, choose: () => chosen(hooks) });
    /** @type {WaysHooks} */
    const hooks = {
      changed: (why, of) => this.#look(why, of),
      tell: (name, said) => this.#handlers.tell(name, said),
    };
    /** @param {any} winner */
    const go = (winner) => {
      if (this.#isClosed) return;
      if (winner && !known.has(origin)) known.set(origin, winner); // what a page before this one has found out
      if (!share || !locks?.request || !BroadcastChannel) this.#go(open(hooks));
      else void this.#share(`${this.#base} ${share === true ? "" : share}`, settings, open, hooks);
    };
    keeper.read(go);
  }

  /**
   * What only some pages need is loaded by them alone.
   *
   * @param {string} name
   * @param {any} settings
   * @param {(hooks: WaysHooks) => Ways} open
   * @param {WaysHooks} hooks
   */
  async #share(name, settings, open, hooks) {
    try {
      const { openTabs } = await import("./tabs.js");
      this.#go(await openTabs(name, settings, open, hooks));
    } catch (error) {
      this.#handlers.tell("fault", { kind: "share", error });
      this.#go(open(hooks));
    }
  }

  /** @param {Ways | Tabs} ways */
  #go(ways) {
    if (this.#isClosed) return ways.close();
    this.#ways = ways;
    for (const track of this.#early) ways.begin(track);
    this.#early.clear();
    this.#look();
  }

  // --- what it is -----------------------------------------------------------------------------------------

  /** @type {ClientState} of all that it follows */
  get state() {
    if (this.#isClosed) return "gone";
    const states = [this.#ways?.socketState, ...[...this.#follows].map(({ state }) => state)];
    return STATES.find((state) => states.includes(state)) ?? "idle";
  }

  /** @type {Transport | null} the one in use, or tried now; null in a tab that has not heard of it */
  get transport() {
    return this.#ways?.transport ?? null;
  }

  /** @type {boolean} whether the connection is this tab's; always so where tabs do not share */
  get isLeader() {
    return /** @type {Tabs | null} */ (this.#ways)?.isLeader ?? true;
  }

  /** @type {number} commands that wait for their answer */
  get unanswered() {
    return this.#commands.unanswered;
  }

  /**
   * A state that stays is told again with the error of a follow, or a socket, that is as all is. Why one is over is no
   * reason of those that are not.
   *
   * @param {Why} [why]
   * @param {State} [of]
   */
  #look(why = {}, of = "connecting") {
    const { state, transport } = this;
    const before = this.#said;
    if (of === "gone" && !/idle|gone/.test(state)) why = {};
    const isNews = state !== before.state || ((of === "gone" || of === state) && why.error && why !== this.why);
    if (isNews) this.why = why;
    this.#said = { state, transport };
    if (transport !== before.transport && transport !== null) this.#handlers.tell("transport", transport);
    if (isNews) this.#handlers.tell("state", state, why);
  }

  // --- what the page does ---------------------------------------------------------------------------------

  /**
   * Calls on what happens to the client: see `ClientHandlers`.
   *
   * @template {keyof ClientHandlers} Name
   * @param {Name} name
   * @param {ClientHandlers[Name]} call
   * @returns {() => void} takes it off again
   */
  on(name, call) {
    return this.#handlers.on(name, call);
  }

  /**
   * Follows a channel by its URL, as often as one likes. `Events` says what its events are.
   *
   * @template {Record<string, any>} [Events=Record<string, any>]
   * @param {string | URL} url
   * @param {FollowOptions} [options]
   * @returns {Follow<Events>}
   */
  follow(url, options = {}) {
    this.#check();
    const said = saidOf(options);
    const store = said.store === undefined ? this.#store : openStore(said.store);
    const { buffer, commit, clock } = this.#settings;
    const settings = { buffer, commit, ...said, clock, store };
    const asked = { snapshot: said.snapshot ? 1 : null, fold: said.fold ? 1 : null };
    if (!(settings.buffer >= 1)) throw new TypeError("buffer: 1 or more");
    if (!/^(before|after)$/.test(settings.commit)) throw new TypeError('commit: "before" or "after"');
    /** @type {FollowOwner} */
    const owner = {
      begin: (track) => (this.#ways ? this.#ways.begin(track) : this.#early.add(track)),
      leave: (track) => (this.#ways ? this.#ways.leave(track) : this.#early.delete(track)),
      changed: (one, why) => this.#changed(one, why),
    };
    /** @type {Follow<Events>} */
    const follow = new Follow(address(locate(url, this.#base), asked).href, settings, owner);
    if (follow.state !== "gone") this.#follows.add(follow);
    this.#look();
    return follow;
  }

  /** @param {Follow<any>} follow @param {Why} why */
  #changed(follow, why) {
    if (follow.state === "gone") this.#follows.delete(follow);
    this.#look(why, follow.state);
  }

  #check() {
    if (this.#isClosed) throw new Ended("closed", { retry: null });
  }

  /**
   * Asks for something that is to happen once: a command, sent again under its id until it is answered. While there is no
   * network it is kept: 16 are asked at once, 1,000 more wait, and of others the page is told at once.
   *
   * @template [Data=any]
   * @param {string | URL} url
   * @param {any} [data]  what JSON can say
   * @param {SendOptions} [options]
   * @returns {Promise<Reply<Data>>}
   * @throws {Unanswered} when the time is over, or the signal aborted
   */
  send(url, data, options = {}) {
    const settings = { ...this.#settings, signal: undefined, ...saidOf(options) };
    return optional(this.#commands.send(url, data, settings));
  }

  /**
   * Sends a message to the app's handler, on its socket.
   *
   * @param {any} data  what JSON can say
   * @returns {boolean} false: there is none, it was not sent
   */
  tell(data) {
    return !this.#isClosed && (this.#ways?.tell(data) ?? false);
  }

  /**
   * Who is there, by the channel that tells joins and leaves.
   *
   * @template [Info=any]
   * @param {string | URL} url
   * @param {PresenceOptions<Info>} [options]
   * @returns {Presence<Info>}
   */
  presence(url, options = {}) {
    this.#check();
    return new Presence((more) => this.follow(url, { ...more, store: null, key: undefined }), options);
  }

  /**
   * Once all that is followed is live.
   *
   * @param {{timeout?: number, signal?: AbortSignal}} [options]
   * @returns {Promise<void>}
   * @throws {Ended} when the client is closed, or the time is over; or the signal's reason
   */
  ready({ timeout = LONGEST, signal } = {}) {
    const late = () => new Ended(`not live within ${timeout} ms`, { reason: "timeout" });
    return optional(within(timeout, late, this.#settings, signal, (inner) => this.#settled(inner)));
  }

  /** @param {AbortSignal} signal @returns {Promise<void>} */
  #settled(signal) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const { state } = this;
        if (state === "connecting" || state === "behind") return;
        off();
        if (state === "gone") reject(new Ended("closed", { retry: null }));
        else resolve();
      };
      const off = this.on("state", look);
      onAbort(signal, off);
      look();
    });
  }

  /**
   * Looks now whether what is connected still carries, tries what waits, and what stands first in `transports`.
   *
   * @param {{timeout?: number}} [options]
   * @returns {Promise<boolean>} whether all is live, within `timeout` ms
   */
  async probe({ timeout = 10_000 } = {}) {
    if (this.#isClosed) return false;
    this.#commands.wake();
    this.#ways?.wake();
    this.#ways?.first();
    return this.ready({ timeout }).then(
      () => true,
      () => false,
    );
  }

  /** Ends all that is followed. What was sent and is not answered goes on. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const follow of [...this.#follows]) follow.close();
    this.#ways?.close();
    this.#life.end();
    this.#off?.();
    this.#look({ reason: "closed" });
  }
}

/** A channel that the app on the server follows for this client. @param {WaysHooks} hooks */
function chosen(hooks) {
  /** @type {TrackOptions["hear"]} */
  const hear = (name, said) => /event|end|gap|tell|fault/.test(name) && hooks.tell(name, said);
  return new Track(null, { hear }, null);
}

/**
 * Connects to a server: what the page follows comes over whichever transport its network lets through.
 *
 * @param {string | URL} [base]  from where the URLs of channels and commands are seen; default: the page's own
 * @param {ConnectOptions} [options]
 * @returns {Client}
 * @throws {TypeError} where an option is none
 */
export function connect(base, options) {
  return new Client(base, options);
}
