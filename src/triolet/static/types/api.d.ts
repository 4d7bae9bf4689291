/**
 * The shapes of the client's public face, for readers, for TypeScript and for the documentation. Nothing here runs.
 *
 * `Events` is an app's own: the names of a channel's events, and of what type their data are, as
 * `{ "order-status": { state: string } }`. Who gives none may have any.
 */
export type Transport = "websocket" | "sse" | "long-poll" | "poll";
export type State = "connecting" | "behind" | "live" | "gone";
export type ClientState = "idle" | State;
export type Why = {
    /**
     * ms until the next try
     */
    retry?: number;
    /**
     * in a word: "unreachable" (no answer: no network, no server, or another origin that does not let
     * the page in), "silent", "paused", "ended", "expired", "revoked", "refused", "login", "closed" …; or as the error's message
     */
    reason?: string;
    /**
     * with the status of an answer, or the code of a closing: 1006 of a WebSocket that
     * broke, or never opened, of which a browser tells no more
     */
    error?: import("./line.js").Ended;
};
export type LiveEvent<Name extends string = string, Data = any> = {
    type: "event";
    /**
     * its name, as the app on the server has it
     */
    channel: string;
    /**
     * its cursor
     */
    id: string;
    /**
     * its name; "message" where the app gave none
     */
    event: Name;
    data: Data;
    /**
     * when it was published, in ms since 1970 by the server's clock
     */
    time: number;
    /**
     * what the app says it is about, where it does
     */
    key?: string;
    /**
     * how it goes together with what came before it of the same key, where it does: see `apply` in
     * `triolet-client/folds`
     */
    fold?: string;
    /**
     * how many events it stands for, up to its own cursor: 1, or more where `fold` was asked for
     */
    folded: number;
};
export type End = {
    type: "end";
    /**
     * its name
     */
    channel: string;
    /**
     * its own
     */
    cursor: string;
    /**
     * what the app has said with it; `{outcome: "deleted"}` where the channel's events were deleted
     */
    data: any;
    /**
     * when that was, in ms since 1970 by the server's clock
     */
    time: number;
};
export type Snapshot = {
    type: "snapshot";
    /**
     * its name
     */
    channel: string;
    /**
     * its events up to here are in it
     */
    cursor: string;
    /**
     * the state
     */
    data: any;
    /**
     * how many events are not in it that should be; null where nobody can know it
     */
    missed: number | null;
};
export type Tell = {
    /**
     * its name
     */
    channel: string;
    /**
     * what kind of thing it is
     */
    event: string;
    data: any;
    /**
     * what it is about, where the app says so
     */
    key?: string;
};
export type Gap = {
    type: "gap";
    /**
     * its name
     */
    channel: string;
    /**
     * the cursor after which they stood
     */
    from: string;
    /**
     * that of the last of them
     */
    to: string;
    /**
     * how many; null where nobody can know it
     */
    missed: number | null;
    /**
     * the server's word (expired, epoch, future, skipped, conflated), or "hole": a broken promise of
     * the server's. After "conflated" the newest event of each key follows
     */
    reason: string;
};
export type Live = {
    type: "live";
    /**
     * its name
     */
    channel: string;
    /**
     * up to here
     */
    cursor: string;
};
export type EventOf<Events extends Record<string, any>> = {
    [Name in keyof Events & string]: LiveEvent<Name, Events[Name]>;
}[keyof Events & string];
export type Item<Events extends Record<string, any> = Record<string, any>> = EventOf<Events> | End | Snapshot | Gap | Live;
export type Fault = {
    /**
     * "hole" and "repeat" are broken promises of the
     * server's; "store": the store failed, and the client goes on without; "share": this tab has a connection of its own;
     * "socket": the socket's URL cannot be had, or the socket broke for good (where the server means it to end, "state"
     * says why, as of a channel); "crowded": this follow waits, since others have all the connections that a browser has
     * to one server over HTTP/1.1
     */
    kind: "hole" | "repeat" | "store" | "share" | "socket" | "crowded";
    /**
     * whose promise it was
     */
    channel?: string | null;
    /**
     * the cursor before
     */
    from?: string | null;
    /**
     * the cursor after
     */
    to?: string | null;
    /**
     * of the store, say
     */
    error?: unknown;
};
export type Beat = {
    /**
     * in ms since 1970 by the server's clock
     */
    time: number;
    /**
     * by channel: everything up to here has been sent
     */
    cursors: Record<string, string>;
    /**
     * the server cannot reach its log now, so there may be events that it does not know of
     */
    stale?: boolean;
    /**
     * by the names of follows on one socket: how far each of them is
     */
    places?: Record<string, string>;
};
export type Lag = {
    /**
     * so many events
     */
    behind: number;
    /**
     * what the policy does about it
     */
    step: string;
};
export type Expiring = {
    /**
     * in so many ms
     */
    in: number | null;
    /**
     * the server did not take what it was given
     */
    refused: boolean;
};
export type Renewed = {
    /**
     * for so many ms; null: it does not expire
     */
    in: number | null;
};
export type Reply<Data = any> = {
    /**
     * as of HTTP
     */
    status: number;
    /**
     * what JSON said; a text where it was not JSON
     */
    data: Data;
    /**
     * it had happened before, and this is the answer of then
     */
    repeated: boolean;
};
export type Store = {
    /**
     * the text, or null or undefined where there is none
     */
    get: (key: string) => unknown;
    /**
     * keeps it
     */
    set: (key: string, value: string) => unknown;
};
export type Token = string | null | undefined;
export type ConnectOptions = {
    /**
     * tried in this order; default `["websocket", "sse", "long-poll", "poll"]`
     */
    transports?: Transport[];
    /**
     * the URL of the app's `@live.socket`: one WebSocket then carries all follows, where
     * WebSocket comes first; and where there is none, one event stream or poll, if it has no handler
     */
    socket?: string | URL;
    /**
     * who the page is: a text, or a function that is asked
     * before each connection and each renewal, and again, later, where it fails. It goes out in the header `Authorization`,
     * on a WebSocket as a subprotocol. Pages with a session's cookie need none
     */
    token?: string | null | (() => Token | Promise<Token>);
    /**
     * sent with every request but a
     * WebSocket's; a function is asked anew for each
     */
    headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
    /**
     * one connection for all tabs of this browser that have the same name (true: the
     * base's URL). Clients of different users need different names
     */
    share?: boolean | string;
    /**
     * the cursors survive a reload
     */
    store?: "session" | "indexeddb" | Store | null;
    /**
     * when a cursor is stored: before the page has the event (none comes twice after
     * a reload), or after it is done with it (none is lost; default)
     */
    commit?: "before" | "after";
    /**
     * items that a follow holds for a page that does not take them, default 256
     */
    buffer?: number;
    /**
     * closes the client
     */
    signal?: AbortSignal;
    /**
     * in place of `JSON.parse`, for integers beyond 2^53
     */
    parse?: (text: string) => any;
    /**
     * in place of `JSON.stringify`
     */
    stringify?: (data: any) => string;
    /**
     * seconds that a long poll may be held, default 25
     */
    wait?: number;
    /**
     * ms without a word before a connection counts as lost, default 50,000; once two beats have
     * come, it is two and a half times the time between them
     */
    silence?: number;
    /**
     * ms for a command, default 300,000
     */
    timeout?: number;
    /**
     * over WebSocket: tell the server after so many ms what was applied, so that its operators
     * see how fresh clients are; nothing else depends on it
     */
    acknowledge?: number;
    /**
     * where Triolet's own URLs are, if not where this script came from and not at `/triolet/`
     */
    home?: string | URL;
    /**
     * in place of the browser's, for credentials of another origin, say
     */
    fetch?: typeof fetch;
    /**
     * whether answers of `fetch` have a body that can be read as it comes; where not, as
     * React Native's, events come by polls. Default: as it is found
     */
    fetchesStreams?: boolean;
    /**
     * in place of the browser's, as the others from here on: for tests
     */
    WebSocket?: typeof WebSocket;
    clock?: Clock;
    random?: () => number;
    /**
     * what "pagehide", "pageshow", "freeze", "resume",
     * "visibilitychange", "online" and "offline" come from; default the window and its document
     */
    page?: EventTarget & {
        visibilityState?: string;
    };
    /**
     * which transport has worked, by origin; default one for the whole page
     */
    winners?: Map<string, Transport>;
    locks?: LockManager;
    BroadcastChannel?: typeof BroadcastChannel;
};
export type Clock = {
    setTimeout: (call: () => void, ms: number) => any;
    clearTimeout: (timer: any) => void;
    /**
     * ms, never back: `performance.now`
     */
    now: () => number;
};
export type FollowOptions = {
    /**
     * the cursor to go on from; "0": the oldest event kept; -50: the newest 50; none:
     * from now on. What the store has counts before it
     */
    after?: string | number | null;
    /**
     * gives the channel's state, where the app has one for it: at first, where there is no cursor
     * to go on from, and in place of a gap
     */
    snapshot?: boolean;
    /**
     * of what was missed, events that go together come as one
     */
    fold?: boolean;
    /**
     * the name under which the store keeps this cursor, default the URL
     */
    key?: string;
    /**
     * in place of the client's; null: none
     */
    store?: "session" | "indexeddb" | Store | null;
    /**
     * in place of the client's
     */
    commit?: "before" | "after";
    /**
     * in place of the client's
     */
    buffer?: number;
    /**
     * closes the follow
     */
    signal?: AbortSignal;
};
export type SendOptions = {
    /**
     * to ask again what may have been asked before, by a page that is gone, say
     */
    id?: string;
    /**
     * ms, in place of the client's
     */
    timeout?: number;
    /**
     * gives up: what was sent may have happened
     */
    signal?: AbortSignal;
};
export type PresenceOptions<Info = any> = {
    /**
     * who is there at one moment; default: what the channel
     * tells from its oldest event on
     */
    roster?: () => Roster<Info> | Promise<Roster<Info>>;
    /**
     * ends it
     */
    signal?: AbortSignal;
};
export type Roster<Info = any> = {
    /**
     * each is one connection of a member's
     */
    sessions: {
        member: string;
        session: string;
        info?: Info;
    }[];
    /**
     * of the channel, as of then
     */
    cursor: string;
};
export type Present<Info = any> = {
    /**
     * who it is, as the app has it
     */
    member: string;
    /**
     * what the app says of it
     */
    info: Info;
    /**
     * how many of its connections are open
     */
    sessions: number;
};
export type ClientHandlers = {
    /**
     * it has changed; or it connects still, and another try has failed
     */
    state: (state: ClientState, why: Why) => void;
    transport: (transport: Transport) => void;
    /**
     * what the app's handler says, where there is a `socket`
     */
    message: (data: any) => void;
    /**
     * of channels that the app's handler follows for this client
     */
    event: (event: LiveEvent) => void;
    /**
     * of these
     */
    end: (end: End) => void;
    /**
     * of these
     */
    gap: (gap: Gap) => void;
    /**
     * of these
     */
    tell: (tell: Tell) => void;
    /**
     * of the one socket
     */
    beat: (beat: Beat) => void;
    fault: (fault: Fault) => void;
    /**
     * how many commands wait for their answer
     */
    unanswered: (waiting: number) => void;
    expiring: (warning: Expiring) => void;
    renewed: (renewed: Renewed) => void;
};
export type FollowHandlers<Events extends Record<string, any> = Record<string, any>> = {
    /**
     * every event
     */
    event: (event: EventOf<Events>) => unknown;
    /**
     * the last one
     */
    end: (end: End) => unknown;
    snapshot: (snapshot: Snapshot) => unknown;
    gap: (gap: Gap) => unknown;
    live: (live: Live) => unknown;
    tell: (tell: Tell) => void;
    /**
     * it has changed; or it connects still, and another try has failed
     */
    state: (state: State, why: Why) => void;
    gone: (why: Why) => void;
    fault: (fault: Fault) => void;
    beat: (beat: Beat) => void;
    lag: (lag: Lag) => void;
    expiring: (warning: Expiring) => void;
    renewed: (renewed: Renewed) => void;
};
export type FollowName<Events extends Record<string, any>> = keyof FollowHandlers | (keyof Events & string) | `event:${keyof Events & string}`;
export type FollowHandler<Events extends Record<string, any>, Name extends string> = Name extends keyof FollowHandlers ? FollowHandlers<Events>[Name] : Name extends `event:${infer Own extends keyof Events & string}` ? (event: LiveEvent<Own, Events[Own]>) => unknown : Name extends keyof Events ? (event: LiveEvent<Name, Events[Name]>) => unknown : never;
export type PresenceHandlers<Info = any> = {
    join: (member: Present<Info>) => void;
    leave: (member: Present<Info>) => void;
    /**
     * somebody came, left, or has other `info`
     * or `sessions`
     */
    change: (presence: import("./presence.js").Presence<Info>) => void;
    state: (state: State, why: PresenceWhy) => void;
    gone: (why: PresenceWhy) => void;
};
export type PresenceWhy = {
    retry?: number;
    /**
     * "roster": it failed; "load": a module of this client's could not be loaded
     */
    reason?: string;
    error?: unknown;
};
export type HandleOptions = {
    /**
     * default "sse"
     */
    transport?: Transport;
    /**
     * the cursor to go on from; "0" is the oldest event kept, none is "from now"
     */
    after?: string | number | null;
    /**
     * `handle.state` is "behind" while the event
     * is one of the missed
     */
    onEvent?: (event: LiveEvent, handle: Track) => void;
    /**
     * "live" with an error: a renewal failed. The error's
     * `code` at "gone" is 4401 (expired) or 4403 (revoked, refused) where the page may follow no longer
     */
    onState?: (state: State, why: Why, handle: any) => void;
    /**
     * the channel has ended: it is "gone" then
     */
    onEnd?: (end: End, handle: Track) => void;
    /**
     * without it the console says so
     */
    onGap?: (gap: Gap, handle: Track) => void;
    /**
     * what is only for now
     */
    onTell?: (tell: Tell, handle: Track) => void;
    /**
     * without it the console says so
     */
    onFault?: (fault: Fault, handle: Track) => void;
    onBeat?: (beat: Beat, handle: any) => void;
    onLag?: (lag: Lag, handle: Track) => void;
    /**
     * where `token` is a function an expired one is replaced;
     * with a text that is the end, "expired"
     */
    onExpiring?: (warning: Expiring, handle: any) => void;
    onRenewed?: (renewed: Renewed, handle: any) => void;
    /**
     * where the server has its own URLs, if not where this script was found or at `/triolet/`
     */
    base?: string | URL;
};
export type Options = HandleOptions & Pick<ConnectOptions, "token" | "headers" | "wait" | "silence" | "acknowledge"> & Pick<ConnectOptions, "parse" | "stringify" | "fetch" | "fetchesStreams"> & Pick<ConnectOptions, "WebSocket" | "clock" | "random" | "page">;
export type MessageOptions = {
    /**
     * what the app's handler says
     */
    onMessage?: (data: any, handle: any) => void;
};
export type Parsed = {
    /**
     * its name; "message" where none is given
     */
    event: string;
    data: string;
    /**
     * the newest there was
     */
    id: string;
    /**
     * Triolet's own field, as the others from here on
     */
    time: number | null;
    /**
     * of an event that has a `fold`
     */
    key?: string;
    fold?: string;
    folded?: number;
};
export type Client = import("./client.js").Client;
export type Track = import("./track.js").Track;
/**
 * A way to a channel.
 *
 * @typedef {"websocket" | "sse" | "long-poll" | "poll"} Transport
 */
