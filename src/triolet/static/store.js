/** What a page keeps beyond itself: texts by name. A store that fails is told of, and is done without. */

import { isPromise, optional } from "./handlers.js";
import { within } from "./line.js";

/**
 * @import { Clock, Store } from "./api.js"
 * @import { Handlers } from "./handlers.js"
 */

/** How long a store may take, in ms: a browser's own is known to hang, and whoever waits for it hears nothing meanwhile. */
const PATIENCE = 2_000;

/**
 * Where there is none, or the user keeps the page from it, each use fails, and is told.
 *
 * @type {Store}
 */
const SESSION = {
  get: (key) => sessionStorage.getItem(key),
  set: (key, value) => sessionStorage.setItem(key, value),
};

/** What only some pages need is loaded by them alone. @returns {Store} */
function indexed() {
  const table = import("./indexed.js");
  optional(table); // each use of it tells what is wrong
  return { get: async (key) => (await table).get(key), set: async (key, value) => (await table).set(key, value) };
}

/**
 * @param {"session" | "indexeddb" | Partial<Store> | null} [store]
 * @returns {Store | null}
 * @throws {TypeError}
 */
export function openStore(store) {
  if (store == null) return null;
  if (store === "session") return SESSION;
  if (store === "indexeddb") return indexed();
  if (store.get && store.set) return /** @type {Store} */ (store);
  throw new TypeError('store: "session", "indexeddb", or one with get and set');
}

/** One text of a store, under one name. What fails is a "fault" for `handlers`; a store that hangs is not asked again. */
export class Keeper {
  #store;
  #key;
  #options;
  #handlers;
  /** @type {string | null | undefined} */
  #newest;
  /** @type {Promise<void> | null} */
  #running = null;
  /** @type {Promise<void> | null} */
  #next = null;

  /** @param {Store | null} store @param {string} key @param {{clock: Clock}} options @param {Handlers} handlers */
  constructor(store, key, options, handlers) {
    this.#store = store;
    this.#key = key;
    this.#options = options;
    this.#handlers = handlers;
  }

  /** Gives the text of before, null where there is none: at once, if the store does. @param {(text: any) => void} give */
  read(give) {
    const kept = this.#tried(() => this.#store?.get(this.#key));
    if (isPromise(kept)) kept.then(give);
    else give(kept ?? null);
  }

  /**
   * Writes, always the newest.
   *
   * @param {string | null} value
   * @returns {Promise<void> | undefined} a promise where the store takes its time
   */
  keep(value) {
    this.#newest = value;
    if (this.#next) return this.#next;
    if (!this.#running) return this.#write();
    return (this.#next = this.#running.then(() => {
      this.#next = null;
      return this.#write();
    }));
  }

  #write() {
    const done = this.#tried(() => this.#store?.set(this.#key, /** @type {string} */ (this.#newest)));
    if (!isPromise(done)) return undefined;
    const running = done.then(() => {
      if (this.#running === running) this.#running = null;
    });
    return (this.#running = running);
  }

  /** @param {() => unknown} call */
  #tried(call) {
    try {
      const result = call();
      if (!isPromise(result)) return result;
      const late = () => {
        this.#store = null;
        return new Error(`no answer within ${PATIENCE} ms: done without it`);
      };
      return within(PATIENCE, late, this.#options, undefined, () => result).catch(this.#failed);
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** @param {unknown} error */
  #failed = (error) => {
    this.#handlers.tell("fault", { kind: "store", error });
    return null;
  };
}
