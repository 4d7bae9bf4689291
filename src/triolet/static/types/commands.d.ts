/** What is to happen once: commands, asked again under one id until they are answered. Knows nothing of channels. */
import type { Reply, SendOptions } from "./api.js";
import type { Place } from "./requests.js";
import type { Settings } from "./settings.js";
import type { Message } from "./track.js";
export type Answer = Reply & {
    retry?: number;
};
export type Question = {
    id: string;
    socket: WebSocket;
    promise: Promise<Answer>;
    resolve: (answer: Answer) => void;
    reject: (reason: unknown) => void;
};
/** Nobody knows whether it happened, if it was `sent`. Asking again under the same `id` is safe. */
export declare class Unanswered extends Error {
    /** @type {string} under which it may be asked again */
    id: string;
    /** @type {boolean} whether it may have happened */
    sent: boolean;
    /** @type {string} "Unanswered" */
    name: string;
}
/** An id that nobody else has: 128 bits. A page that is no secure context has no `crypto.randomUUID`. */
export declare function newId(crypto?: Crypto): string;
/** The commands of one client: over its WebSocket while that is open, else by POST. */
export declare class Commands {
    #private;
    /** How many have been asked for, and wait for their answer. */
    get unanswered(): number;
    /**
     * @param {Place} [base]  the URL from which those of commands are seen
     * @param {(unanswered: number) => void} [changed]
     */
    constructor(base?: Place, changed?: (unanswered: number) => void);
    /** The network may be back: what waits is asked now. */
    wake(): void;
    /** Over this WebSocket from now on. @param {WebSocket} socket */
    use(socket: WebSocket): void;
    /** This WebSocket is gone: what was asked over it is asked again. @param {WebSocket | null} socket */
    lose(socket: WebSocket | null): void;
    /** Takes a "reply". @param {Message} reply */
    hear({ id, status, data, retry, repeated }: Message): void;
    /**
     * See `command` of triolet.js.
     *
     * @param {string | URL} url
     * @param {any} data
     * @param {SendOptions & Settings} options
     * @returns {Promise<Reply>}
     */
    send(url: string | URL, data: any, options: SendOptions & Settings): Promise<Reply>;
}