/**
 * Of a follow: no stream yet, or between two, or paused; catching up; up to date; over.
 *
 * @typedef {"connecting" | "behind" | "live" | "gone"} State
 */
/**
 * Of a client: "idle" while it follows nothing and needs no connection; else the worst of its follows: one that connects
 * before one that is behind, before live; "gone" once it is closed.
 *
 * @typedef {"idle" | State} ClientState
 */
/**
 * What goes with a state: while it connects, why the last connection has ended, or there was none.
 *
 * @typedef {Object} Why
 * @property {number} [retry]  ms until the next try
 * @property {string} [reason]  in a word: "unreachable" (no answer: no network, no server, or another origin that does not let
 *     the page in), "silent", "paused", "ended", "expired", "revoked", "refused", "login", "closed" …; or as the error's message
 * @property {import("./line.js").Ended} [error]  with the status of an answer, or the code of a closing: 1006 of a WebSocket that
 *     broke, or never opened, of which a browser tells no more
 */
/**
 * An event of the app's.
 *
 * @template {string} [Name=string]
 * @template [Data=any]
 * @typedef {Object} LiveEvent
 * @property {"event"} type
 * @property {string} channel  its name, as the app on the server has it
 * @property {string} id  its cursor
 * @property {Name} event  its name; "message" where the app gave none
 * @property {Data} data
 * @property {number} time  when it was published, in ms since 1970 by the server's clock
 * @property {string} [key]  what the app says it is about, where it does
 * @property {string} [fold]  how it goes together with what came before it of the same key, where it does: see `apply` in
 *     `triolet-client/folds`
 * @property {number} folded  how many events it stands for, up to its own cursor: 1, or more where `fold` was asked for
 */
