/**
 * Event streams and polls that several follows share, where there is no WebSocket: `?follow=` on a `live.socket`. Loaded by
 * the pages that need it alone.
 *
 * Such a request says once what it follows: so where a follow comes or goes another takes its place, from where each of
 * them stands, and who was live stays so meanwhile. Each has its own cursor, in its own URL. One that is refused beside
 * others asks by itself: its own answer says why, and whether to come back, and the others do not notice.
 */

import { Ended, backoff } from "./line.js";
import { gone } from "./multiplex.js";
import { address, locate } from "./requests.js";

/**
 * @import { State, Why } from "./api.js"
 * @import { Line } from "./line.js"
 * @import { Settings } from "./settings.js"
 * @import { Streams } from "./streams.js"
 * @import { Message, Track } from "./track.js"
 * @import { Asker, Unfold } from "./transports.js"
 */

/** After what is followed has changed, until it is asked for anew, in ms. */
const GATHER = 50;

/** How long one URL may be, and those of a request together, with room for their cursors. */
const LONGEST = 2_048;
const LONGEST_TOGETHER = 6_000;
const PLACE = 61;

/** What a socket's URL is answered with where it speaks WebSocket alone: an older server, or a handler of the app's. */
const OLD = new Set([405, 426, 501]);
const TOO_MUCH = new Set([414, 431]);

/** How a URL is named in a request. @param {string | null} url @param {string | null} [after] */
function pathOf(url, after) {
  const { pathname, search } = address(url, { after });
  return pathname + search;
}

/** @param {string} path */
function lengthOf(path) {
  return `&follow=${encodeURIComponent(path)}`.length + PLACE;
}

/** All streams and polls that a client's follows share: mostly it is one. */
export class Bundles {
  #target;
  #isOld = false;
  /** @type {Set<Bundle>} */
  #all = new Set();
  /** URLs of one request, where the server has said that they were too many. */
  most = Infinity;

  /** @param {Streams} streams @param {string} target  the URL of the socket @param {Settings} settings */
  constructor(streams, target, settings) {
    this.streams = streams;
    this.#target = target;
    this.settings = settings;
  }

