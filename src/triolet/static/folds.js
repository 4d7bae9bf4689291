/**
 * What events that have a `fold` make together: the text of an answer, a document, a sum.
 *
 *     import { Values } from "triolet-client/folds";
 *     const values = new Values();
 *     const answer = live.follow("/answers/42", { after: "0", fold: true });
 *     answer.on("event", (item) => (page.textContent = values.take(item).get("text")));
 *
 * It is the same whether the events came each for itself or many in one.
 */

/** @import { End, Gap, Live, LiveEvent, Snapshot } from "./api.js" */

/** @param {any} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * A JSON merge patch, applied (RFC 7396 section 2). By entries: a name may be any text, `__proto__` too.
 *
 * @param {any} state
 * @param {any} patch
 * @returns {any}
 */
function patched(state, patch) {
  if (!isObject(patch)) return patch;
  const entries = new Map(isObject(state) ? Object.entries(state) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) entries.delete(name);
    else entries.set(name, patched(entries.get(name), value));
  }
  return Object.fromEntries(entries);
}

/** @type {Record<string, (state: any, data: any) => any>} */
const FOLDS = {
  latest: (_, data) => data,
  merge: patched,
  concat: (state, data) => {
    if (Array.isArray(state) && Array.isArray(data)) return [...state, ...data];
    return typeof state === "string" && typeof data === "string" ? state + data : data;
  },
  sum: (state, data) => {
    const isSum = typeof state === "number" && typeof data === "number" && Number.isFinite(state + data);
    return isSum ? state + data : data;
  },
};

/**
 * What the state of a key becomes by an event of it. Where both do not go together, the data is the state: it begins anew.
 * No argument is changed.
 *
 * @param {string} fold  the event's: "concat", "latest", "merge" or "sum"
 * @param {any} state  what it was; undefined or null where this is the first
 * @param {any} data  the event's
 * @returns {any}
 * @throws {TypeError} where there is no such fold
 */
export function apply(fold, state, data) {
  if (!Object.hasOwn(FOLDS, fold)) throw new TypeError(`fold: one of ${Object.keys(FOLDS).join(", ")}, not ${fold}`);
  return FOLDS[fold](state, data);
}

/**
 * The states of a channel's keys, as its events have made them: a Map by key.
 *
 * A gap leaves out events, so that the states are no longer whole: ask for the channel's state besides, `snapshot: true`.
 *
 * @extends {Map<string, any>}
 */
export class Values extends Map {
  /**
   * Takes an item of a follow. Of an event that has a key that key's state changes: as its `fold` says, or, where it says
   * none that is known here, into its data. A snapshot takes the place of all states where its data is an object, the
   * states by key; of another one they begin anew. Every other item changes nothing.
   *
   * @param {LiveEvent | End | Snapshot | Gap | Live} item
   * @returns {this} so that a state can be asked for at once
   */
  take(item) {
    if (item.type === "snapshot") {
      this.clear();
      for (const [key, state] of Object.entries(isObject(item.data) ? item.data : {})) this.set(key, state);
    } else if (item.type === "event" && item.key !== undefined) {
      const { key, fold = "latest", data } = item;
      this.set(key, apply(Object.hasOwn(FOLDS, fold) ? fold : "latest", this.get(key), data));
    }
    return this;
  }
}