/**
 * The channel has ended: this is the last item there is.
 *
 * @typedef {Object} End
 * @property {"end"} type
 * @property {string} channel  its name
 * @property {string} cursor  its own
 * @property {any} data  what the app has said with it; `{outcome: "deleted"}` where the channel's events were deleted
 * @property {number} time  when that was, in ms since 1970 by the server's clock
 */
/**
 * The channel's state, where `snapshot` was asked for: throw away what was there before, and go on from here.
 *
 * @typedef {Object} Snapshot
 * @property {"snapshot"} type
 * @property {string} channel  its name
 * @property {string} cursor  its events up to here are in it
 * @property {any} data  the state
 * @property {number | null} missed  how many events are not in it that should be; null where nobody can know it
 */
/**
 * What is only for now (`live.tell`): it has no place among the events, and who is not up to date misses it.
 *
 * @typedef {Object} Tell
 * @property {string} channel  its name
 * @property {string} event  what kind of thing it is
 * @property {any} data
 * @property {string} [key]  what it is about, where the app says so
 */
/**
 * Events that will never come.
 *
 * @typedef {Object} Gap
 * @property {"gap"} type
 * @property {string} channel  its name
 * @property {string} from  the cursor after which they stood
 * @property {string} to  that of the last of them
 * @property {number | null} missed  how many; null where nobody can know it
 * @property {string} reason  the server's word (expired, epoch, future, skipped, conflated), or "hole": a broken promise of
 *     the server's. After "conflated" the newest event of each key follows
 */
