/** Who wants to hear of what. */

import { report, tell } from "./line.js";

/** @typedef {(...said: any[]) => unknown} Call */

export class Handlers {
  /** @type {Map<string, Set<Call>>} */
  #calls = new Map();

  /** @param {string} name @param {Call} call @returns {() => void} takes it off again */
  on(name, call) {
    if (typeof call !== "function") throw new TypeError(`on("${name}"): a function`);
    const calls = this.#calls.get(name) ?? new Set();
    this.#calls.set(name, calls.add(call));
    return () => void calls.delete(call);
  }

  /** @param {string} name */
  has(name) {
    return this.of(name).length > 0;
  }

  /** @param {string} name @returns {Call[]} */
  of(name) {
    return [...(this.#calls.get(name) ?? [])];
  }

  /** A fault of which nobody wants to hear is told to the console. @param {string} name @param {...any} said */
  tell(name, ...said) {
    if (name === "fault" && !this.has(name)) console.error(...said);
    for (const call of this.of(name)) tell(call, ...said);
  }

  /**
   * Calls all, and gives a promise where one of them did; it settles with all of them, and never fails.
   *
   * @param {string[]} names
   * @param {...any} said
   * @returns {Promise<unknown> | undefined}
   */
  ask(names, ...said) {
    /** @type {Promise<unknown>[]} */
    const promises = [];
    /** @param {any} result */
    const keep = (result) => isPromise(result) && promises.push(Promise.resolve(result).catch(report));
    for (const name of names) {
      for (const call of this.of(name)) tell(() => keep(call(...said)));
    }
    return promises.length ? Promise.all(promises) : undefined;
  }
}

/** @param {any} value @returns {value is Promise<unknown>} */
export function isPromise(value) {
  return typeof value?.then === "function";
}

/**
 * A promise, with the two that settle it.
 *
 * @template [T=void]
 * @returns {{promise: Promise<T>, resolve: (value: T) => void, reject: (reason: unknown) => void}}
 */
export function deferred() {
  const parts = /** @type {any} */ ({});
  parts.promise = optional(new Promise((resolve, reject) => Object.assign(parts, { resolve, reject })));
  return parts;
}

/**
 * A promise that is nobody's duty to look at: where it fails and nobody does, nothing is said.
 *
 * @template T
 * @param {Promise<T>} promise
 */
export function optional(promise) {
  promise.catch(() => null);
  return promise;
}
