/** The fake server's log: channels in memory, with cursors, retention, and gaps for what is gone. */

import { FOLDS } from "./fake-folds.js";

/** @import { Ending, Message, Page, Place, Stored } from "./fake-api.js" */

const CURSOR = /^(?:([A-Za-z0-9_-]{1,32})\.)?(\d{1,18})$/;
const NEWEST = /^-[1-9]\d{0,17}$/;

/** What would forge a field of an event stream, or breaks its lines. */
const CONTROL = /[\0-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]/u;

const NAME_CHARACTERS = 128;

/** A cursor in its parts; null where a text is none. @param {string} text @returns {?Place} */
export function parseCursor(text) {
  const [, epoch = "", offset] = CURSOR.exec(text) ?? [];
  return offset === undefined ? null : { epoch, offset: Number(offset) };
}

/** What a client asks to go on after: a cursor, or so many of the newest events, as a negative offset. @param {string} text */
export function parseAfter(text) {
  return NEWEST.test(text) ? { epoch: "", offset: Number(text) } : parseCursor(text);
}

/** What is published, as JSON gives it back. @param {any} data @param {string} [what] @throws {TypeError} */
export function jsonOf(data, what = "data") {
  const text = JSON.stringify(data, (name, value) => {
    if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`${what}: ${value} is no JSON`);
    return value;
  });
  if (text === undefined) throw new TypeError(`${what}: has to be what JSON can say, not ${typeof data}`);
  return JSON.parse(text);
}

/** @param {string} what @param {unknown} text */
function checkText(what, text) {
  const isGood = typeof text === "string" && text.length >= 1 && text.length <= NAME_CHARACTERS && !CONTROL.test(text);
  if (!isGood) throw new TypeError(`${what}: a text of 1 to ${NAME_CHARACTERS} characters, with no line break in it`);
}

/**
 * As the server checks what an app publishes.
 *
 * @param {string} name
 * @param {string} [key]
 * @param {string} [fold]
 * @throws {TypeError}
 */
export function checkDraft(name, key, fold) {
  checkText("event", name);
  if (key !== undefined) checkText("key", key);
  if (fold !== undefined && !FOLDS.includes(fold)) throw new TypeError(`fold: one of ${FOLDS.join(", ")}, not ${fold}`);
  if (fold !== undefined && key === undefined) {
    throw new TypeError(`fold: ${fold} has to be of an event with a key: give it one as well`);
  }
  if (name.startsWith("triolet.")) throw new TypeError(`event: ${name} would be one of Triolet's own`);
}

/**
 * Of a channel. Its end, or what stands for events that were deleted, is the last of its events.
 *
 * @typedef {{events: (Stored | Ending)[], head: number, gone: ?{to: number, reason: string}, isDeleted: boolean}} Kept
 */

/** The end of a channel, or what stands for what was deleted; null where it goes on. @param {Kept} kept @returns {?Ending} */
function endOf({ events }) {
  const last = events.at(-1);
  return last?.type === "end" ? last : null;
}

export class Log {
  #keep;
  #life = 1;
  /** @type {Map<string, Kept>} */
  #channels = new Map();
  /**
   * By epoch, what is left of each channel as it was then.
   * @type {Map<string, Map<string, number>>}
   */
  #earlier = new Map();

  /** @param {number} keep  how many events of a channel */
  constructor(keep) {
    this.#keep = keep;
  }