/**
 * Everything up to here has been given: what comes now comes as it happens.
 *
 * @typedef {Object} Live
 * @property {"live"} type
 * @property {string} channel  its name
 * @property {string} cursor  up to here
 */
/**
 * An app's event, of any of its names: its name tells the type of its data.
 *
 * @template {Record<string, any>} Events
 * @typedef {{[Name in keyof Events & string]: LiveEvent<Name, Events[Name]>}[keyof Events & string]} EventOf
 */
/**
 * What a follow gives, in order.
 *
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @typedef {EventOf<Events> | End | Snapshot | Gap | Live} Item
 */
/**
 * What went wrong, and did not end anything.
 *
 * @typedef {Object} Fault
 * @property {"hole" | "repeat" | "store" | "share" | "socket" | "crowded"} kind  "hole" and "repeat" are broken promises of the
 *     server's; "store": the store failed, and the client goes on without; "share": this tab has a connection of its own;
 *     "socket": the socket's URL cannot be had, or the socket broke for good (where the server means it to end, "state"
 *     says why, as of a channel); "crowded": this follow waits, since others have all the connections that a browser has
 *     to one server over HTTP/1.1
 * @property {string | null} [channel]  whose promise it was
 * @property {string | null} [from]  the cursor before
 * @property {string | null} [to]  the cursor after
 * @property {unknown} [error]  of the store, say
 */
