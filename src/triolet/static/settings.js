/** What the page did not say. */

import { checkToken } from "./token.js";

/** @import { Clock, ConnectOptions, MessageOptions, Options, Transport } from "./api.js" */

/**
 * What the machinery works with: the options, with what the page did not say, and what the client says of itself.
 *
 * @typedef {Omit<Options & MessageOptions & ConnectOptions, keyof Defaults> & Defaults & Own} Settings
 *
 * @typedef {{wait: number, silence: number, timeout: number, buffer: number, commit: "before" | "after",
 *     random: () => number, fetch: typeof fetch, parse: (text: string) => any, stringify: (data: any) => string,
 *     clock: Clock}} Defaults
 *
 * @typedef {Object} Own
 * @property {(transport: Transport) => void} [remember]  hears of one that works, for the next page
 * @property {() => number} [patience]  ms until the first message of a connection
 * @property {() => void} [won]  hears that a connection brings messages as they come
 * @property {() => void} [lumpy]  hears that it brings them too late
 * @property {() => void} [sending]  hears that a request goes out
 */

/** The longest time that a browser's timer knows: 24 days. One that is set for longer fires at once. */
export const LONGEST = 2 ** 31 - 1;

/** @type {Defaults} */
const DEFAULTS = {
  wait: 25,
  silence: 50_000,
  timeout: 60_000,
  buffer: 256,
  commit: "after",
  random: Math.random,
  fetch: (...request) => fetch(...request),
  parse: JSON.parse,
  stringify: JSON.stringify,
  clock: {
    setTimeout: (call, ms) => setTimeout(call, Math.min(ms, LONGEST)),
    clearTimeout: (timer) => clearTimeout(timer),
    now: () => performance.now(),
  },
};

/**
 * Options without those that are undefined, which were not said.
 *
 * @template {object} Said
 * @param {Said} options
 * @returns {Said}
 */
export function saidOf(options) {
  return /** @type {any} */ (Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)));
}

/**
 * The options with all that the machinery needs.
 *
 * @template {object} [More={}]
 * @param {Options | ConnectOptions} options
 * @param {More} [more]
 * @returns {Settings & More}
 * @throws {TypeError}
 */
export function settingsOf(options, more) {
  const settings = /** @type {any} */ ({ ...DEFAULTS, ...more, ...saidOf(options) });
  settings.clock.now ??= DEFAULTS.clock.now;
  checkToken(settings);
  return settings;
}
