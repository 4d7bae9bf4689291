/** A position in a channel, and the check that nothing is missing. Knows nothing of the network. */

import { Ended, tell } from "./line.js";

/** What a page is told of "expiring" and "renewed". */
export function ofIdentity({ type, in: left, refused = false }) {
  return type === "expiring" ? { in: left, refused } : { in: left };
}

/** Whether one cursor is known to stand before another. */
export function isBefore(one, other) {
  return one !== other && (distance(one, other, 1) ?? 0) > 0;
}

/** The number of an event within its channel: 1043 for "5f3a.1043". */
export function offsetOf(cursor) {
  return Number(cursor.slice(cursor.lastIndexOf(".") + 1));
}

function epochOf(cursor) {
  return cursor.slice(0, Math.max(0, cursor.lastIndexOf(".")));
}

/**
 * How many events lie after one cursor, up to another; null where they belong to two lives of the log. A bare offset
 * belongs to the present one, and a bare "0" stands right before whatever is the oldest event.
 */
function distance(from, to, oldest = 0) {
  if (from === "0" || offsetOf(from) < 0) return oldest; // -50: the newest 50
  const comparable = !epochOf(from) || epochOf(from) === epochOf(to);
  return comparable ? offsetOf(to) - offsetOf(from) : null;
}

/**
 * The same from one event to the next. Where another life of the log begins without a gap nothing was lost (its server
 * was restarted, say), and the offsets go on: then a step of 0 or 1 is as good as in one life, and a longer one where
 * the events between may have been for others.
 */
