/** Numbers as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** @param {number} value */
export const count = (value) => whole.format(value);

/** So many of what: "1 client", "2 clients". @param {number} number @param {string} what */
export const many = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;

/** A rate: 0.4, 12, 5,012. @param {number} value */
export const rate = (value) => (value < 0.095 ? fine.format(value) : value < 10 ? tenths.format(value) : count(value));

/** A time, as [number, unit]; a dash where there is none. @param {number | null} seconds @returns {[string, string]} */
export function lasting(seconds) {
  if (seconds === null) return ["–", ""];
  if (seconds < 0.9995) return [seconds < 0.01 ? fine.format(seconds * 1000) : count(seconds * 1000), "ms"];
  if (seconds < 100) return [seconds < 10 ? seconds.toFixed(1) : count(seconds), "s"];
  return seconds < 5_400 ? [count(seconds / 60), "min"] : [count(seconds / 3_600), "h"];
}

/** @param {number | null} seconds */
export const age = (seconds) => lasting(seconds).join("\u00a0").trim();

/** @param {number} size  bytes @returns {[string, string]} */
export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  for (; size >= 1_000 && at < 4; at += 1) size /= 1_000;
  return [at && size < 10 ? size.toFixed(1) : count(size), units[at]];
}

/** A part of a whole, which is all of it only where it is. @param {number} part @param {number} all */
export function share(part, all) {
  if (!all) return "–";
  const percent = (100 * part) / all;
  if (part === all || percent < 1) return `${count(percent)}%`;
  return `${(Math.min(99.9, Math.floor(percent * 10) / 10)).toFixed(percent >= 99 ? 1 : 0)}%`;
}

/** Whether so many are behind that it is no phone in a tunnel: as notices.py has it. @param {number} behind @param {number} all */
export const isMuch = (behind, all) => behind > all / 10 + 10;

/** @type {Record<string, string>} */
export const TRANSPORTS = { websocket: "WebSocket", sse: "event stream" };
