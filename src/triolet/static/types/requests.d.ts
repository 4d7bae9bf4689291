/** Requests, and what their answers say about asking again. */
import { Ended } from "./line.js";
import type { Options } from "./api.js";
import type { Line } from "./line.js";
import type { Settings } from "./settings.js";
export type HeaderMap = Record<string, string>;
export type Place = string | URL | null | undefined;
/** A page where a channel should be will not become one. @param {string} [found] */
export declare function login(found?: string): Ended;
/** Closings that an answer can name too, in its `error`. @type {Record<number, string>} */
export declare const REASONS: Record<number, string>;
/**
 * A URL, as `fetch` takes it: from where another stands, or from the page. What stands behind a # is the page's own.
 *
 * @param {Place} url
 * @param {Place} [base]
 * @returns {URL}
 */
export declare function locate(url: Place, base?: Place): URL;
/** A channel's URL, asked something. @param {Place} url @param {Record<string, any>} query */
export declare function address(url: Place, query: Record<string, any>): URL;
/** Ms until an answer wants to be asked again; undefined where it does not say. @param {Response} response */
export declare function retryAfter(response: Response): number | undefined;
/**
 * The page's own headers: an object, what `fetch` takes besides, or a function that gives it.
 *
 * @param {Options} options
 * @param {AbortSignal} [signal]
 * @returns {Promise<HeaderMap | undefined>}
 */
export declare function ownHeaders({ headers }: Options, signal?: AbortSignal): Promise<HeaderMap | undefined>;
/**
 * All headers of a request, as they are good now: the page's, who it is, and what the request is for.
 *
 * @param {Options} options
 * @param {AbortSignal | undefined} signal
 * @param {HeaderMap} more
 * @returns {Promise<HeaderMap>}
 */
export declare function allHeaders(options: Options, signal: AbortSignal | undefined, more: HeaderMap): Promise<HeaderMap>;
/** @param {Response} response */
export declare function typeOf(response: Response): string;
/**
 * A page where a channel should be: of a login, of a portal, of an error that calls itself 200.
 *
 * @param {Response} response
 */
export declare function isPage(response: Response): boolean;
/**
 * What an answer is not, for the one who asked for a channel. A page, or another place's answer, will not become one.
 *
 * @param {Response} response
 * @param {string} expected
 */
export declare function checkType(response: Response, expected: string): void;
/** Why an answer is none, and whether to ask again. @param {Response} response */
export declare function failure(response: Response): Promise<Ended>;
/**
 * A request whose answer is 200 or 304, or an error that says whether to ask again.
 *
 * @param {URL} url
 * @param {HeaderMap} headers
 * @param {Settings} options
 * @param {AbortSignal} signal
 */
export declare function request(url: URL, headers: HeaderMap, options: Settings, signal: AbortSignal): Promise<Response>;
/**
 * Asks within the time that a connection may be silent for. `more`: its own headers, and its method and body. `sending` of
 * the options is told right before it goes out.
 *
 * @template T
 * @param {string | URL} url
 * @param {RequestInit & {headers: HeaderMap}} request
 * @param {Settings} options
 * @param {AbortSignal | undefined} outer
 * @param {(response: Response) => Promise<T>} hear
 */
export declare function asked<T>(url: string | URL, { headers, ...more }: RequestInit & {
    headers: HeaderMap;
}, options: Settings, outer: AbortSignal | undefined, hear: (response: Response) => Promise<T>): Promise<T>;
/**
 * Why a WebSocket was not opened, which browsers keep from a page: beside the next try its URL is asked for. What only some
 * pages need is loaded by them alone; where that fails, another try may ask.
 *
 * @param {Ended} why  how it ended
 * @param {Place} url
 * @param {Settings} options
 * @param {Line} line
 */
export declare function askWhy(why: Ended, url: Place, options: Settings, line: Line): void;
