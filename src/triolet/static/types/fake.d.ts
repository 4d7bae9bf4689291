/**
 * A server for tests of pages that are written on `connect()`: no network, no process, no waiting.
 *
 *     import { fakeServer } from "triolet-client/fake";
 *     const server = fakeServer();
 *     const live = connect("https://shop.test", server.options);
 *     server.channel("/orders/<id>/events");
 *     showOrder(live, "A1");                                              // the page's own code
 *     server.publish("/orders/A1/events", { state: "paid" }, { event: "order-status" });
 *     await server.settle();
 *
 * It has a log of its own, and says on all transports what a Triolet server says. What goes wrong in the test itself (a URL
 * that nobody serves, a handler that throws) is thrown by the next `settle`, `advance` or `close`.
 *
 * @typedef {Object} FakeOptions  of `fakeServer`
 * @property {"virtual" | "real"} [clock]  "virtual" (default): time goes on by `advance` alone, for the client too. "real":
 *     timers are those of the page, or your runner's fake ones
 * @property {number} [keep]  events of a channel that are kept, default 10,000 as on the server
 * @property {() => number} [random]  what client and server draw, default always 0.5
 * @property {number} [patience]  real ms until `settle` gives a condition up, default 2,000
 *
 * @typedef {Record<string, string>} Params  the parts of a rule, `<id>` as `id`
 *
 * @typedef {Object} Identity  who a client is
 * @property {string} [subject]  who it is: a credential is renewed by one of the same subject
 * @property {number} [expiresAt]  ms since 1970, by `server.time`
 *
 * @typedef {Object} Answer  of a command
 * @property {number} [status]  default 200. What is 5xx, 408, 425 or 429 is not kept, and the client asks again where it may
 * @property {any} [data]  what JSON can say
 * @property {number} [retry]  ms after which to ask again
 *
 * @typedef {Object} FakeCommand  one that has taken effect
 * @property {string} id  the client's
 * @property {string} url  path and query
 * @property {any} data  what was sent with it
 *
 * @typedef {Object} Asked  what a command's handler is told besides
 * @property {string} id  the client's
 * @property {string} url  path and query
 * @property {Params} params  of the rule
 * @property {string | null} token  the client's
 * @property {(url: string | URL, data: any, options?: PublishOptions) => void} publish  with the answer, if that is below 400
 *
 * @typedef {(data: any, asked: Asked) => Answer | void | Promise<Answer | void>} CommandHandler  what
 *     a command is answered; nothing is 200
 *
 * @typedef {Object} PublishOptions  of an event
 * @property {string} [event]  its name, default "message"
 * @property {string} [key]  what it is about
 * @property {"concat" | "latest" | "merge" | "sum"} [fold]  how it goes together with the one before it of this name and key
 * @property {number} [time]  ms since 1970, default `server.time`
 *
 * @typedef {Object} TellOptions  of what is only for now
 * @property {string} [event]  its name, default "message"
 * @property {string} [key]  what it is about
 *
 * @typedef {Object} ChannelOptions
 * @property {string | ((params: Params, url: URL) => string)} [name]  the channel's name, as `orders/<id>`; default the URL's
 *     path. Two URLs may have one channel
 * @property {(params: Params, url: URL) => any} [snapshot]  gives the channel's state of now; undefined: the app fails to
 *
 * @typedef {Object} FakeConnection  a page at the other end of a socket
 * @property {string | null} token  the page's
 * @property {(data: any) => void} send  says something to it
 * @property {(url: string | URL, options?: {after?: string | number}) => void} follow  the app follows a channel for it
 * @property {(url: string | URL) => void} unfollow  and no longer
 *
 * @typedef {Object} SocketHandlers  what the app does at its end of a socket
 * @property {(connection: FakeConnection) => void} [open]  a page has come
 * @property {(data: any, connection: FakeConnection) => void} [message]  it says something
 */
