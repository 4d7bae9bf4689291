/**
 * Many subscriptions on one WebSocket: the other end of `@live.socket`. Each has an identity of its own, `sub`, so two
 * of one channel get everything from where each stands, and each leaves for itself.
 *
 * What the server sends stands either in a bracket, `for`, which names the subscriptions it is for, or it is for those
 * that are live on the channel: the last `live` of it has named them.
 *
 * A server that does not know subscriptions (its `open` names none) has one follow a channel. Then those of one channel
 * share it, from the cursor of whoever stands first: see Sharing, which is loaded for such a server alone.
 */

import { Ended, Line, asEnded, backoff } from "./line.js";
import { askWhy, locate } from "./requests.js";
import { ofIdentity } from "./track.js";
import { converse } from "./transports.js";

/**
 * @import { State, Why } from "./api.js"
 * @import { Commands } from "./commands.js"
 * @import { Place } from "./requests.js"
 * @import { Settings } from "./settings.js"
 * @import { Sharing } from "./sharing.js"
 * @import { Message, Track } from "./track.js"
 *
 * @typedef {Object} MultiplexHooks
 * @property {(state: State, why: Why) => void} become  of the WebSocket: "connecting", "live" or "gone"
 * @property {(name: string, said: any) => void} tell  of a "message" of the app's, "expiring", "renewed" and "beat"
 * @property {() => Track} [choose]  gives a Track for a channel that the app follows for this client
 * @property {() => void} [hello]  its first message
 * @property {(track: Track) => true} [full]  takes over what is more than the server follows on one connection
 * @property {(why: Ended, wasHeardOf: boolean) => void} [lost]  hears of each end; where nobody does, the URL is asked why
 *     it is refused
 */

/** One subscription, and what the server knows of it on this connection. */
export class Entry {
  /**
   * The name that the server has been told; null: it was not asked, or the app on the server chose the channel.
   *
   * @type {string | null}
   */
  sub = null;
  isOpen = false;
  /** It waits for room in the page. */
  waits = false;
  /** Nothing of what comes now is for it: its place is asked for anew. */
  isDeaf = false;

  /** @param {Track} track @param {string | null} path */
  constructor(track, path) {
    this.track = track;
    this.path = path;
  }

  /** @type {any} until it is asked for again */
  timer;

  /** Whether its messages come without a name: of a server that knows none, or of a channel that the app chose. */
  isPlain = false;

  lose() {
    this.sub = null;
    this.isOpen = this.isPlain = this.isDeaf = false;
  }
}

export class Multiplex {
  #url;
  #settings;
  #commands;
  #hooks;
  #line;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<Track, Entry>} */
  #entries = new Map();
  /** @type {Map<string | null, (string | null)[]>} */
  #live = new Map();
  /** @type {{subs: (string | null)[], left: number}} */
  #bracket = { subs: [], left: 0 };
  #number = 0;
  /** @type {Sharing | null} where the server is known to know no subscriptions */
  #sharing = null;
  /** @type {Message[] | null} what waits until Sharing is loaded */
  #held = null;
  /** Whether an answer has named a subscription: the server tells them apart, so many of one URL may be asked for at once. */
  #knowsSubs = false;

