/** One connection that is kept up: silence, backoff, coming back. Knows nothing of channels. */
import type { Clock, State, Why } from "./api.js";
import type { Settings } from "./settings.js";
import type { Message } from "./track.js";
/** Why a connection ended. Whether it is tried again is in `retry`. */
export declare class Ended extends Error {
    /** @type {string} "Ended" */
    name: string;
    /** @type {number | undefined} the closing: 4401 (expired), 4403 (revoked or refused), or another of a WebSocket's */
    code: number | undefined;
    /** @type {number | undefined} of HTTP */
    status: number | undefined;
    /** @type {number | null | undefined} ms until the next try; null: there is none; undefined: the client's own backoff */
    retry: number | null | undefined;
    /** @type {string} one word of it, where there is one; else the message */
    reason: string;
}
/**
 * An error of whatever kind, as the end of a connection: one that may pass.
 *
 * @param {any} error
 * @param {{reason: string}} [more]
 * @returns {Ended}
 */
export declare function asEnded(error: any, more?: {
    reason: string;
}): Ended;
/**
 * Calls the page's code. What it throws, or its promise does, is the page's error: it is reported as such and ends no
 * connection, nor a program in Node.
 *
 * @param {((...said: any[]) => unknown) | null | undefined} callback
 * @param {...any} args
 */
export declare function tell(callback: ((...said: any[]) => unknown) | null | undefined, ...args: any[]): void;
/** Tells of an error of the page's, as the browser tells of one that nobody has caught. @param {unknown} error */
export declare function report(error: unknown): void;
/**
 * How long to wait before try `attempt` (the first is 0): so many ms as were `said`, else drawn from the whole range, so
 * that clients spread. However little is said or drawn, nobody is asked again and again without a pause: `idle` tries
 * before this one have brought nothing.
 *
 * @param {number} attempt
 * @param {{random: () => number}} options
 * @param {number} [said]
 */
export declare function backoff(attempt: number, { random }: {
    random: () => number;
}, said?: number, idle?: number): number;
/**
 * Calls when the signal is aborted, or at once where it is.
 *
 * @param {AbortSignal | null | undefined} signal
 * @param {() => void} call
 * @returns {() => void} what makes an end of that
 */
export declare function onAbort(signal: AbortSignal | null | undefined, call: () => void): () => void;
/**
 * What a promise gives; but once the signal is aborted its reason is thrown, whatever becomes of the promise.
 *
 * @template T
 * @param {T | PromiseLike<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export declare function unlessAborted<T>(promise: T | PromiseLike<T>, signal?: AbortSignal): Promise<T>;
/**
 * Waits, or less: until `early` is settled, if that is given. Throws the signal's reason once it is aborted.
 *
 * @param {number} ms
 * @param {{clock: Clock}} options
 * @param {AbortSignal} [signal]
 * @param {Promise<void>} [early]
 */
export declare function pause(ms: number, { clock }: {
    clock: Clock;
}, signal?: AbortSignal, early?: Promise<void>): Promise<void>;
/**
 * Calls with a signal that is aborted after `ms`, with `late()` for a reason, or with the outer one's.
 *
 * @template T
 * @param {number} ms
 * @param {() => Error} late
 * @param {{clock: Clock}} options
 * @param {AbortSignal | undefined} outer
 * @param {(signal: AbortSignal) => T | PromiseLike<T>} call
 */
export declare function within<T>(ms: number, late: () => Error, { clock }: {
    clock: Clock;
}, outer: AbortSignal | undefined, call: (signal: AbortSignal) => T | PromiseLike<T>): Promise<T>;
/**
 * Keeps one connection up: connects, notices silence, waits with backoff and full jitter, connects again; lets go of it
 * while the browser keeps the page for later, and looks after it when the page wakes.
 *
 * `connect(signal)` is one connection, from its first byte to its end, which it throws. `ended(why)` hears of each end, and
 * may say when to try again. `change(state, why)` hears of "connecting" between two, and "gone".
 */
export declare class Line {
    #private;
    closed: boolean;
    /** Aborted with its end: what is asked beside it is of no use then. */
    over: AbortController;
    /**
     * @param {(signal: AbortSignal) => Promise<unknown>} connect
     * @param {(why: Ended) => void} ended
     * @param {(state: State | undefined, why: Why) => void} change
     * @param {Settings} options
     */
    constructor(connect: (signal: AbortSignal) => Promise<unknown>, ended: (why: Ended) => void, change: (state: State | undefined, why: Why) => void, options: Settings);
    /** Whether the present connection is known to bring its messages. */
    get isHeardOf(): boolean;
    /** Whether to ask why nothing comes of it: at first, and where it has worked, after a while; then ever again. */
    get isDoubtful(): boolean;
    /**
     * Word from beside the connection that there will be none: the end, unless another credential may help.
     *
     * @param {Ended} why
     */
    refuse(why: Ended): void;
    /** From now on something is due within so many ms: the connection counts as lost when nothing comes. */
    listen(ms?: number): void;
    /** Nothing is due. */
    rest(): void;
    /** Learns from a message: beats in a row show their pace, some messages that all is well. @param {Message} message */
    heard(message: Message): void;
    /** Tells of what went wrong beside a connection that stands. @param {Why} why */
    trouble(why: Why): void;
    /** Waits until it is woken, or for so many ms if any are given. @returns {Promise<void>} */
    sleep(ms?: number): Promise<void>;
    /** Tries at once, if it waits. */
    retry(): void;
    /** Ends the present connection, and makes another: at once, if no reason is given that says otherwise. */
    again(why?: Ended): void;
    /** The browser may keep the page for long: an open connection would hinder it, and would be dead in the end. */
    pause(): void;
    /**
     * Somebody looks at the page, or the network is back. What has been silent for longer than a beat is made anew. Here, and
     * only here, the other clock counts too: the monotonic one may have stood still while the machine slept, and a jump of
     * the other costs no more than a connection.
     */
    wake(): void;
    /** @param {Ended} [error] */
    close(error?: Ended): void;
}