/**
 * A heartbeat of the server's.
 *
 * @typedef {Object} Beat
 * @property {number} time  in ms since 1970 by the server's clock
 * @property {Record<string, string>} cursors  by channel: everything up to here has been sent
 * @property {boolean} [stale]  the server cannot reach its log now, so there may be events that it does not know of
 * @property {Record<string, string>} [places]  by the names of follows on one socket: how far each of them is
 */
/**
 * So far behind that publishers wait (the policy "block").
 *
 * @typedef {Object} Lag
 * @property {number} behind  so many events
 * @property {string} step  what the policy does about it
 */
/**
 * The server is about to end a connection, 4401. The client renews it before, if it can: over WebSocket with a new token of
 * the function's, over SSE without a token also with the cookies of then.
 *
 * @typedef {Object} Expiring
 * @property {number | null} in  in so many ms
 * @property {boolean} refused  the server did not take what it was given
 */
/**
 * A connection goes on.
 *
 * @typedef {Object} Renewed
 * @property {number | null} in  for so many ms; null: it does not expire
 */
/**
 * Whatever the app's command answered, its refusals too.
 *
 * @template [Data=any]
 * @typedef {Object} Reply
 * @property {number} status  as of HTTP
 * @property {Data} data  what JSON said; a text where it was not JSON
 * @property {boolean} repeated  it had happened before, and this is the answer of then
 */
