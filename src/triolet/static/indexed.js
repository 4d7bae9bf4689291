/** Texts by name in an IndexedDB: one table of one database, opened when it is first used. */

/** @type {Promise<IDBDatabase> | null} */
let opened = null;

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function asked(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransactionMode} mode */
async function table(mode) {
  opened ??= open();
  return (await opened).transaction("kept", mode).objectStore("kept");
}

async function open() {
  try {
    const request = globalThis.indexedDB.open("triolet", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    return await asked(request);
  } catch (error) {
    opened = null; // another time it may open
    throw error;
  }
}

/** @param {string} key */
export async function get(key) {
  return asked((await table("readonly")).get(key));
}

/**
 * Once it is kept: a page that is told so and ends at once finds it again.
 *
 * @param {string} key
 * @param {string} value
 */
export async function set(key, value) {
  const store = await table("readwrite");
  store.put(value, key);
  const { transaction } = store;
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });
}
