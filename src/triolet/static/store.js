/** What a page keeps beyond itself: texts by name. A store that fails is told of, and is done without. */

/** @import { Store } from "./api.js" */

/**
 * Where there is none, or the user keeps the page from it, each use fails, and is told.
 *
 * @type {Store}
 */
const SESSION = {
  get: (key) => globalThis.sessionStorage.getItem(key),
  set: (key, value) => globalThis.sessionStorage.setItem(key, value),
};

/** What only some pages need is loaded by them alone. @returns {Store} */
function indexed() {
  const table = import("./indexed.js");
  table.catch(() => null);
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
  throw new TypeError('store: "session", "indexeddb", or an object with "get" and "set"');
}

/** @param {any} value @returns {value is Promise<unknown>} */
const isPromise = (value) => typeof value?.then === "function";

/** One text of a store, under one name. `fault(error)` hears what fails. */
export class Keeper {
  #store;
  #key;
  #fault;
  /** @type {string | null | undefined} */
  #newest;
  /** @type {Promise<void> | null} */
  #running = null;
  /** @type {Promise<void> | null} */
  #next = null;

  /** @param {Store | null} store @param {string} key @param {(error: unknown) => void} fault */
  constructor(store, key, fault) {
    this.#store = store;
    this.#key = key;
    this.#fault = fault;
  }

  /** The text of before, or a promise of it; null: there is none. @returns {any} */
  read() {
    return this.#tried(() => this.#store?.get(this.#key)) ?? null;
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
      return isPromise(result) ? Promise.resolve(result).catch((error) => this.#failed(error)) : result;
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    this.#fault(error);
    return null;
  }
}