  /**
   * @param {Place} url
   * @param {Settings} settings
   * @param {Commands} commands
   * @param {MultiplexHooks} hooks
   */
  constructor(url, settings, commands, hooks) {
    this.#url = url;
    /** @type {Settings} */
    this.#settings = { ...settings, transport: "websocket" };
    this.#commands = commands;
    this.#hooks = hooks;
    this.#line = new Line(
      (signal) => this.#connect(signal),
      (why) => this.#ended(why),
      (state, why) => this.#become(state, why),
      this.#settings,
    );
  }

  get isOpen() {
    return this.#socket !== null;
  }

  get isClosed() {
    return this.#line.closed;
  }

  /** How a URL is asked for here; null where that is another server's. @param {Place} url */
  pathOf(url) {
    const target = locate(url, this.#url);
    return target.origin === locate(this.#url).origin ? target.pathname + target.search : null;
  }

  /** @param {Track} track */
  add(track) {
    const entry = new Entry(track, track.url === null ? null : this.pathOf(track.url));
    this.#entries.set(track, entry);
    this.#ask(entry);
    return entry;
  }

  /** Follows it no longer: the server is told at once, also where it has not answered yet. @param {Track} track */
  remove(track) {
    const entry = this.#entries.get(track);
    if (!entry) return;
    this.#entries.delete(track);
    this.#settings.clock.clearTimeout(entry.timer);
    this.#leave(entry);
    this.#askRest(); // perhaps others wait for an answer that it does not get any more
  }

  get #all() {
    return [...this.#entries.values()];
  }

  /** The tracks of all URLs that are followed here. */
  get tracks() {
    return [...this.#entries.keys()].filter(({ url }) => url);
  }

  /** @param {any} data */
  send(data) {
    return this.#say(`{"type":"message","data":${this.#settings.stringify(data) ?? null}}`);
  }

  retry() {
    this.#line.retry();
  }

  wake() {
    this.#line.wake();
  }

  /** @param {Ended} [why] */
  close(why) {
    this.#line.close(why);
  }

  // --- the connection -------------------------------------------------------------------------------------

  /** @param {AbortSignal} signal */
  #connect(signal) {
    /** @param {Message} message */
    const hear = (message) => this.#hear(message);
    return converse(this.#url, {}, this.#line, this.#settings, signal, hear, (socket) => this.#ready(socket));
  }

  /** @param {Ended} why */
  #ended(why) {
    if (this.#hooks.lost) this.#hooks.lost(why, this.#line.isHeardOf);
    else askWhy(why, this.#url, this.#settings, this.#line);
  }

  /** @param {State | undefined} state @param {Why} why */
  #become(state, why) {
    if (state) this.#lost();
    for (const { track } of this.#all) {
      track.become(state, why);
      if (state === "gone") this.remove(track);
    }
    this.#hooks.become(/** @type {State} */ (state), why);
  }

  #lost() {
    const socket = this.#socket;
    this.#socket = null;
    this.#bracket.left = 0;
    this.#live.clear();
    this.#sharing = this.#held = null;
    this.#commands.lose(socket);
    for (const entry of this.#entries.values()) entry.lose();
  }

  /** @param {WebSocket} socket */
  #ready(socket) {
    this.#socket = socket;
    this.#hooks.become("live", {});
    this.#askRest();
    this.#commands.use(socket);
  }

  /** @param {string | Message} message */
  #say(message) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
    return true;
  }

  /** Without a connection this is nothing: every subscription is asked for when there is one. @param {Entry} entry */
  #ask(entry) {
    if (!entry.path || entry.waits || this.#socket?.readyState !== 1) return;
    const beside = this.#knowsSubs ? [] : this.#asked(entry.path);
    if (beside.some(({ isOpen }) => !isOpen)) return; // it is asked for when that is open
    if (beside.length === 0) this.#follow(entry);
    else this.#sharing?.join(entry, this.#plain(beside[0].track.channel));
  }

  /** Those of a URL that the server has been asked for, or that share what it was. @param {string | null} path */
  #asked(path) {
    return this.#all.filter((one) => one.path === path && (one.sub !== null || one.isOpen));
  }

  /** @param {string | null} channel */
  #plain(channel) {
    return this.#on(channel).filter(({ path, isPlain }) => path && isPlain);
  }

  /** @param {Entry} entry */
  #follow(entry) {
    const { cursor } = entry.track;
    entry.lose();
    entry.track.isShared = false;
    entry.sub = `s${(this.#number += 1)}`;
    this.#say({ type: "follow", url: entry.path, ...(cursor !== null && { after: cursor }), sub: entry.sub });
  }

  /** @param {Entry} entry */
  #leave(entry) {
    const { sub, isPlain, track } = entry;
    const rest = this.#on(track.channel);
    entry.lose();
    if (sub === null && !isPlain) return;
    if (isPlain && rest.some((other) => other !== entry)) return;
    // The channel is what servers want to read that know no subscriptions: "" is none.
    const named = !isPlain && !this.#sharing;
    this.#say({ type: "unfollow", channel: track.channel ?? "", ...(named && { sub }) });
  }

  /** @param {string | null} channel */
  #on(channel) {
    return this.#all.filter(({ isOpen, track }) => isOpen && track.channel === channel);
  }

  // --- what comes -----------------------------------------------------------------------------------------

  /** @param {Message} message @returns {unknown} */
  #hear(message) {
    if (this.#held) return this.#held.push(message);
    if (message.type === "for") return (this.#bracket = { subs: message.subs, left: Number(message.next) });
    const subs = this.#bracket.left-- > 0 ? this.#bracket.subs : null;
    switch (message.type) {
      case "message":
        return this.#hooks.tell("message", message.data);
      case "reply":
        return this.#commands.hear(message);
      case "expiring":
      case "renewed":
        return this.#hooks.tell(message.type, ofIdentity(message));
      case "open":
        return message.channel === null ? this.#hello() : this.#opened(message);
      case "refused":
        return this.#refused(message);
      case "beat":
        return this.#beat(message);
      case "live":
        if (message.subs) this.#live.set(message.channel, message.subs);
    }
    for (const entry of this.#meant(message, subs)) this.#give(entry, message);
    if (message.type === "live") this.#askRest();
  }

  /** The first message. */
  #hello() {
    this.#hooks.hello?.();
    this.#askRest();
  }

  /** Whom a message is for. @param {Record<string, any>} message @param {(string | null)[] | null} [bracket] */
  #meant({ channel, type, subs: named, sub }, bracket) {
    const subs = bracket ?? (sub ? [sub] : type === "live" && named);
    const entries = this.#on(channel);
    if (subs) return entries.filter((entry) => subs.includes(entry.sub));
    const live = this.#live.get(channel) ?? [];
    const meant = entries.filter((entry) => live.includes(entry.sub));
    return meant.length ? meant : entries.filter((entry) => entry.isPlain);
  }

  /**
   * What a track finds wrong, or has no room for, is its own affair: the others' go on.
   *
   * @param {Entry} entry
   * @param {Message} message
   */
  #give(entry, message) {
    const { track } = entry;
    if (entry.isDeaf || this.#entries.get(track) !== entry) return;
    try {
      track.take(message);
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
      if (error.retry === null) return this.#end(entry, { error, reason: error.reason });
      if (entry.isPlain) throw error;
      return this.#wait(entry, Promise.resolve(), "connecting", { retry: 0, reason: "hole" });
    }
    const room = track.room();
    if (room && entry.path) this.#wait(entry, room);
  }

  /** It is asked for again after so many ms. @param {Entry} entry @param {string} reason @param {number} said */
  #later(entry, reason, said) {
    const retry = backoff(0, this.#settings, said);
    entry.lose();
    /** @type {Promise<void>} */
    const pause = new Promise((done) => (entry.timer = this.#settings.clock.setTimeout(done, retry)));
    this.#wait(entry, pause, "connecting", { retry, reason, error: new Ended(reason, { retry }) });
  }

  /** @param {Entry} entry @param {Why} why */
  #end({ track }, why) {
    this.#entries.delete(track);
    track.become("gone", why);
  }

  /**
   * This subscription is given up, and asked for again from its cursor: when there is room in the page, say.
   *
   * @param {Entry} entry
   * @param {Promise<void>} room
   * @param {State} [state]
   * @param {Why} [why]
   */
  #wait(entry, room, state = "behind", why) {
    if (entry.waits) return;
    this.#leave(entry);
    entry.waits = true;
    entry.track.become(state, why);
    room.then(() => {
      entry.waits = false;
      if (this.#entries.get(entry.track) === entry) this.#ask(entry);
    });
  }

  /** @param {Message} message */
  #beat(message) {
    for (const entry of this.#entries.values()) {
      const channel = /** @type {string} */ (entry.track.channel);
      const isNamed = this.#meant({ channel }).includes(entry);
      const place = message.places?.[/** @type {string} */ (entry.sub)] ?? (isNamed && message.cursors[channel]);
      this.#give(entry, { ...message, cursors: place ? { [channel]: place } : {} });
    }
    this.#hooks.tell("beat", message);
  }

  /** @param {Message} message @returns {unknown} */
  #opened(message) {
    const { url = null, sub, channel } = message;
    if (sub) {
      const entry = this.#all.find((one) => one.sub === sub);
      this.#knowsSubs = true;
      // Else it has left meanwhile.
      if (entry) {
        entry.isOpen = true;
        this.#give(entry, message);
      }
      return this.#askRest();
    }
    if (url === null) return this.#chosen(message);
    if (!this.#sharing) return this.#share(message);
    const isWanted = this.#sharing.open(this.#asked(url), this.#plain(channel), message);
    if (!isWanted) this.#say({ type: "unfollow", channel });
    this.#askRest();
  }

  /** What only some servers need is loaded for them alone. @param {Message} first */
  async #share(first) {
    const held = (this.#held = [first]);
    try {
      const { Sharing } = await import("./sharing.js");
      if (this.#held !== held) return; // of a connection before this one
      this.#held = null;
      this.#sharing = new Sharing(
        (entry) => this.#follow(entry),
        (entry, message) => this.#give(entry, message),
      );
      for (const message of held) this.#hear(message);
    } catch (error) {
      this.#line.again(asEnded(error));
    }
  }

  /** Those that waited for the answer to another one of their URL. */
  #askRest() {
    for (const entry of this.#entries.values()) {
      if (entry.sub === null && !entry.isOpen) this.#ask(entry);
    }
  }

  /** @param {Message} message */
  #chosen(message) {
    const { channel } = message;
    let entry = this.#all.find(({ path, track }) => path === null && track.channel === channel);
    if (!entry) {
      const track = this.#hooks.choose?.();
      if (!track) return;
      entry = this.add(track);
    }
    entry.isOpen = entry.isPlain = true;
    this.#give(entry, message);
  }

  /**
   * Where it may go better in a while, that is waited for; what is more than one connection carries goes elsewhere. Else,
   * where a channel is named, it had been open, and was taken away; or the app has refused to open it.
   *
   * @param {Message} message
   */
  #refused({ url, channel, sub, reason, retry }) {
    this.#knowsSubs ||= sub !== undefined;
    for (const entry of this.#all) {
      const { path, isOpen, track } = entry;
      const isMeant = sub ? entry.sub === sub : channel ? track.channel === channel : path === url && !isOpen;
      if (!isMeant) continue;
      if (retry != null) this.#later(entry, reason, Number(retry));
      else if (reason !== "follows" || !this.#hooks.full?.(track)) this.#end(entry, gone(channel ? "revoked" : "refused"));
    }
    this.#askRest();
  }
}

/** @param {string} reason */
export function gone(reason) {
  return { error: new Ended(reason, { code: 4403, retry: null }), reason };
}
