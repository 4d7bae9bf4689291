/** A position in a channel, and the check that nothing is missing. Knows nothing of the network. */
import type { Options, Reply, State } from "./api.js";
export type Message = {
    type: string;
    [field: string]: any;
};
export type TrackOptions = {
    after?: string | number | null;
    /**
     * of "event", "end", "snapshot", "gap", "live", "tell", "fault",
     * "beat", "lag", "expiring" and "renewed" what is said, of "state" the state and why; and the track
     */
    hear: (name: string, ...said: any[]) => void;
    /**
     * a promise of when the page takes more
     */
    room?: (() => Promise<void> | null) | null;
};
export type Owner = {
    leave: (track: Track) => void;
    retry: (track: Track) => void;
    command: (url: string | URL, data?: any, options?: any) => Promise<Reply>;
};
/**
 * @import { Options, Reply, State, Why } from "./api.js"
 *
 * @typedef {{type: string, [field: string]: any}} Message  of the protocol: what the server promises is not checked twice
 *
 * @typedef {Object} TrackOptions
 * @property {string | number | null} [after]
 * @property {(name: string, ...said: any[]) => void} hear  of "event", "end", "snapshot", "gap", "live", "tell", "fault",
 *     "beat", "lag", "expiring" and "renewed" what is said, of "state" the state and why; and the track
 * @property {(() => Promise<void> | null) | null} [room]  a promise of when the page takes more
 *
 * @typedef {Object} Owner  of a track: who can do what it is asked for
 * @property {(track: Track) => void} leave
 * @property {(track: Track) => void} retry
 * @property {(url: string | URL, data?: any, options?: any) => Promise<Reply>} command
 */
/** What a page is told of "expiring" and "renewed". @param {Message} message */
export declare function ofIdentity({ type, in: left, refused }: Message): {
    in: any;
    refused: any;
} | {
    refused?: undefined;
    in: any;
};
/** Whether one cursor is known to stand before another. @param {string | null} one @param {string | null} other */
export declare function isBefore(one: string | null, other: string | null): boolean;
/** The number of an event within its channel: 1043 for "5f3a.1043". @param {string} cursor */
export declare function offsetOf(cursor: string): number;
/** @param {string} cursor */
export declare function epochOf(cursor: string): string;
/**
 * A position in a channel: what `follow` returns. It checks that offsets come without a hole, unless the server says
 * that this client may not see every event.
 *
 * A hole that the server did not announce is a fault: `onFault` hears of it, and the connection is made anew from the
 * last good cursor. When the events are missing again, `onGap` gets them as lost (reason "hole"), and it goes on.
 * A repeated event is a fault too, and is not delivered again.
 */
export declare class Track {
    #private;
    /** @type {string | null} the URL that is followed; null where the app on the server chose the channel */
    url: string | null;
    /** @type {string | null} the channel's name, once the server has said it */
    channel: string | null;
    /** @type {boolean} whether the server keeps events back that this client may not see */
    filtered: boolean;
    /** @type {boolean} whether what it gets is also for others, who began earlier: then a repeat is no fault @internal */
    isShared: boolean;
    /** @type {State} whether it is up to date */
    state: State;
    /** @type {string | null} where the page started */
    start: string | null;
    /** @type {string | null} the newest event that was delivered: keep it, to go on from it after a reload */
    cursor: string | null;
    /** @type {number} how many events are known to exist and have not come yet, see `expect` */
    get lag(): number;
    /**
     * Tells of an event that is known from elsewhere (the answer to a POST), so that `lag` counts it.
     *
     * @param {string} cursor
     */
    expect(cursor: string): void;
    /** Ends following. */
    close(): void;
    /** Tries again at once, if it is waiting to. A browser's "online" event does so by itself. */
    retry(): void;
    /**
     * Asks for something that is to happen once: see `command`.
     *
     * @template [Data=any]
     * @param {string | URL} url
     * @param {any} [data]
     * @param {import("./api.js").SendOptions & Options} [options]
     * @returns {Promise<Reply<Data>>}
     */
    command<Data = any>(url: string | URL, data?: any, options?: import("./api.js").SendOptions & Options): Promise<Reply<Data>>;
}
