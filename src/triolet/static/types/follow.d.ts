/** What the page has of a channel that it follows: items in order, no more of them than it takes. */
import { Track } from "./track.js";
import type { Clock, FollowHandler, FollowName, FollowOptions, Item, State, Store, Why } from "./api.js";
export type FollowSettings = Omit<FollowOptions, "store"> & {
    buffer: number;
    commit: "before" | "after";
    clock: Clock;
    store: Store | null;
};
export type FollowOwner = {
    begin: (track: Track) => unknown;
    leave: (track: Track) => unknown;
    changed: (follow: any, why: Why) => void;
};
/**
 * A follow: an async iterable, for one reader, or handlers that are called with one item after the other. What comes
 * waits until there is one or the other; of more than `buffer` items the connection is left unread, or, where it is
 * a WebSocket, this subscription is given up until the page has taken half of them.
 *
 * The iteration ends with the follow: `state` is "gone" then, and `why` says why.
 *
 * @template {Record<string, any>} [Events=Record<string, any>]
 */
export declare class Follow<Events extends Record<string, any> = Record<string, any>> {
    #private;
    /** @type {string} what is followed, as an absolute URL */
    url: string;
    /** @type {Why} why it is as it is, at "gone" above all */
    why: Why;
    /** @type {State} whether it is up to date */
    get state(): State;
    /** @type {string | null} the channel's name, once the server has said it */
    get channel(): string | null;
    /** @type {boolean} whether the server keeps events back that this client may not see */
    get filtered(): boolean;
    /** @type {string | null} the page has taken everything up to here: what it would go on from */
    get cursor(): string | null;
    /** @type {number} items that wait for the page, and events that are known to exist and have not come */
    get behind(): number;
    /**
     * Tells of an event that is known from elsewhere (the answer to a POST), so that `behind` counts it.
     *
     * @param {string} cursor
     */
    expect(cursor: string): void;
    /**
     * Calls on an item, or on what happens to the follow: by a name of the client's, see `FollowHandlers`, or of an event of
     * the app's. All are called one after the other, in the order of the items, but for those that say otherwise.
     *
     * @template {FollowName<Events>} Name
     * @param {Name} name
     * @param {FollowHandler<Events, NoInfer<Name>>} call
     * @returns {() => void} takes it off again
     */
    on<Name extends FollowName<Events>>(name: Name, call: FollowHandler<Events, NoInfer<Name>>): () => void;
    /**
     * The items, for one reader; who leaves the loop has left the channel.
     *
     * @returns {AsyncIterableIterator<Item<Events>>}
     */
    [Symbol.asyncIterator](): AsyncIterableIterator<Item<Events>>;
    /** The items as a stream of the web's; cancelled, it ends the follow. @returns {ReadableStream<Item<Events>>} */
    readable(): ReadableStream<Item<Events>>;
    /**
     * Once it is live.
     *
     * @param {{signal?: AbortSignal}} [options]
     * @returns {Promise<void>}
     * @throws {Ended} when it is gone; or the signal's reason
     */
    ready({ signal }?: {
        signal?: AbortSignal;
    }): Promise<void>;
    /**
     * Stores that the page is done with the item that it took last: in an iteration the next one says so besides.
     *
     * @returns {Promise<void> | undefined}
     */
    commit(): Promise<void> | undefined;
    /** Leaves, also before the server has answered. */
    close(): void;
}