export type FakeOptions = {
    /**
     * "virtual" (default): time goes on by `advance` alone, for the client too. "real":
     * timers are those of the page, or your runner's fake ones
     */
    clock?: "virtual" | "real";
    /**
     * events of a channel that are kept, default 10,000 as on the server
     */
    keep?: number;
    /**
     * what client and server draw, default always 0.5
     */
    random?: () => number;
    /**
     * real ms until `settle` gives a condition up, default 2,000
     */
    patience?: number;
};
export type Params = Record<string, string>;
export type Identity = {
    /**
     * who it is: a credential is renewed by one of the same subject
     */
    subject?: string;
    /**
     * ms since 1970, by `server.time`
     */
    expiresAt?: number;
};
export type Answer = {
    /**
     * default 200. What is 5xx, 408, 425 or 429 is not kept, and the client asks again where it may
     */
    status?: number;
    /**
     * what JSON can say
     */
    data?: any;
    /**
     * ms after which to ask again
     */
    retry?: number;
};
export type FakeCommand = {
    /**
     * the client's
     */
    id: string;
    /**
     * path and query
     */
    url: string;
    /**
     * what was sent with it
     */
    data: any;
};
export type Asked = {
    /**
     * the client's
     */
    id: string;
    /**
     * path and query
     */
    url: string;
    /**
     * of the rule
     */
    params: Params;
    /**
     * the client's
     */
    token: string | null;
    /**
     * with the answer, if that is below 400
     */
    publish: (url: string | URL, data: any, options?: PublishOptions) => void;
};
export type CommandHandler = (data: any, asked: Asked) => Answer | void | Promise<Answer | void>;
export type PublishOptions = {
    /**
     * its name, default "message"
     */
    event?: string;
    /**
     * what it is about
     */
    key?: string;
    /**
     * how it goes together with the one before it of this name and key
     */
    fold?: "concat" | "latest" | "merge" | "sum";
    /**
     * ms since 1970, default `server.time`
     */
    time?: number;
};
export type TellOptions = {
    /**
     * its name, default "message"
     */
    event?: string;
    /**
     * what it is about
     */
    key?: string;
};
export type ChannelOptions = {
    /**
     * the channel's name, as `orders/<id>`; default the URL's
     * path. Two URLs may have one channel
     */
    name?: string | ((params: Params, url: URL) => string);
    /**
     * gives the channel's state of now; undefined: the app fails to
     */
    snapshot?: (params: Params, url: URL) => any;
};
export type FakeConnection = {
    /**
     * the page's
     */
    token: string | null;
    /**
     * says something to it
     */
    send: (data: any) => void;
    /**
     * the app follows a channel for it
     */
    follow: (url: string | URL, options?: {
        after?: string | number;
    }) => void;
    /**
     * and no longer
     */
    unfollow: (url: string | URL) => void;
};
export type SocketHandlers = {
    /**
     * a page has come
     */
    open?: (connection: FakeConnection) => void;
    /**
     * it says something
     */
    message?: (data: any, connection: FakeConnection) => void;
};
import { Page } from "./fake-clock.js";
/** What `fakeServer` returns. */
export declare class FakeServer {
    #private;
    /**
     * The page that the client thinks it is in: `await server.page.say("pagehide")`, `server.page.turn("hidden")`.
     * @type {Page}
     */
    page: Page;
    /**
     * What `connect` is to be given: spread more of your own into it.
     * @type {import("./api.js").ConnectOptions}
     */
    options: import("./api.js").ConnectOptions;
    /** @param {FakeOptions} [options]  @throws {TypeError} */
    constructor({ clock, keep, random, patience }?: FakeOptions);
    /** What time it is on the server, in ms since 1970. @type {number} */
    get time(): number;
    /**
     * Serves a channel. What is published to a URL is served there in any case.
     *
     * @param {string | URL} url  a rule: `/orders/<id>/events`
     * @param {ChannelOptions} [options]
     */
    channel(url: string | URL, { name, snapshot }?: ChannelOptions): void;
    /**
     * Serves a command: it takes effect once for each id, and a repeat is given the answer of then.
     *
     * For a late answer `await server.wait(ms)` in the handler, for none at all `server.wait(Infinity)`.
     *
     * @param {string | URL} url  a rule
     * @param {Answer | CommandHandler} answer
     */
    command(url: string | URL, answer: Answer | CommandHandler): void;
    /** Serves a `live.socket`. @param {string | URL} url  a rule @param {SocketHandlers} [handlers] */
    socket(url: string | URL, { open, message }?: SocketHandlers): void;
    /**
     * Says who a client is by its token (null: it has none): an identity, or null for one that is refused, 401. Without
     * this everybody is let in.
     *
     * @param {(token: ?string) => Identity | null} call
     */
    identify(call: (token: string | null) => Identity | null): void;
    /**
     * Publishes an event.
     *
     * @param {string | URL} url  of the channel
     * @param {any} data  what JSON can say
     * @param {PublishOptions} [options]
     * @returns {import("./api.js").LiveEvent} as the page will hear it
     * @throws {TypeError} where the server would refuse it too
     * @throws {Error} where the channel has ended
     */
    publish(url: string | URL, data: any, { event, key, fold, time }?: PublishOptions): import("./api.js").LiveEvent;
    /**
     * Ends a channel: who follows it, or comes later, is told so, and does not come back. To end twice is to end once.
     *
     * @param {string | URL} url  of the channel
     * @param {any} [data]  what clients get with the end
     * @returns {import("./api.js").End} as the page will hear it
     */
    end(url: string | URL, data?: any): import("./api.js").End;
    /**
     * Forgets all events of a channel: who follows it is told that it has ended, with `{outcome: "deleted"}`. It can be
     * published to again, and goes on with the offsets that it had.
     *
     * @param {string | URL} url  of the channel
     */
    delete(url: string | URL): void;
    /**
     * Tells what is only for now, to who follows at this moment by a stream, or waits in a long poll.
     *
     * @param {string | URL} url  of the channel
     * @param {any} data  what JSON can say
     * @param {TellOptions} [options]
     */
    tell(url: string | URL, data: any, { event, key }?: TellOptions): void;
    /**
     * So many events were published that nobody will ever get: who follows is told a gap, and goes on behind it.
     *
     * @param {string | URL} url
     * @param {number} [missed]
     * @param {"expired" | "skipped"} [reason]  for "epoch" and "future" see `restart`
     */
    gap(url: string | URL, missed?: number, reason?: "expired" | "skipped"): void;
    /**
     * Somebody is present, by the channel that tells joins and leaves: one session more of this member.
     *
     * @param {string | URL} url  of that channel, as `live.presence` is given it
     * @param {string} member
     * @param {any} [info]
     * @returns {string} the session's name
     */
    join(url: string | URL, member: string, info?: any): string;
    /** A session has left, or all of a member. @param {string | URL} url @param {string} who  a session, or a member */
    leave(url: string | URL, who: string): void;
    /** Says something to all pages at a socket. @param {string | URL} url @param {any} data */
    say(url: string | URL, data: any): void;
    /** A beat to all that are connected, beside those that come by themselves. @param {{stale?: boolean}} [more] */
    beat(more?: {
        stale?: boolean;
    }): void;
    /** Whether there is a network. Without it all breaks; the page hears "offline" and "online". @type {boolean} */
    get online(): boolean;
    set online(isOnline: boolean);
    /** All connections break, as when a phone changes its network. What was under way is lost. */
    drop(): void;
    /** All connections go dead without a word: nobody is told, and the client finds out by the silence. */
    vanish(): void;
    /**
     * The server says goodbye to all, and is there again.
     *
     * @param {{lose?: number | "all"}} [options]  so many of each channel's newest events are lost with it: who has seen them
     *     hears a gap, "future". "all": the log is begun anew, and who comes back hears "epoch"
     */
    restart({ lose }?: {
        lose?: number | "all";
    }): void;
    /**
     * A URL is refused from now on. What is open stays: see `revoke`.
     *
     * @param {string | URL} url  a rule, of a channel, a command or a socket
     * @param {number | "login"} [status]  "login" is a page of HTML in place of it, as where a session has ended
     * @param {{retry?: number}} [options]  ms after which to ask again, for a status that may pass
     */
    refuse(url: string | URL, status?: number | "login", { retry }?: {
        retry?: number;
    }): void;
    /** Takes a refusal back. @param {string | URL} url  as it was refused */
    allow(url: string | URL): void;
    /** Who follows a channel has lost the right to (4403), or everybody that is connected. @param {string | URL} [url] */
    revoke(url?: string | URL): void;
    /**
     * What clients were let in with runs out: they are warned (`expiring`), and end (4401) unless they renew it. The same
     * token is refused from then on, 401.
     *
     * @param {{token?: ?string, in?: number}} [options]  `token`: default all that have come, null among them, which is none;
     *     `in`: ms from now, default 0; `Infinity`: it is good for ever again
     */
    expire({ token, in: left }?: {
        token?: string | null;
        in?: number;
    }): void;
    /** The commands that took effect, in order. @type {FakeCommand[]} */
    get commands(): FakeCommand[];
    /** How many streams and waiting polls there are of a channel. @param {string | URL} url @returns {number} */
    followers(url: string | URL): number;
    /** In a handler: so many ms later, by the server's clock; with `Infinity` never. @param {number} ms @returns {Promise<void>} */
    wait(ms: number): Promise<void>;
    /**
     * Until nothing stirs any more: all that was said has been heard, and answered. What waits for time goes on waiting.
     *
     * With a condition: until that is true too. It is asked again and again, and what it throws means "not yet".
     *
     * @template T
     * @param {() => T | Promise<T>} [condition]
     * @returns {Promise<T>} what it returned
     * @throws {Error} what went wrong in the test, or what is still waited for
     */
    settle<T>(condition?: () => T | Promise<T>): Promise<T>;
    /**
     * Lets virtual time go on: timers fire in order, and between any two everything settles.
     *
     * @param {number} ms
     * @returns {Promise<void>}
     */
    advance(ms: number): Promise<void>;
    /** Closes it, and all clients that have its options. @throws {Error} what went wrong in the test, if nobody was told yet */
    close(): void;
}
/**
 * A server for tests, in memory.
 *
 * @param {FakeOptions} [options]
 * @returns {FakeServer}
 */
export declare function fakeServer(options?: FakeOptions): FakeServer;
