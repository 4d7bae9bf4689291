/**
 * The shapes of the client's public face, for readers and for TypeScript. Nothing here runs.
 *
 * @typedef {"websocket"|"sse"|"long-poll"|"poll"} Transport
 *
 * @typedef {"connecting"|"behind"|"live"|"gone"} State  no stream yet, or between two, or paused; catching up; up to
 *     date; over
 *
 * @typedef {"idle"|State} ClientState  of a client: "idle" while it follows nothing and needs no connection; else the
 *     worst of its follows: one that connects before one that is behind, before live; "gone" once it is closed
 *
 * @typedef {Object} Why  what goes with a state
 * @property {number} [retry]  ms until the next try
 * @property {string} [reason]  in a word: "paused", "offline", "expired", "revoked", "refused", "login", "closed" …
 * @property {import("./line.js").Ended} [error]
 */

/**
 * @template {string} [Name=string]
 * @template [Data=any]
 * @typedef {Object} LiveEvent
 * @property {"event"} type
 * @property {string} channel
 * @property {string} id  its cursor
 * @property {Name} event  its name; "message" where the app gave none
 * @property {Data} data
 * @property {number} time  when it was published, in ms since 1970 by the server's clock
 * @property {string} [key]
 */

/**
 * @typedef {Object} Gap  events that will never come
 * @property {"gap"} type
 * @property {string} channel
 * @property {string} from
 * @property {string} to
 * @property {?number} missed  how many; null where nobody can know it
 * @property {string} reason  the server's word (expired, epoch, future, skipped, conflated), or "hole"
 *
 * @typedef {Object} Live  everything up to here has been given: what comes now comes as it happens
 * @property {"live"} type
 * @property {string} channel
 * @property {string} cursor
 *
 * @typedef {{kind: string, channel?: ?string, from?: ?string, to?: ?string, error?: unknown}} Fault  "hole" and
 *     "repeat" are broken promises of the server's; "store": the store failed, and the
 *     client goes on without; "share": this tab has a connection of its own; "socket": the socket's URL cannot be had
 *
 * @typedef {{time: number, cursors: Record<string, string>, stale?: boolean, places?: Record<string, string>}} Beat
 * @typedef {{behind: number, step: string}} Lag
 * @typedef {{in: ?number, refused: boolean}} Expiring
 * @typedef {{in: ?number}} Renewed
 * @typedef {{status: number, data: any, repeated: boolean}} Reply
 */

/**
 * An app's event, of any name: `Events` maps names to the types of their data.
 * @template {Record<string, any>} Events
 * @typedef {{[Name in keyof Events & string]: LiveEvent<Name, Events[Name]>}[keyof Events & string]} EventOf
 */

/**
 * What a follow gives, in order.
 * @template {Record<string, any>} Events
 * @typedef {EventOf<Events> | Gap | Live} Item
 */

/**
 * @typedef {Object} Store  where cursors and the winning transport are kept; both may return promises
 * @property {(key: string) => unknown} get  the text, or null or undefined where there is none
 * @property {(key: string, value: string) => unknown} set
 *
 * @typedef {string | null | undefined} Token
 * @typedef {HeadersInit | Record<string, string>} HeadersLike
 *
 * @typedef {Object} ConnectOptions
 * @property {Transport[]} [transports]  tried in this order; default all four, as in "websocket", "sse", "long-poll", "poll"
 * @property {string | URL} [socket]  the URL of the app's `live.socket`: one WebSocket then carries all follows
 * @property {string | (() => Token | Promise<Token>)} [token]  who the page is; a function is asked at each connect and
 *     renewal
 * @property {HeadersLike | (() => HeadersLike | Promise<HeadersLike>)} [headers]  sent with every request but a
 *     WebSocket's, asked anew at each
 * @property {boolean | string} [share]  one connection for all tabs of this browser that have the same name (true: the
 *     base's URL); clients of different users need different names
 * @property {"session" | "indexeddb" | Store} [store]  the cursors survive a reload
 * @property {"before" | "after"} [commit]  when a cursor is stored: before the page has the event (none comes twice after
 *     a reload), or after (none is lost; default)
 * @property {number} [buffer]  items that a follow holds for a page that does not take them, default 256
 * @property {AbortSignal} [signal]  closes the client
 * @property {(text: string) => any} [parse]  in place of JSON.parse, for integers beyond 2^53
 * @property {(data: any) => string} [stringify]  in place of JSON.stringify
 * @property {number} [wait]  seconds that a long poll may be held, default 25
 * @property {number} [silence]  ms without a word before a connection counts as lost, default 50,000, until beats show it
 * @property {number} [timeout]  ms for a command, default 300,000
 * @property {number} [acknowledge]  over WebSocket: tell the server after so many ms what was applied
 * @property {string | URL} [home]  where Triolet's own URLs are, if not beside this script nor at `/triolet/`
 * @property {typeof fetch} [fetch]  these are for tests, and for a page that plays the network
 * @property {typeof WebSocket} [WebSocket]
 * @property {Clock} [clock]
 * @property {() => number} [random]
 * @property {EventTarget & {visibilityState?: string}} [page]  what "pagehide", "pageshow", "freeze", "resume",
 *     "visibilitychange" and "online" come from; default the window and its document
 * @property {boolean} [fetchesStreams]  whether answers of `fetch` have a body that can be read as it comes
 * @property {Map<string, string>} [winners]  which transport has worked, by origin; default one for the whole page
 * @property {LockManager} [locks]
 * @property {typeof BroadcastChannel} [BroadcastChannel]
 *
 * @typedef {Object} Clock
 * @property {(call: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now  ms, never back: `performance.now`
 *
 * @typedef {Object} FollowOptions
 * @property {string | number} [after]  the cursor to go on from; "0": the oldest event kept; -50: the newest 50; none:
 *     from now on. What the store has counts before it
 * @property {string} [key]  the name under which the store keeps this cursor, default the URL
 * @property {"session" | "indexeddb" | Store | null} [store]  in place of the client's; null: none
 * @property {"before" | "after"} [commit]
 * @property {number} [buffer]
 * @property {AbortSignal} [signal]  closes the follow
 *
 * @typedef {Object} SendOptions
 * @property {string} [id]  to ask again what may have been asked before
 * @property {number} [timeout]  ms
 * @property {AbortSignal} [signal]
 *
 * @typedef {Object} PresenceOptions
 * @property {() => Roster | Promise<Roster>} [roster]  who is there at one moment; default: what the channel tells from
 *     its oldest event on
 * @property {AbortSignal} [signal]
 *
 * @typedef {{sessions: {member: string, session: string, info?: any}[], cursor: string}} Roster
 *
 * @typedef {{member: string, info: any, sessions: number}} Present
 */

