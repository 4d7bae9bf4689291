/**
 * Triolet in a page: follow channels over WebSocket, Server-Sent Events, long polling or short polling.
 *
 *     import { connect } from "/triolet/triolet.js";
 *     const live = connect();
 *     for await (const item of live.follow("/orders/A123/events")) if (item.type === "event") show(item.data);
 *
 * Whatever the network does, a follow gives every event after its cursor once and in order, and a "gap" of what will
 * never come. Works under the policy `default-src 'self'`; writes into no document; depends on nothing. The shapes of all
 * that is given and told are in api.js.
 *
 * `follow`, `Socket` and `command` are the same machinery with less on top: one channel over the transport that is named,
 * the other end of a `@live.socket`, one command.
 */
import { Client, connect } from "./client.js";
import { Unanswered } from "./commands.js";
import { Follow } from "./follow.js";
import { Ended } from "./line.js";
import { Presence } from "./presence.js";
import { EventStreamParser } from "./sse.js";
import { Track, offsetOf } from "./track.js";
import type { MessageOptions, Options, Reply, SendOptions, State } from "./api.js";
export { Client, Ended, EventStreamParser, Follow, Presence, Unanswered, connect, offsetOf };
/**
 * Follows the channel behind a URL until it is closed, over any network.
 *
 * @param {string | URL} url  the channel's URL, as `/orders/A123/events`
 * @param {Options} [options]
 * @returns {Track}
 */
export declare function follow(url: string | URL, options?: Options): Track;
/**
 * Asks the server for something that is to happen once: a POST with an `Idempotency-Key`, sent again under this id
 * until it is answered. A handle's `command` does the same with the handle's options, seen from its URL, and over its
 * WebSocket while it has one that is open. 16 are asked at once, the others wait in order, 1,000 at most.
 *
 * @template [Data=any]
 * @param {string | URL} url  of the app's command, as `/orders/A123/pick`
 * @param {any} [data]  what JSON can say
 * @param {SendOptions & Options} [options]  `timeout`: default 60,000 ms
 * @returns {Promise<Reply<Data>>} whatever the app answered, its refusals too
 * @throws {Unanswered} when the time is over or the signal aborted; its `sent` says whether it may have happened
 */
export declare function command<Data = any>(url: string | URL, data?: any, options?: SendOptions & Options): Promise<Reply<Data>>;
/**
 * The URL of a channel with a ticket in it, for an `EventSource` of the page's own, which can send no token. A ticket
 * lets in once, within half a minute: when that stream has ended, ask for another. `follow` needs none.
 *
 * @param {string | URL} url
 * @param {Options} [options]  its token, headers and fetch
 * @returns {Promise<string>}
 * @throws {Ended} where the server gives none
 */
export declare function ticketed(url: string | URL, options?: Options): Promise<string>;
/** One WebSocket for many channels and for the app's own messages: the other end of `@live.socket`. */
export declare class Socket {
    #private;
    /** @type {State} of the WebSocket: connecting, live or gone */
    state: State;
    /**
     * @param {string | URL} url
     * @param {Options & MessageOptions} [options]
     */
    constructor(url: string | URL, options?: Options & MessageOptions);
    /**
     * Follows a channel by its URL, on this socket.
     *
     * @param {string | URL} url
     * @param {Options} [options]
     * @returns {Track}
     * @throws {TypeError} where the URL is another server's
     */
    follow(url: string | URL, options?: Options): Track;
    /**
     * Sends a message to the app.
     *
     * @param {any} data  what JSON can say
     * @returns {boolean} false where there is no connection: then it was not sent
     */
    send(data: any): boolean;
    /**
     * Asks for something that is to happen once, over this WebSocket or, while it is not open, by POST: see `command`.
     * What is on its way when the socket is closed goes on by POST.
     *
     * @template [Data=any]
     * @param {string | URL} url
     * @param {any} [data]
     * @param {SendOptions & Options} [options]
     * @returns {Promise<Reply<Data>>}
     */
    command<Data = any>(url: string | URL, data?: any, options?: SendOptions & Options): Promise<Reply<Data>>;
    /** Ends the connection and all that follows on it. */
    close(): void;
    /** Tries again at once, if it is waiting to. */
    retry(): void;
}
export type * from "./api.js";
