/** What the page did not say. */
import type { Clock, ConnectOptions, MessageOptions, Options, Transport } from "./api.js";
export type Settings = Omit<Options & MessageOptions & ConnectOptions, keyof Defaults> & Defaults & Own;
export type Defaults = {
    wait: number;
    silence: number;
    timeout: number;
    buffer: number;
    commit: "before" | "after";
    random: () => number;
    fetch: typeof fetch;
    parse: (text: string) => any;
    stringify: (data: any) => string;
    clock: Clock;
};
export type Own = {
    /**
     * hears of one that works, for the next page
     */
    remember?: (transport: Transport) => void;
    /**
     * ms until the first message of a connection
     */
    patience?: () => number;
    /**
     * hears that a connection brings messages as they come
     */
    won?: () => void;
    /**
     * hears that it brings them too late
     */
    lumpy?: () => void;
    /**
     * hears that a request goes out
     */
    sending?: () => void;
};
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
export declare const LONGEST: number;
/**
 * Options without those that are undefined, which were not said.
 *
 * @template {object} Said
 * @param {Said} options
 * @returns {Said}
 */
export declare function saidOf<Said extends object>(options: Said): Said;
/**
 * The options with all that the machinery needs.
 *
 * @template {object} [More={}]
 * @param {Options | ConnectOptions} options
 * @param {More} [more]
 * @returns {Settings & More}
 * @throws {TypeError}
 */
export declare function settingsOf<More extends object = {}>(options: Options | ConnectOptions, more?: More): Settings & More;