  get #epoch() {
    return `fake-${this.#life}`;
  }

  /** @param {string} channel */
  #of(channel) {
    const kept = this.#channels.get(channel) ?? { events: [], head: 0, gone: null, isDeleted: false };
    this.#channels.set(channel, kept);
    return kept;
  }

  /** @param {number} offset */
  #cursor(offset) {
    return `${this.#epoch}.${offset}`;
  }

  /** The cursor of the newest event. @param {string} channel */
  head(channel) {
    return this.#cursor(this.#of(channel).head);
  }

  /**
   * Stores an event, and returns it as it is on the wire.
   *
   * @param {string} channel
   * @param {{event: string, data: any, time: number, key?: string, fold?: string}} draft
   * @returns {Stored}
   */
  append(channel, { event, data, time, key, fold }) {
    /** @type {(id: string) => Stored} */
    const make = (id) => {
      const more = { ...(key !== undefined && { key }), ...(fold !== undefined && { fold }) };
      return { type: "event", channel, id, event, data, time, ...more };
    };
    return this.#add(this.#of(channel), make);
  }

  /** @template {Stored | Ending} Made @param {Kept} kept @param {(cursor: string) => Made} make */
  #add(kept, make) {
    if (kept.isDeleted) kept.events.length = 0;
    kept.isDeleted = false;
    kept.head += 1;
    const made = make(this.#cursor(kept.head));
    kept.events.push(made);
    if (kept.events.length > this.#keep) kept.events.shift();
    return made;
  }

  /** What has ended a channel for good; null where it goes on, or may begin anew. @param {string} channel */
  hasEnded(channel) {
    const kept = this.#of(channel);
    return kept.isDeleted ? null : endOf(kept);
  }

  /** Ends a channel that goes on. @param {string} channel @param {any} data @param {number} time @returns {Ending} */
  end(channel, data, time) {
    return this.#add(this.#of(channel), (cursor) => ({ type: "end", channel, cursor, data, time }));
  }

  /** Forgets all events. What stands for them is returned. @param {string} channel @param {number} time */
  delete(channel, time) {
    const kept = this.#of(channel);
    kept.events.length = 0;
    kept.gone = null;
    const end = this.end(channel, { outcome: "deleted" }, time);
    kept.isDeleted = true;
    return end;
  }

  /**
   * So many events more were there, and nothing is kept of them, nor of those before.
   *
   * @param {string} channel
   * @param {number} missed
   * @param {string} reason
   */
  skip(channel, missed, reason) {
    const kept = this.#of(channel);
    kept.events.length = 0;
    kept.head += missed;
    kept.gone = { to: kept.head, reason };
  }

  /**
   * The newest so many events of each channel are lost: another epoch begins, which knows how far the earlier ones go.
   *
   * @param {number} count
   */
  cut(count) {
    /** @type {Map<string, number>} */
    const left = new Map();
    this.#earlier.set(this.#epoch, new Map());
    this.#life += 1;
    for (const [channel, kept] of this.#channels) {
      kept.events.splice(Math.max(0, kept.events.length - count));
      kept.head = Math.max(0, kept.head - count);
      const first = kept.head - kept.events.length + 1;
      kept.events = kept.events.map((event, index) => ({ ...event, id: this.#cursor(first + index) }));
      left.set(channel, kept.head);
    }
    for (const heads of this.#earlier.values()) {
      for (const [channel, head] of left) heads.set(channel, Math.min(head, heads.get(channel) ?? head));
    }
  }

  /** It is lost, and begun again. */
  begin() {
    this.#channels.clear();
    this.#earlier.clear();
    this.#life += 1;
  }

  /** @param {string} epoch @param {string} channel */
  #leftOf(epoch, channel) {
    const heads = this.#earlier.get(epoch);
    return heads && (heads.get(channel) ?? 0);
  }

  /**
   * What comes after a cursor (null: "now"), at most so many events.
   *
   * @param {string} channel
   * @param {?Place} after
   * @param {number} [most]
   * @returns {Page}
   */
  read(channel, after, most = Infinity) {
    const kept = this.#of(channel);
    const { events, head, gone } = kept;
    const before = head - events.length; // the event before the oldest
    const had = after === null ? { epoch: "", offset: head } : after;
    const epoch = had.epoch || this.#epoch;
    /** @type {(to: number, missed: ?number, reason: string) => Message} */
    const lost = (to, missed, reason) => {
      return { type: "gap", channel, from: `${epoch}.${had.offset}`, to: this.#cursor(to), missed, reason };
    };
    /** @type {?Message} */
    let gap = null;
    let at = had.offset < 0 ? Math.max(before, head + had.offset) : had.offset;
    const left = epoch === this.#epoch ? head : this.#leftOf(epoch, channel);
    // An epoch that nobody knows comes first: its offsets say nothing here.
    if (left === undefined) gap = lost((at = before), null, "epoch");
    else if (at > left) gap = lost((at = Math.max(left, before)), null, "future");
    else if (at < before) {
      const isFromTheOldest = !had.epoch && at === 0;
      if (!isFromTheOldest) gap = lost(before, before - at, gone?.to === before ? gone.reason : "expired");
      at = before;
    }
    const page = events.slice(at - before, at - before + most);
    const to = at + page.length;
    const isAll = to === head;
    return {
      start: gap?.from ?? this.#cursor(at),
      gap,
      events: /** @type {Stored[]} */ (page.filter(({ type }) => type === "event")),
      end: isAll ? endOf(kept) : null,
      cursor: this.#cursor(to),
      isAll,
    };
  }
}