/**
 * Where cursors and the winning transport are kept. Both may return promises.
 *
 * @typedef {Object} Store
 * @property {(key: string) => unknown} get  the text, or null or undefined where there is none
 * @property {(key: string, value: string) => unknown} set  keeps it
 */
/**
 * Who the page is: letters, digits and ``!#$%&'*+-.^_`|~`` where a WebSocket is to carry it, as a JWT has them; elsewhere any
 * visible ASCII. Nothing: nobody.
 *
 * @typedef {string | null | undefined} Token
 */
/**
 * Of `connect`.
 *
 * @typedef {Object} ConnectOptions
 * @property {Transport[]} [transports]  tried in this order; default `["websocket", "sse", "long-poll", "poll"]`
 * @property {string | URL} [socket]  the URL of the app's `@live.socket`: one WebSocket then carries all follows, where
 *     WebSocket comes first; and where there is none, one event stream or poll, if it has no handler
 * @property {string | null | (() => Token | Promise<Token>)} [token]  who the page is: a text, or a function that is asked
 *     before each connection and each renewal, and again, later, where it fails. It goes out in the header `Authorization`,
 *     on a WebSocket as a subprotocol. Pages with a session's cookie need none
 * @property {HeadersInit | (() => HeadersInit | Promise<HeadersInit>)} [headers]  sent with every request but a
 *     WebSocket's; a function is asked anew for each
 * @property {boolean | string} [share]  one connection for all tabs of this browser that have the same name (true: the
 *     base's URL). Clients of different users need different names
 * @property {"session" | "indexeddb" | Store | null} [store]  the cursors survive a reload
 * @property {"before" | "after"} [commit]  when a cursor is stored: before the page has the event (none comes twice after
 *     a reload), or after it is done with it (none is lost; default)
 * @property {number} [buffer]  items that a follow holds for a page that does not take them, default 256
 * @property {AbortSignal} [signal]  closes the client
 * @property {(text: string) => any} [parse]  in place of `JSON.parse`, for integers beyond 2^53
 * @property {(data: any) => string} [stringify]  in place of `JSON.stringify`
 * @property {number} [wait]  seconds that a long poll may be held, default 25
 * @property {number} [silence]  ms without a word before a connection counts as lost, default 50,000; once two beats have
 *     come, it is two and a half times the time between them
 * @property {number} [timeout]  ms for a command, default 300,000
 * @property {number} [acknowledge]  over WebSocket: tell the server after so many ms what was applied, so that its operators
 *     see how fresh clients are; nothing else depends on it
 * @property {string | URL} [home]  where Triolet's own URLs are, if not where this script came from and not at `/triolet/`
 * @property {typeof fetch} [fetch]  in place of the browser's, for credentials of another origin, say
 * @property {boolean} [fetchesStreams]  whether answers of `fetch` have a body that can be read as it comes; where not, as
 *     React Native's, events come by polls. Default: as it is found
 * @property {typeof WebSocket} [WebSocket]  in place of the browser's, as the others from here on: for tests
 * @property {Clock} [clock]
 * @property {() => number} [random]
 * @property {EventTarget & {visibilityState?: string}} [page]  what "pagehide", "pageshow", "freeze", "resume",
 *     "visibilitychange", "online" and "offline" come from; default the window and its document
 * @property {Map<string, Transport>} [winners]  which transport has worked, by origin; default one for the whole page
 * @property {LockManager} [locks]
 * @property {typeof BroadcastChannel} [BroadcastChannel]
 */
/**
 * A clock, for tests.
 *
 * @typedef {Object} Clock
 * @property {(call: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now  ms, never back: `performance.now`
 */
