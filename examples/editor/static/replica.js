/**
 * A document as this page has it. Its own edits go up by a command, one after the other, each as often as it takes; those
 * of others come down by a follow. Yjs merges them: to take one twice, or in another order, changes nothing.
 */

import { Y } from "./vendor/editor.js";

const BATCH_MS = 100;
const DAY_MS = 24 * 3600 * 1000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Replica {
  doc = new Y.Doc();
  text = this.doc.getText("text");
  /** Why the server takes no more of it; null while it does. */
  refused = null;

  #live;
  #url;
  #unsent = [];
  #since = 0;
  #isSending = false;
  #changed;
  #prefix;
  #kept;

  /** @param live a client, as `connect` returns it  @param {string} name  @param {() => void} changed */
  constructor(live, name, changed) {
    this.#live = live;
    this.#url = `/documents/${name}`;
    this.#changed = changed;
    this.#prefix = `unsent:${name}:`;
    this.#kept = [this.#prefix + this.doc.clientID];
    this.follow = live.follow(`${this.#url}/events`, { snapshot: true });
    for (const name of ["snapshot", "edit", "whole"]) this.follow.on(name, ({ data }) => this.#merge(data));
    this.doc.on("update", (update, origin) => origin !== this && this.#send(update));
  }

  /** Edits that the server has not answered. */
  get unsent() {
    return this.#unsent.length;
  }

  /** ms for which there are some. */
  get late() {
    return this.#unsent.length ? performance.now() - this.#since : 0;
  }

  #merge(data) {
    Y.applyUpdate(this.doc, bytesOf(data), this);
    this.#changed();
  }

  async #send(update) {
    if (!this.#unsent.length) this.#since = performance.now();
    this.#unsent.push(update);
    this.#keep();
    if (this.#isSending || this.refused) return;
    this.#isSending = true;
    while (this.#unsent.length && !this.refused) {
      await pause(BATCH_MS);
      const taken = this.#unsent.length;
      try {
        const edit = textOf(Y.mergeUpdates(this.#unsent));
        const { status, data } = await this.#live.send(`${this.#url}/edit`, edit, { timeout: DAY_MS });
        if (status === 200) this.#unsent.splice(0, taken);
        else this.refused = data.message ?? `status ${status}`;
      } catch (error) {
        console.warn(error); // nobody knows whether it was stored: it is sent again, and merged all the same
      }
      this.#keep();
    }
    this.#isSending = false;
  }

  /** What is not answered outlives the page, for whichever page of this document comes next. */
  #keep() {
    if (this.#unsent.length) {
      localStorage.setItem(this.#kept[0], textOf(Y.mergeUpdates(this.#unsent)));
    } else {
      for (const key of this.#kept) localStorage.removeItem(key);
      this.#kept.length = 1;
    }
    this.#changed();
  }

  /** Takes over what pages before this one have not sent. */
  adopt() {
    for (const key of Object.keys(localStorage).filter((key) => key.startsWith(this.#prefix))) {
      const update = bytesOf(localStorage.getItem(key));
      this.#kept.push(key);
      Y.applyUpdate(this.doc, update, this);
      this.#send(update);
    }
  }
}

function textOf(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
