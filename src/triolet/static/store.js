/** What a page keeps beyond itself: texts by name. A store that fails is told of, and is done without. */

function session() {
  const storage = globalThis.sessionStorage;
  if (!storage) throw new TypeError('store: there is no session here; give an object with "get" and "set"');
  return { get: (key) => storage.getItem(key), set: (key, value) => storage.setItem(key, value) };
}

const asked = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** One table of one database, opened when it is first used. */
function indexed(factory = globalThis.indexedDB) {
  if (!factory) throw new TypeError('store: there is no IndexedDB here; give an object with "get" and "set"');
  let opened = null;
  const open = () => {
    const request = factory.open("triolet", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    return asked(request);
  };
  const table = async (mode) => {
    opened ??= open().catch((error) => {
      opened = null;
      throw error;
    });
    return (await opened).transaction("kept", mode).objectStore("kept");
  };
  return {
    get: async (key) => asked((await table("readonly")).get(key)),
    set: async (key, value) => void (await asked((await table("readwrite")).put(value, key))),
  };
}

/** @param {"session"|"indexeddb"|import("./api.js").Store|null} [store]  @throws {TypeError} */
export function openStore(store) {
  if (store == null) return null;
  if (store === "session") return session();
  if (store === "indexeddb") return indexed();
  if (typeof store.get === "function" && typeof store.set === "function") return store;
  throw new TypeError('store: "session", "indexeddb", or an object with "get" and "set"');
}

const isPromise = (value) => typeof value?.then === "function";

/** One text of a store, under one name. `fault(error)` hears what fails. */
export class Keeper {
  #store;
  #key;
  #fault;
  #newest;
  #running = null;
  #next = null;

  constructor(store, key, fault) {
    this.#store = store;
    this.#key = key;
    this.#fault = fault;
  }

  /** The text of before, or a promise of it; null: there is none. */
  read() {
    return this.#tried(() => this.#store?.get(this.#key)) ?? null;
  }

  /** Writes, always the newest. @returns {Promise<void>|undefined} a promise where the store takes its time */
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
    const done = this.#tried(() => this.#store?.set(this.#key, this.#newest));
    if (!isPromise(done)) return undefined;
    const running = done.then(() => {
      if (this.#running === running) this.#running = null;
    });
    return (this.#running = running);
  }

  #tried(call) {
    try {
      const result = call();
      return isPromise(result) ? Promise.resolve(result).catch((error) => this.#failed(error)) : result;
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error) {
    this.#fault(error);
    return null;
  }
}
