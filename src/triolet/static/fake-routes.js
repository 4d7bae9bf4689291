/** What is at which URL of the fake server: rules as `/orders/<id>/events`, of which the newest that fits counts. */

/** @import { Found } from "./fake-api.js" */

const NOWHERE = "http://fake.invalid";

/**
 * What a part of a rule stands for, by the word before its colon, as in the server's rules.
 * @type {Record<string, string>}
 */
const PARTS = { int: "(\\d+)", path: "(.+)" };

/** A URL of the fake server's, whatever its origin. @param {string | URL} url @param {string} what @throws {TypeError} */
export function locateHere(url, what) {
  const text = String(url);
  if (/^(\/(?!\/)|https?:\/\/)/.test(text)) return new URL(text, NOWHERE);
  throw new TypeError(`${what}("${text}"): a URL from the root, as "/orders/A1/events", or a whole one`);
}

/** A path as a rule has it. @param {string} pathname */
export function decoded(pathname) {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname; // no UTF-8
  }
}

/**
 * @typedef {Object} More  what belongs to a rule, by its kind
 * @property {string | ((params: Record<string, string>, url: URL) => string)} [name]  of a channel
 * @property {(params: Record<string, string>, url: URL) => any} [snapshot]  of a channel
 * @property {any} [answer]  of a command
 * @property {(connection: any) => void} [open]  of a socket
 * @property {(data: any, connection: any) => void} [message]  of a socket
 * @property {number | "login"} [status]  of a refusal
 * @property {number} [retry]  of a refusal
 */

export class Route {
  #pattern;
  /** @type {string[]} */
  #names = [];

  /** @param {string} kind @param {string} rule @param {More} more */
  constructor(kind, rule, more) {
    this.kind = kind;
    this.rule = rule;
    this.more = more;
    const pieces = rule.split(/<([^<>]+)>/).map((piece, index) => (index % 2 ? this.#part(piece) : literal(piece)));
    this.#pattern = new RegExp(`^${pieces.join("")}$`);
  }

  /** @param {string} piece */
  #part(piece) {
    const [name, kind] = piece.split(":").reverse();
    this.#names.push(name);
    return PARTS[kind] ?? "([^/]+)";
  }

  /** The values of its parts; null where it does not fit. @param {URL} url */
  match({ pathname }) {
    const found = this.#pattern.exec(decoded(pathname));
    return found && Object.fromEntries(this.#names.map((name, index) => [name, found[index + 1]]));
  }
}

/** @param {string} text */
function literal(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

export class Routes {
  /** @type {Route[]} */
  #routes = [];

  /**
   * @param {string} kind  "channel", "socket", "command" or "refusal"
   * @param {string | URL} url
   * @param {More} [more]
   * @throws {TypeError}
   */
  add(kind, url, more = {}) {
    const text = String(url).replace(/^https?:\/\/[^/]*/, "");
    locateHere(text, kind);
    if (/[?#]/.test(text)) throw new TypeError(`${kind}("${text}"): without what comes behind the path`);
    this.remove(kind, text);
    const route = new Route(kind, text, more);
    this.#routes.unshift(route);
    return route;
  }

  /** @param {string} kind @param {string} rule @returns {boolean} whether it was there */
  remove(kind, rule) {
    const before = this.#routes.length;
    this.#routes = this.#routes.filter((route) => route.kind !== kind || route.rule !== rule);
    return this.#routes.length < before;
  }

  /** What is at a URL. @param {string} kind @param {URL} url @returns {?Found} */
  find(kind, url) {
    for (const route of this.#routes) {
      const params = route.kind === kind ? route.match(url) : null;
      if (params) return { route, params };
    }
    return null;
  }

  /** What is there, for one who has looked for something else. */
  describe() {
    const all = this.#routes.filter(({ kind }) => kind !== "refusal").map(({ kind, rule }) => `  ${rule} (${kind})`);
    return all.length ? `There are:\n${all.reverse().join("\n")}` : "There is nothing yet.";
  }
}

/** The name of the channel that is at a URL. @param {Found} found @param {URL} url */
export function nameOf({ route, params }, url) {
  const { name } = route.more;
  if (typeof name === "function") return name(params, url);
  if (name === undefined) return decoded(url.pathname).slice(1);
  return name.replace(/<([^<>]+)>/g, (part, key) => params[key] ?? part);
}
