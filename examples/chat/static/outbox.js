/**
 * What you have said and the server has not answered yet. It is kept over a reload, and said again under the same id: so it
 * is there once, whatever happened to the page, the network or the server in between. One is said after the other: commands
 * run side by side, and what you say has an order.
 */

export class Outbox {
  #live;
  #key;
  #messages;
  #waiting;
  #asked = new Set();
  #isBusy = false;

  constructor(live, you, messages) {
    this.#live = live;
    this.#key = `outbox of ${you}`;
    this.#messages = messages;
    this.#waiting = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]");
    this.#sendAll();
  }

  put(room, text) {
    const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const entry = { id, room, text };
    this.#waiting.push(entry);
    this.#keep();
    this.#messages.addWaiting(entry);
    this.#sendAll();
  }

  /** Draws what waits in a room that is entered. */
  show(room) {
    for (const entry of this.#waiting) if (entry.room === room) this.#messages.addWaiting(entry);
  }

  /** The message is there, for all. */
  delivered(id) {
    this.#waiting = this.#waiting.filter((entry) => entry.id !== id);
    this.#keep();
  }

  async #sendAll() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (let next; (next = this.#waiting.find(({ id }) => !this.#asked.has(id))); ) {
      this.#asked.add(next.id);
      await this.#send(next);
    }
    this.#isBusy = false;
  }

  async #send({ id, room, text }) {
    let problem;
    try {
      const { status, data } = await this.#live.send(`/rooms/${room}/messages`, { text }, { id });
      if (status < 400) return this.delivered(id);
      problem = data?.message ?? `It was refused (${status}).`;
      if (status < 500) this.delivered(id); // to say it again would not help
    } catch (error) {
      problem = "There was no answer. It is said again when you reload this page.";
    }
    this.#messages.fail(id, problem);
  }

  #keep() {
    sessionStorage.setItem(this.#key, JSON.stringify(this.#waiting));
  }
}
