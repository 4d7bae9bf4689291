/** Why a WebSocket was not opened. Loaded by the pages that need it alone. */

import { asked, checkType, failure, locate } from "./requests.js";

/**
 * @import { Line } from "./line.js"
 * @import { HeaderMap, Place } from "./requests.js"
 * @import { Settings } from "./settings.js"
 */

/**
 * Statuses of a URL that no WebSocket will be opened at; 0: it is sent elsewhere, which is all that browsers say. One that
 * speaks WebSocket only answers 426.
 */
const REFUSING = /^[03]|40[134]|410/;

/**
 * Asks for its URL, as a page would. What refuses that for good, or sends it elsewhere, refuses the WebSocket; everything
 * else may be the network's.
 *
 * @param {Place} url
 * @param {Settings} options
 * @param {Line} line
 */
export async function ask(url, options, line) {
  try {
    /** @type {RequestInit & {headers: HeaderMap}} */
    const json = { headers: { Accept: "application/json" }, redirect: "manual" };
    await asked(locate(url), json, options, line.over.signal, async (response) => {
      if (REFUSING.test(`${response.status}`)) throw await failure(response);
      await response.body?.cancel?.();
      if (response.ok) checkType(response, "application/json");
    });
  } catch (/** @type {any} */ error) {
    if (error?.retry === null && !line.isHeardOf) line.refuse(error); // else another try has shown that it is not so
  }
}