  /** @param {Track} track */
  add(track) {
    const path = pathOf(track.url);
    const isOurs = locate(track.url).origin === locate(this.#target).origin;
    if (this.#isOld || !isOurs || lengthOf(path) > LONGEST) return this.streams.open(track);
    let bundle = [...this.#all].find((one) => one.hasRoom(path));
    if (!bundle) {
      bundle = new Bundle(this.#target, this);
      this.#all.add(bundle);
      this.streams.open(bundle);
    }
    bundle.add(path, track);
  }

  /** Its connection is over. @param {Bundle} bundle */
  delete(bundle) {
    bundle.rest();
    this.#all.delete(bundle);
    this.streams.remove(bundle);
  }

  /**
   * An answer said that there is to be no stream of some tracks. It may be to one of their URLs alone, or to their number.
   *
   * @param {Track[]} tracks
   * @param {Ended & {error?: string}} why
   */
  refused(tracks, { status = 0, reason, error }) {
    const isTooMuch = tracks.length > 1 && (TOO_MUCH.has(status) || error === "follows");
    if (isTooMuch) this.most = Math.floor(tracks.length / 2);
    this.#isOld ||= OLD.has(status);
    for (const track of tracks) {
      if (isTooMuch) this.add(track);
      else this.streams.open(track);
      track.become("connecting", { retry: 0, reason });
    }
  }
}

/** One stream or poll, for several tracks, each URL once: to its connection it is a track. */
export class Bundle {
  #bundles;
  /**
   * By URL. Whose events came last is the last: where a page has not room for all, it is the others' turn.
   *
   * @type {Map<string, Track>}
   */
  #tracks = new Map();
  /** @type {Map<string, Track> | null} what the present request follows, once there is one: by URL, as it was asked */
  #asked = null;
  /** @type {Map<string, Track>} and by channel, as it is told */
  #on = new Map();
  /** @type {any} */
  #timer = null;
  #isAnew = false;

  /** @param {string} url @param {Bundles} bundles */
  constructor(url, bundles) {
    this.url = url;
    this.#bundles = bundles;
  }

  get tracks() {
    return [...this.#tracks.values()];
  }

  /** Whether all of it is up to date, so that the answer to a poll may be held. @type {State} */
  get state() {
    return this.tracks.every(({ state }) => state === "live") ? "live" : "behind";
  }

  /** Who has no room has left. */
  room() {
    return null;
  }

  /** @param {string} path */
  hasRoom(path) {
    const paths = [path, ...this.#tracks.keys()];
    const length = paths.reduce((sum, one) => sum + lengthOf(one), 0);
    return !this.#tracks.has(path) && paths.length <= this.#bundles.most && length <= LONGEST_TOGETHER;
  }

  /** @param {string} path @param {Track} track */
  add(path, track) {
    this.#tracks.set(path, track);
    this.#look();
  }

  /** It is followed no longer. @param {Asker} track */
  drop(track) {
    if (this.#remove(track) && this.#tracks.size > 0) this.#look();
  }

  /** @param {Asker} track */
  #remove(track) {
    const path = [...this.#tracks.keys()].find((one) => this.#tracks.get(one) === track);
    if (path === undefined) return false;
    this.#tracks.delete(path);
    if (this.#tracks.size === 0) this.#bundles.delete(this);
    return true;
  }

  /** The server follows it no longer, so nothing has to be asked for anew. @param {Track} track */
  #forget(track) {
    for (const [url, one] of this.#asked ?? []) if (one === track) this.#asked?.delete(url);
    return this.#remove(track);
  }

  /** What is asked for is no longer what is wanted, maybe: after a moment, in which more may come. */
  #look() {
    const { settings, streams } = this.#bundles;
    this.#timer ??= settings.clock.setTimeout(() => {
      this.#timer = null;
      const asked = [...(this.#asked?.values() ?? this.tracks)];
      this.#isAnew = asked.length !== this.#tracks.size || !this.tracks.every((track) => asked.includes(track));
      if (this.#isAnew) streams.again(this);
    }, GATHER);
  }

  /** What is asked for is all that will be. */
  rest() {
    this.#bundles.settings.clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  // --- to its connection ----------------------------------------------------------------------------------

  /** Where to ask for all of it. @param {Record<string, any>} query */
  place(query) {
    this.#asked = new Map();
    this.#on.clear();
    const place = address(this.url, query);
    for (const track of this.tracks) {
      const url = pathOf(track.url, track.cursor);
      if (this.#asked.has(url)) this.#part(track); // two that have come to the same
      else this.#asked.set(url, track);
    }
    for (const url of this.#asked.keys()) place.searchParams.append("follow", url);
    return place;
  }

  /** @param {string} name @param {...any} said */
  tell(name, ...said) {
    this.tracks[0]?.tell(name, ...said);
  }

  /** @param {State | undefined} state @param {Why} why */
  become(state, why = {}) {
    if (state === "gone") return this.#gone(why);
    const isAnew = state && this.#isAnew;
    if (state) this.#isAnew = false;
    if (isAnew) return;
    if (state) this.#asked = null;
    for (const track of this.tracks) track.become(state, why);
  }

  /**
   * There is to be no other connection; not for those that came meanwhile: a stream may well end because all that it
   * followed has ended.
   *
   * @param {Why} why
   */
  #gone(why) {
    const tracks = [...(this.#asked?.values() ?? this.tracks)].filter((track) => this.tracks.includes(track));
    const others = this.tracks.filter((track) => !tracks.includes(track));
    const { error } = why;
    this.#tracks.clear();
    this.#bundles.delete(this);
    if (error instanceof Ended && error.status) this.#bundles.refused(tracks, error);
    else for (const track of tracks) track.become("gone", why);
    for (const track of others) this.#bundles.add(track);
  }

  /** A message of a stream's, whose blocks have whole messages as their data. @param {Message} message */
  take(message) {
    const said = message.type === "event" ? message.data : message;
    const { type, channel, url } = said;
    if (type === "refused") return this.#refused(said);
    const opened = type === "open" && this.#asked?.get(url);
    if (opened) this.#on.set(channel, opened);
    const meant = channel === undefined ? this.tracks : [this.#on.get(channel)];
    for (const track of meant) this.#give(track, (one) => one.take(said));
  }

  /**
   * The answer to a poll, as one to each of its URLs.
   *
   * @param {Line} line
   * @param {Record<string, any>} body
   * @param {Unfold} unfold
   */
  page(line, { follows, refused, events, gaps, snapshots = [], ends = [], told = [], live }, unfold) {
    for (const message of refused) this.#refused(message);
    for (const { url, channel, cursor, filtered } of follows) {
      /** @param {Message[]} list */
      const its = (list) => list.filter((one) => one.channel === channel);
      const [[snapshot], [gap], [end]] = [its(snapshots), its(gaps), its(ends)];
      const body = { channel, cursor, filtered, live, events: its(events), told: its(told), snapshot, gap, end };
      const track = this.#asked?.get(url);
      this.#give(track, (one) => unfold(one, line, body));
      const path = pathOf(track?.url ?? url);
      if (body.events.length && track && this.#tracks.delete(path)) this.#tracks.set(path, track);
    }
  }

  /**
   * What a track finds wrong, or has no room for, is its own affair: the others' go on.
   *
   * @param {Track | undefined} track
   * @param {(track: Track) => void} call
   */
  #give(track, call) {
    if (!track || !this.tracks.includes(track)) return;
    try {
      call(track);
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
      const { retry, reason } = error;
      this.#forget(track);
      if (retry === null) return track.become("gone", { error, reason });
      this.#bundles.add(track);
      return track.become("connecting", { retry: 0, reason: "hole" });
    }
    if (track.room() !== null) this.#part(track);
  }

  /** It goes on with a connection of its own. @param {Track} track */
  #part(track) {
    this.drop(track);
    this.#bundles.streams.open(track);
    track.become("behind");
  }

  /**
   * Where it may go better in a while, it is asked for again by then. Else, where a channel is named, it had been open, and
   * was taken away; or its own answer says why.
   *
   * @param {Record<string, any>} message
   */
  #refused({ url, channel, reason, retry }) {
    const track = this.#on.get(channel) ?? this.#asked?.get(url);
    if (!track || !this.#forget(track)) return;
    const { streams } = this.#bundles;
    if (retry != null) {
      const ms = backoff(0, this.#bundles.settings, Number(retry));
      streams.later(track, ms);
      track.become("connecting", { retry: ms, reason, error: new Ended(reason, { retry: ms }) });
    } else if (channel) track.become("gone", gone("revoked"));
    else streams.open(track);
  }
}