function stepTo(from, to, oldest, filtered = false) {
  const onward = offsetOf(to) - offsetOf(from);
  return distance(from, to, oldest) ?? (onward === 0 || onward === 1 || (filtered && onward > 1) ? onward : null);
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
  #head = null;
  #holeAt = null;
  #conflatedTo = null;

  constructor(url, options, owner) {
    /** @type {?string} the URL that is followed; null where the app on the server chose the channel */
    this.url = url === null ? null : String(url);
    /** @type {?string} the channel's name, once the server has said it */
    this.channel = null;
    /** @type {?string} where the page started */
    this.start = options.after == null ? null : String(options.after);
    /** @type {?string} the newest event that was delivered: keep it, to go on from it after a reload */
    this.cursor = this.start;
    /** @type {boolean} whether the server keeps events back that this client may not see */
    this.filtered = false;
    /** @type {boolean} whether what it gets is also for others, who began earlier: then a repeat is no fault */
    this.isShared = false;
    /** @type {State} */
    this.state = "connecting";
    this.#options = options;
    this.#owner = owner;
  }

  /** Events that are known to exist and have not come yet. See {@link Track#expect}. */
  get lag() {
    if (this.#head === null || this.cursor === null) return 0;
    return Math.max(0, distance(this.cursor, this.#head) ?? 0);
  }

  /** Tells of an event that is known from elsewhere (the answer to a POST), so that `lag` counts it. */
  expect(cursor) {
    const step = this.#head === null ? null : distance(this.#head, cursor);
    if (step === null || step > 0) this.#head = cursor;
  }

  /** Ends following. */
  close() {
    this.#owner.leave(this);
  }

  /** Tries again at once, if it is waiting to. A browser's "online" event does so by itself. */
  retry() {
    this.#owner.retry(this);
  }

  /** Asks for something to be done, once: see `command` of triolet.js. @returns {Promise<Reply>} */
  command(url, data, options) {
    return this.#owner.command(url, data, options);
  }

  /** A promise of when the page takes more; null where it does now. @internal */
  room() {
    return this.#options.room?.() ?? null;
  }

  /** @param {State} state  @internal */
  become(state = this.state, why = {}) {
    if (this.state === "gone" || (state === this.state && !why.error)) return;
    this.state = state;
    tell(this.#options.onState, state, why, this);
  }

  /** Takes one message of the protocol, whichever transport it came by. Who has left is told no more. @internal */
  take(message) {
    if (this.state === "gone") return;
    switch (message.type) {
      case "open":
        return this.#open(message);
      case "event":
        return this.#event(message);
      case "gap":
        return this.#gap(message);
      case "live":
        this.#reach(message.cursor);
        this.become("live");
        return tell(this.#options.onLive, { channel: this.channel, cursor: this.cursor }, this);
      case "beat":
        if (this.channel in message.cursors) this.#reach(message.cursors[this.channel]);
        return tell(this.#options.onBeat, message, this);
      case "moved": // of our own making: where the next poll goes on from
        return this.#reach(message.cursor);
      case "lag":
        return tell(this.#options.onLag, message, this);
      case "expiring":
        return tell(this.#options.onExpiring, ofIdentity(message), this);
      case "renewed":
        return tell(this.#options.onRenewed, ofIdentity(message), this);
    }
  }

  #open({ channel, cursor, filtered = false }) {
    const isOurs = this.url !== null || this.cursor === null || !epochOf(cursor);
    const step = isOurs ? 0 : distance(this.cursor, cursor);
    this.channel = channel;
    this.filtered = filtered;
    if (this.cursor === null || offsetOf(this.cursor) < 0) this.cursor = cursor; // the newest so many begin somewhere
    this.#conflatedTo = null;
    this.become("behind");
    // A channel that the app follows for us starts where the app says. What that leaves out is lost, and is announced.
    if (step === null || step > 0) this.#lose(cursor, "skipped");
  }

  #event({ channel, id, event, data, time, key }) {
    if (!(offsetOf(id) > 0)) throw new TypeError(`an event whose id is no cursor: ${id}`);
    const step = stepTo(this.cursor, id, 1, this.filtered);
    if (step !== null && step < 1) {
      // Not delivered again. Where the app chose the place, it may well have chosen an earlier one.
      if (this.url !== null && !this.isShared) this.#fault("repeat", id);
      return;
    }
    if (step !== 1 && !this.#mayPass(step) && !this.#isConflated(id)) this.#hole(`${epochOf(id)}.${offsetOf(id) - 1}`);
    this.cursor = id;
    tell(this.#options.onEvent, { channel: channel ?? this.channel, id, event, data, time, key }, this);
  }

  /** Of conflated events the newest of each key are still to come: the cursor stays, and holes are expected. */
  #gap({ from, to, missed, reason }) {
    const gap = { channel: this.channel, from, to, missed, reason };
    if (reason === "conflated") this.#conflatedTo = to;
    else this.cursor = to;
    tell(this.#options.onGap ?? console.warn, gap, this);
  }

  /** Whether the events that a step leaves out may have been for others. */
  #mayPass(step) {
    return this.filtered && step !== null;
  }

  #isConflated(cursor) {
    const left = this.#conflatedTo === null ? null : distance(cursor, this.#conflatedTo);
    return left !== null && left >= 0;
  }

  /** The server says that everything up to here has been sent. */
  #reach(cursor) {
    const step = stepTo(this.cursor, cursor, 0, this.filtered);
    if ((step === null || step > 0) && !this.#mayPass(step)) this.#hole(cursor);
    else if (step >= 0) this.cursor = cursor; // ours may have been a bare offset
  }

  #hole(to) {
    this.#fault("hole", to);
    if (this.#holeAt !== this.cursor) {
      this.#holeAt = this.cursor;
      throw new Ended("events are missing");
    }
    this.#lose(to, "hole");
  }

  #lose(to, reason) {
    this.#gap({ from: this.cursor, to, missed: distance(this.cursor, to), reason });
  }

  #fault(kind, cursor) {
    this.fault({ kind, channel: this.channel, from: this.cursor, to: cursor });
  }

  /** @internal */
  fault(fault) {
    tell(this.#options.onFault ?? console.error, fault, this);
  }
}