/**
 * Of `client.follow`.
 *
 * @typedef {Object} FollowOptions
 * @property {string | number | null} [after]  the cursor to go on from; "0": the oldest event kept; -50: the newest 50; none:
 *     from now on. What the store has counts before it
 * @property {boolean} [snapshot]  gives the channel's state, where the app has one for it: at first, where there is no cursor
 *     to go on from, and in place of a gap
 * @property {boolean} [fold]  of what was missed, events that go together come as one
 * @property {string} [key]  the name under which the store keeps this cursor, default the URL
 * @property {"session" | "indexeddb" | Store | null} [store]  in place of the client's; null: none
 * @property {"before" | "after"} [commit]  in place of the client's
 * @property {number} [buffer]  in place of the client's
 * @property {AbortSignal} [signal]  closes the follow
 */
/**
 * Of `client.send`.
 *
 * @typedef {Object} SendOptions
 * @property {string} [id]  to ask again what may have been asked before, by a page that is gone, say
 * @property {number} [timeout]  ms, in place of the client's
 * @property {AbortSignal} [signal]  gives up: what was sent may have happened
 */
/**
 * Of `client.presence`.
 *
 * @template [Info=any]
 * @typedef {Object} PresenceOptions
 * @property {() => Roster<Info> | Promise<Roster<Info>>} [roster]  who is there at one moment; default: what the channel
 *     tells from its oldest event on
 * @property {AbortSignal} [signal]  ends it
 */
/**
 * Who is there at one moment: the sessions, and the cursor of the channel that they are as of.
 *
 * @template [Info=any]
 * @typedef {Object} Roster
 * @property {{member: string, session: string, info?: Info}[]} sessions  each is one connection of a member's
 * @property {string} cursor  of the channel, as of then
 */
/**
 * A member that is there.
 *
 * @template [Info=any]
 * @typedef {Object} Present
 * @property {string} member  who it is, as the app has it
 * @property {Info} info  what the app says of it
 * @property {number} sessions  how many of its connections are open
 */
/**
 * What `client.on` calls.
 *
 * @typedef {Object} ClientHandlers
 * @property {(state: ClientState, why: Why) => void} state  it has changed; or it connects still, and another try has failed
 * @property {(transport: Transport) => void} transport
 * @property {(data: any) => void} message  what the app's handler says, where there is a `socket`
 * @property {(event: LiveEvent) => void} event  of channels that the app's handler follows for this client
 * @property {(end: End) => void} end  of these
 * @property {(gap: Gap) => void} gap  of these
 * @property {(tell: Tell) => void} tell  of these
 * @property {(beat: Beat) => void} beat  of the one socket
 * @property {(fault: Fault) => void} fault
 * @property {(waiting: number) => void} unanswered  how many commands wait for their answer
 * @property {(warning: Expiring) => void} expiring
 * @property {(renewed: Renewed) => void} renewed
 */
/**
 * What `follow.on` calls by names of the client's own.
 *
 * "event", "end", "snapshot", "gap" and "live" are given in order, one after the other, and a promise that the handler
 * returns is waited for. The others are called at once.
 *
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @typedef {Object} FollowHandlers
 * @property {(event: EventOf<Events>) => unknown} event  every event
 * @property {(end: End) => unknown} end  the last one
 * @property {(snapshot: Snapshot) => unknown} snapshot
 * @property {(gap: Gap) => unknown} gap
 * @property {(live: Live) => unknown} live
 * @property {(tell: Tell) => void} tell
 * @property {(state: State, why: Why) => void} state  it has changed; or it connects still, and another try has failed
 * @property {(why: Why) => void} gone
 * @property {(fault: Fault) => void} fault
 * @property {(beat: Beat) => void} beat
 * @property {(lag: Lag) => void} lag
 * @property {(warning: Expiring) => void} expiring
 * @property {(renewed: Renewed) => void} renewed
 */
/**
 * What `follow.on` knows: names of the client's own, and the app's names of events. An app's event with the name of one of
 * the client's (`state`, say) is heard by `event:state`.
 *
 * @template {Record<string, any>} Events
 * @typedef {keyof FollowHandlers | (keyof Events & string) | `event:${keyof Events & string}`} FollowName
 */
