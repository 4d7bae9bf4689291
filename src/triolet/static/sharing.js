/** Several subscriptions of one channel, on the one follow that a server without subscriptions has for it. */

import { isBefore } from "./track.js";

/**
 * Such a server follows a channel anew, from the last cursor that it was told. So whoever stands first is asked for
 * once more; until that is open nobody listens, and from there on those who are further leave out what they have.
 */
export class Sharing {
  #say;

  /** Whether the server is such a one. */
  isOn = false;

  constructor(say) {
    this.#say = say;
  }

  forget() {
    this.isOn = false;
  }

  /** Takes an `open` without a name: of this entry, if it has not left, beside the others of the channel. */
  open({ channel, cursor }, entry, others) {
    this.isOn = true;
    if (!entry) return others.length === 0 && this.#say({ type: "unfollow", channel });
    if (others.length === 0) return;
    const all = [entry, ...others];
    for (const { track } of all) track.isShared = true;
    const first = all.reduce((one, other) => (isBefore(other.track.cursor, one.track.cursor) ? other : one));
    const isAnew = isBefore(first.track.cursor, cursor);
    for (const one of all) one.isDeaf = isAnew;
    if (!isAnew) return;
    first.isOpen = false;
    this.#say({ type: "follow", url: first.path, after: first.track.cursor });
  }
}
