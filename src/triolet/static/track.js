/** A position in a channel, and the check that nothing is missing. Knows nothing of the network. */

import { Ended, tell } from "./line.js";

/**
 * @import { Options, Reply, State, Why } from "./api.js"
 *
 * @typedef {{type: string, [field: string]: any}} Message  of the protocol: what the server promises is not checked twice
 *
 * @typedef {Object} TrackOptions
 * @property {string | number | null} [after]
 * @property {(name: string, ...said: any[]) => void} hear  of "event", "end", "snapshot", "gap", "live", "tell", "fault",
 *     "beat", "lag", "expiring" and "renewed" what is said, of "state" the state and why; and the track
 * @property {(() => Promise<void> | null) | null} [room]  a promise of when the page takes more
 *
 * @typedef {Object} Owner  of a track: who can do what it is asked for
 * @property {(track: Track) => void} leave
 * @property {(track: Track) => void} retry
 * @property {(url: string | URL, data?: any, options?: any) => Promise<Reply>} command
 */

/** What a page is told of "expiring" and "renewed". @param {Message} message */
export function ofIdentity({ type, in: left, refused = false }) {
  return type === "expiring" ? { in: left, refused } : { in: left };
}

/** What a server takes for a cursor: by any other text a follow is refused, or its whole connection. */
const CURSOR = /^(([\w-]{1,32}\.)?\d|-[1-9])\d{0,17}$/;

/** Whether one cursor is known to stand before another. @param {string | null} one @param {string | null} other */
export function isBefore(one, other) {
  return one !== other && (distance(one, other, 1) ?? 0) > 0;
}

/** The number of an event within its channel: 1043 for "5f3a.1043". @param {string} cursor */
export function offsetOf(cursor) {
  return Number(cursor.slice(cursor.lastIndexOf(".") + 1));
}

/** @param {string} cursor */
export function epochOf(cursor) {
  return cursor.slice(0, Math.max(0, cursor.lastIndexOf(".")));
}

/**
 * How many events lie after one cursor, up to another; null where they belong to two lives of the log. A bare offset
 * belongs to the present one, and a bare "0" stands right before whatever is the oldest event.
 *
 * @param {any} from  a cursor: none is asked for before "open" has brought one
 * @param {any} to
 * @returns {number | null}
 */
function distance(from, to, oldest = 0) {
  if (from === "0" || offsetOf(from) < 0) return oldest; // -50: the newest 50
  const comparable = !epochOf(from) || epochOf(from) === epochOf(to);
  return comparable ? offsetOf(to) - offsetOf(from) : null;
}

/**
 * The same from one event to the next. Where another life of the log begins without a gap nothing was lost (its server
 * was restarted, say), and the offsets go on: then a step of 0 or `next` is as good as in one life, and a longer one where
 * the events between may have been for others.
 *
 * @param {any} from
 * @param {any} to
 * @param {number} next  how many events there are up to the one that comes next
 * @returns {number | null}
 */
function stepTo(from, to, next, filtered = false) {
  const onward = offsetOf(to) - offsetOf(from);
  return distance(from, to, next) ?? (onward === 0 || onward === next || (filtered && onward > 0) ? onward : null);
}

/**
 * A position in a channel: what `follow` returns. It checks that offsets come without a hole, unless the server says
 * that this client may not see every event.
 *
 * A hole that the server did not announce is a fault: `onFault` hears of it, and the connection is made anew from the
 * last good cursor. When the events are missing again, `onGap` gets them as lost (reason "hole"), and it goes on.
 * A repeated event is a fault too, and is not delivered again.
 */
export class Track {
  #options;
  #owner;
  /** @type {string | null} */
  #head = null;
  /** @type {string | null} */
  #holeAt = null;
  /** @type {string | null} */
  #conflatedTo = null;
  /** @type {string | null} of which channel the cursor is that an earlier page has kept, where that is known */
  #kept = null;
  /** @type {string | null} where the page started */
  start = null;
  /** @type {string | null} the newest event that was delivered: keep it, to go on from it after a reload */
  cursor = null;