/**
 * What `follow.on` calls by a name. The app's events are given as "event" is.
 *
 * @template {Record<string, any>} Events
 * @template {string} Name
 * @typedef {Name extends keyof FollowHandlers ? FollowHandlers<Events>[Name]
 *     : Name extends `event:${infer Own extends keyof Events & string}` ? (event: LiveEvent<Own, Events[Own]>) => unknown
 *     : Name extends keyof Events ? (event: LiveEvent<Name, Events[Name]>) => unknown
 *     : never} FollowHandler
 */
/**
 * What `presence.on` calls.
 *
 * @template [Info=any]
 * @typedef {Object} PresenceHandlers
 * @property {(member: Present<Info>) => void} join
 * @property {(member: Present<Info>) => void} leave
 * @property {(presence: import("./presence.js").Presence<Info>) => void} change  somebody came, left, or has other `info`
 *     or `sessions`
 * @property {(state: State, why: PresenceWhy) => void} state
 * @property {(why: PresenceWhy) => void} gone
 */
/**
 * As Why; but the error may also be what `roster` has thrown.
 *
 * @typedef {Object} PresenceWhy
 * @property {number} [retry]
 * @property {string} [reason]  "roster": it failed; "load": a module of this client's could not be loaded
 * @property {unknown} [error]
 */
/**
 * Of `follow`, `Socket`, `command` and `ticketed`, besides those that they have in common with `connect`. Every callback also
 * gets the handle, as its last argument.
 *
 * @typedef {Object} HandleOptions
 * @property {Transport} [transport]  default "sse"
 * @property {string | number | null} [after]  the cursor to go on from; "0" is the oldest event kept, none is "from now"
 * @property {(event: LiveEvent, handle: Track) => void} [onEvent]  `handle.state` is "behind" while the event
 *     is one of the missed
 * @property {(state: State, why: Why, handle: any) => void} [onState]  "live" with an error: a renewal failed. The error's
 *     `code` at "gone" is 4401 (expired) or 4403 (revoked, refused) where the page may follow no longer
 * @property {(end: End, handle: Track) => void} [onEnd]  the channel has ended: it is "gone" then
 * @property {(gap: Gap, handle: Track) => void} [onGap]  without it the console says so
 * @property {(tell: Tell, handle: Track) => void} [onTell]  what is only for now
 * @property {(fault: Fault, handle: Track) => void} [onFault]  without it the console says so
 * @property {(beat: Beat, handle: any) => void} [onBeat]
 * @property {(lag: Lag, handle: Track) => void} [onLag]
 * @property {(warning: Expiring, handle: any) => void} [onExpiring]  where `token` is a function an expired one is replaced;
 *     with a text that is the end, "expired"
 * @property {(renewed: Renewed, handle: any) => void} [onRenewed]
 * @property {string | URL} [base]  where the server has its own URLs, if not where this script was found or at `/triolet/`
 */
/**
 * Of `follow`, `Socket`, `command` and `ticketed`.
 *
 * @typedef {HandleOptions & Pick<ConnectOptions, "token" | "headers" | "wait" | "silence" | "acknowledge"> &
 *     Pick<ConnectOptions, "parse" | "stringify" | "fetch" | "fetchesStreams"> &
 *     Pick<ConnectOptions, "WebSocket" | "clock" | "random" | "page">} Options
 */
/**
 * Of `new Socket`, besides Options. `onEvent`, `onEnd`, `onGap`, `onTell`, `onFault` and `onLag` get what belongs to channels that
 * the app on the server follows for this client; `onState` is the socket's: connecting, live, gone.
 *
 * @typedef {Object} MessageOptions
 * @property {(data: any, handle: any) => void} [onMessage]  what the app's handler says
 */
/**
 * A block of an event stream: what an `EventStreamParser` gives.
 *
 * @typedef {Object} Parsed
 * @property {string} event  its name; "message" where none is given
 * @property {string} data
 * @property {string} id  the newest there was
 * @property {number | null} time  Triolet's own field, as the others from here on
 * @property {string} [key]  of an event that has a `fold`
 * @property {string} [fold]
 * @property {number} [folded]
 */
/** @typedef {import("./client.js").Client} Client  what `connect` returns */
/** @typedef {import("./track.js").Track} Track  what `follow` and `socket.follow` return */
export {};
