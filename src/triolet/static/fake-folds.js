/** How the fake server makes one event of those that go together: as the real one does, and `apply` of folds.js undoes. */

/** @import { Stored } from "./fake-api.js" */

/** @param {any} value */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * One patch that does what both do; undefined where none does: of what an older one sets a newer one changes a part.
 *
 * @param {any} old
 * @param {any} patch
 * @returns {any}
 */
function patchOf(old, patch) {
  if (!isObject(patch)) return patch;
  if (!isObject(old)) return undefined;
  const together = new Map(Object.entries(old));
  for (const [name, value] of Object.entries(patch)) {
    together.set(name, together.has(name) ? patchOf(together.get(name), value) : value);
  }
  return [...together.values()].includes(undefined) ? undefined : Object.fromEntries(together);
}

/** @type {Record<string, (old: any, data: any) => any>} */
const TOGETHER = {
  concat: (old, data) => {
    if (Array.isArray(old) && Array.isArray(data)) return [...old, ...data];
    return typeof old === "string" && typeof data === "string" ? old + data : undefined;
  },
  latest: (_, data) => data,
  merge: patchOf,
  sum: (old, data) => {
    const isSum = typeof old === "number" && typeof data === "number" && Number.isFinite(old + data);
    return isSum ? old + data : undefined;
  },
};

export const FOLDS = Object.keys(TOGETHER);

/** Events, with one in place of those that follow each other and go together. @param {Stored[]} events @returns {Stored[]} */
export function foldedOf(events) {
  /** @type {Stored[]} */
  const made = [];
  for (const event of events) {
    const last = made.at(-1);
    const { key, fold, event: name } = event;
    const isAlike = fold !== undefined && last?.fold === fold && last.key === key && last.event === name;
    const data = isAlike ? TOGETHER[fold](last.data, event.data) : undefined;
    if (data === undefined) made.push(event);
    else made.splice(-1, 1, { ...event, data, folded: (last?.folded ?? 1) + 1 });
  }
  return made;
}
