/** What the page did not say. */

import { checkToken } from "./token.js";

const DEFAULTS = {
  wait: 25,
  silence: 50_000,
  timeout: 60_000,
  buffer: 256,
  commit: "after",
  random: Math.random,
  fetch: (...request) => globalThis.fetch(...request),
  parse: JSON.parse,
  stringify: JSON.stringify,
  clock: {
    setTimeout: (call, ms) => globalThis.setTimeout(call, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    now: () => globalThis.performance.now(),
  },
};

/** Options without those that are undefined, which were not said. */
export function saidOf(options = {}) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** The options with all that the machinery needs. @throws {TypeError} */
export function settingsOf(options, more = {}) {
  const settings = { ...DEFAULTS, ...more, ...saidOf(options) };
  settings.clock.now ??= DEFAULTS.clock.now;
  checkToken(settings);
  return settings;
}