/**
 * What `follow.on` calls: names of the client's own, else the app's names of events. An app's event with the name of one
 * of these is heard by "event:" and its name.
 *
 * "event", "gap", "live" and the app's names are given in order, one after the other, and a promise that the handler
 * returns is waited for. The others are called at once.
 *
 * @template {Record<string, any>} Events
 * @typedef {Object} FollowHandlers
 * @property {(event: EventOf<Events>) => unknown} event  every event
 * @property {(gap: Gap) => unknown} gap
 * @property {(live: Live) => unknown} live
 * @property {(state: State, why: Why) => void} state
 * @property {(why: Why) => void} gone
 * @property {(fault: Fault) => void} fault
 * @property {(beat: Beat) => void} beat
 * @property {(lag: Lag) => void} lag
 * @property {(warning: Expiring) => void} expiring
 * @property {(renewed: Renewed) => void} renewed
 */

/**
 * What `connect` returns.
 *
 * @typedef {Object} Client
 * @property {ClientState} state
 * @property {?Transport} transport  the one in use, or tried now; null before the first
 * @property {boolean} isLeader  whether the connection is this tab's; always so where tabs do not share
 * @property {number} unanswered  commands that wait for their answer
 * @property {<Events extends Record<string, any> = Record<string, any>>(url: string | URL, options?: FollowOptions) =>
 *     Follow<Events>} follow
 * @property {(url: string | URL, data?: any, options?: SendOptions) => Promise<Reply>} send  a command, once
 * @property {(data: any) => boolean} tell  a message to the app's handler, where there is a `socket`; false: not sent
 * @property {(url: string | URL, options?: PresenceOptions) => Presence} presence
 * @property {<Name extends keyof ClientHandlers>(name: Name, call: ClientHandlers[Name]) => (() => void)} on
 * @property {(options?: {timeout?: number, signal?: AbortSignal}) => Promise<void>} ready  once all follows are live
 * @property {(options?: {timeout?: number}) => Promise<boolean>} probe  looks now whether what is connected still
 *     carries, and tries what waits, and the first transport again; whether all is live within `timeout` (10,000 ms)
 * @property {() => void} close
 *
 * @typedef {Object} ClientHandlers
 * @property {(state: ClientState, why: Why) => void} state
 * @property {(transport: Transport) => void} transport
 * @property {(data: any) => void} message  what the app's handler says, where there is a `socket`
 * @property {(event: LiveEvent) => void} event  of channels that the app's handler follows for this client
 * @property {(gap: Gap) => void} gap  of these
 * @property {(beat: Beat) => void} beat  of the one socket
 * @property {(fault: Fault) => void} fault
 * @property {(waiting: number) => void} unanswered  how many commands wait for their answer
 * @property {(warning: Expiring) => void} expiring
 * @property {(renewed: Renewed) => void} renewed
 */

/**
 * What `client.follow` returns: an async iterable of its items, for one reader.
 *
 * @template {Record<string, any>} [Events=Record<string, any>]
 * @typedef {Object} Follow
 * @property {string} url
 * @property {?string} channel  its name, once the server has said it
 * @property {?string} cursor  up to here the page has taken all
 * @property {State} state
 * @property {Why} why  why its state is what it is, at "gone" above all
 * @property {number} behind  items that wait for the page, and events that are known and have not come
 * @property {boolean} filtered
 * @property {<Name extends string>(name: Name, call: Name extends keyof FollowHandlers<Events> ?
 *     FollowHandlers<Events>[Name] : (event: Name extends keyof Events ? LiveEvent<Name, Events[Name]> : LiveEvent) =>
 *     unknown) => (() => void)} on  returns what takes it off again
 * @property {() => AsyncIterableIterator<Item<Events>>} [Symbol.asyncIterator]
 * @property {() => ReadableStream<Item<Events>>} readable
 * @property {(cursor: string) => void} expect  an event that is known from elsewhere, so that `behind` counts it
 * @property {() => Promise<void>} ready  once it is live; rejects when it is gone
 * @property {() => void | Promise<void>} commit  stores that the page is done with the item that it took last
 * @property {() => void} close
 *
 * @typedef {Object} Presence  who is there; iterates as a Map of member to {@link Present}
 * @property {number} size
 * @property {State} state
 * @property {(member: string) => boolean} has
 * @property {(member: string) => Present | undefined} get
 * @property {() => IterableIterator<Present>} values
 * @property {(name: "join" | "leave" | "change" | "state" | "gone", call: (...said: any[]) => void) => (() => void)} on
 * @property {() => Promise<void>} ready
 * @property {() => void} close
 */

export {};
