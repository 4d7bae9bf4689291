/** Who is present on the fake server, by the joins and leaves that a channel tells. */

export class Sessions {
  /** @type {Map<string, {channel: string, member: string}>} */
  #sessions = new Map();
  #number = 0;

  /** One session more of a member. @param {string} channel @param {string} member */
  add(channel, member) {
    const session = `fake.${(this.#number += 1)}`;
    this.#sessions.set(session, { channel, member });
    return session;
  }

  /**
   * A session, or all of a member, are there no longer.
   *
   * @param {string} channel
   * @param {string} who
   * @param {string | URL} url  where that was said
   * @throws {Error} where nobody is meant
   */
  remove(channel, who, url) {
    const all = [...this.#sessions].filter(([, one]) => one.channel === channel);
    const meant = all.filter(([session, { member }]) => session === who || member === who);
    if (meant.length === 0) {
      const there = all.map(([session, { member }]) => `${member} (${session})`).join(", ") || "nobody";
      throw new Error(`leave: ${who} is not in ${url}; there: ${there}`);
    }
    for (const [session] of meant) this.#sessions.delete(session);
    return meant.map(([session, { member }]) => ({ session, member }));
  }
}