  /** @param {string | URL | null} url @param {TrackOptions} options @param {Partial<Owner> | null} owner @internal */
  constructor(url, options, owner) {
    /** @type {string | null} the URL that is followed; null where the app on the server chose the channel */
    this.url = url === null ? null : String(url);
    /** @type {string | null} the channel's name, once the server has said it */
    this.channel = null;
    /** @type {boolean} whether the server keeps events back that this client may not see */
    this.filtered = false;
    /** @type {boolean} whether what it gets is also for others, who began earlier: then a repeat is no fault @internal */
    this.isShared = false;
    /** @type {State} whether it is up to date */
    this.state = "connecting";
    this.#options = options;
    this.#owner = /** @type {Owner} */ (owner);
    const after = String(options.after ?? "");
    if (after) this.resume(after);
  }

  /** Goes on where an earlier page stood. @param {string} cursor @param {string | null} [channel] @throws {TypeError} @internal */
  resume(cursor, channel = null) {
    if (!CURSOR.test(cursor)) throw new TypeError(`no cursor: ${cursor}`);
    this.cursor = this.start = cursor;
    this.#kept = channel;
  }

  /** @type {number} how many events are known to exist and have not come yet, see `expect` */
  get lag() {
    if (this.#head === null || this.cursor === null) return 0;
    return Math.max(0, distance(this.cursor, this.#head) ?? 0);
  }

  /**
   * Tells of an event that is known from elsewhere (the answer to a POST), so that `lag` counts it.
   *
   * @param {string} cursor
   */
  expect(cursor) {
    const step = this.#head === null ? null : distance(this.#head, cursor);
    if ((step ?? 1) > 0) this.#head = cursor;
  }

  /** Ends following. */
  close() {
    this.#owner.leave(this);
  }

  /** Tries again at once, if it is waiting to. A browser's "online" event does so by itself. */
  retry() {
    this.#owner.retry(this);
  }

  /**
   * Asks for something that is to happen once: see `command`.
   *
   * @template [Data=any]
   * @param {string | URL} url
   * @param {any} [data]
   * @param {import("./api.js").SendOptions & Options} [options]
   * @returns {Promise<Reply<Data>>}
   */
  command(url, data, options) {
    return this.#owner.command(url, data, options);
  }

  /** A promise of when the page takes more; null where it does now. @returns {Promise<void> | null} @internal */
  room() {
    return this.#options.room?.() ?? null;
  }

  /** @param {State} [state] @param {Why} [why] @internal */
  become(state = this.state, why = {}) {
    if (this.state === "gone" || (state === this.state && !why.error)) return;
    this.state = state;
    this.tell("state", state, why);
  }

  /** @param {string} name @param {...any} said @internal */
  tell(name, ...said) {
    tell(this.#options.hear, name, ...said, this);
  }

  /**
   * Takes one message of the protocol, whichever transport it came by. Who has left is told no more.
   *
   * @param {Message} message
   * @throws {Ended} where it is to be asked for anew; of the channel's end the `retry` is null
   * @internal
   */
  take(message) {
    if (this.state === "gone") return;
    switch (message.type) {
      case "open":
        return this.#open(message);
      case "event":
      case "end":
        return this.#event(message);
      case "snapshot":
        return this.#snapshot(message);
      case "gap":
        return this.#gap(message);
      case "live":
        this.#reach(message.cursor);
        this.become("live");
        return this.tell("live", { type: "live", channel: this.channel, cursor: this.cursor });
      case "beat":
        if (this.channel !== null && this.channel in message.cursors) this.#reach(message.cursors[this.channel]);
      // falls through
      case "lag":
      case "tell":
        return this.tell(message.type, message);
      case "moved": // of our own making: where the next poll goes on from
        return this.#reach(message.cursor);
      case "expiring":
      case "renewed":
        return this.tell(message.type, ofIdentity(message));
    }
  }

  /** @param {Message} message */
  #open({ channel, cursor, filtered = false }) {
    const { url, cursor: here } = this;
    const before = this.channel ?? this.#kept;
    const isOurs = url !== null || here === null || !epochOf(cursor);
    const isAnother = url !== null && ![cursor, here, before].includes(null) && channel !== before;
    const step = isOurs ? 0 : distance(here, cursor);
    this.channel = channel;
    this.filtered = filtered;
    if (here === null || offsetOf(here) < 0) this.cursor = cursor ?? here; // -50 begins somewhere
    this.#conflatedTo = null;
    if (this.state !== "live") this.become("behind"); // else its stream was opened anew for the sake of others
    // A channel that the app follows for us starts where the app says. What that leaves out is lost, and is announced.
    if ((step ?? 1) > 0) this.#lose(cursor, "skipped");
    // The URL's view has chosen by who asks, say: what was before this place there, nobody has seen.
    else if (isAnother) this.#lose(cursor, "epoch", null);
  }

  /**
   * An event, which may stand for many, or the end, which is told again to who stands there.
   *
   * @param {Message} message
   */
  #event({ type, channel = this.channel, cursor, id = cursor, event, data, time, key, fold, ...more }) {
    if (!(offsetOf(id) > 0)) throw new TypeError(`an event whose id is no cursor: ${id}`);
    const isEnd = type === "end";
    const folded = Number(more.folded ?? 1); // whatever numbers the page has made of JSON's
    const isConflated = this.#isConflated(id);
    const step = stepTo(this.cursor, id, folded, this.filtered);
    if (step !== null && step < (isEnd ? 0 : 1)) {
      // Not delivered again. Where the app chose the place, it may well have chosen an earlier one.
      if (this.url !== null && !this.isShared) this.#fault("repeat", id);
      return;
    }
    if (step && step < folded && !isConflated) {
      if (this.isShared) throw new Ended("some of it is here"); // others began earlier: the rest is asked for
      return this.#hole(id);
    }
    const isHole = (step ?? Infinity) > folded && !isConflated && !this.#mayPass(step);
    if (isHole) this.#hole(`${epochOf(id)}.${offsetOf(id) - folded}`);
    this.cursor = id;
    if (!isEnd) return this.tell(type, { type, channel, id, event, data, time, key, fold, folded });
    this.tell(type, { type, channel, cursor, data, time });
    throw new Ended("ended", { code: 1000, retry: null });
  }

  /** The channel's state, in place of all that was there before. @param {Message} message */
  #snapshot({ type, channel, cursor, data, missed = 0 }) {
    this.cursor = cursor;
    this.#conflatedTo = null;
    this.tell(type, { type, channel, cursor, data, missed });
  }

  /**
   * Of conflated events the newest of each key are still to come: the cursor stays, and holes are expected.
   *
   * @param {Record<string, any>} gap
   */
  #gap({ from, to, missed, reason }) {
    if (reason === "conflated") this.#conflatedTo = to;
    else this.cursor = to;
    this.tell("gap", { type: "gap", channel: this.channel, from, to, missed, reason });
  }

  /** Whether the events that a step leaves out may have been for others. @param {number | null} step */
  #mayPass(step) {
    return this.filtered && step !== null;
  }

  /** @param {string} cursor */
  #isConflated(cursor) {
    return this.#conflatedTo !== null && (distance(cursor, this.#conflatedTo) ?? -1) >= 0;
  }

  /** The server says that everything up to here has been sent. @param {string} cursor */
  #reach(cursor) {
    if (this.cursor === null) return; // a state is to come, which has its own place
    const step = stepTo(this.cursor, cursor, 0, this.filtered);
    if ((step ?? 1) > 0 && !this.#mayPass(step)) this.#hole(cursor);
    else if (/** @type {number} */ (step) >= 0) this.cursor = cursor; // ours may have been a bare offset
  }

  /** @param {string} to */
  #hole(to) {
    this.#fault("hole", to);
    if (this.#holeAt !== this.cursor) {
      this.#holeAt = this.cursor;
      throw new Ended("events are missing");
    }
    this.#lose(to, "hole");
  }

  /** @param {string} to @param {string} reason @param {number | null} [missed] */
  #lose(to, reason, missed = distance(this.cursor, to)) {
    this.#gap({ from: this.cursor, to, missed, reason });
  }

  /** @param {string} kind @param {string} cursor */
  #fault(kind, cursor) {
    this.tell("fault", { kind, channel: this.channel, from: this.cursor, to: cursor });
  }
}
