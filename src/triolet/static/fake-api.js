/**
 * The shapes inside of the fake server, for readers and for TypeScript. Nothing here runs.
 *
 * @import { PublishOptions } from "./fake.js"
 * @import { Log } from "./fake-log.js"
 *
 * @typedef {{epoch: string, offset: number}} Place  a cursor in its parts; an empty epoch is the present one
 *
 * @typedef {Object} Wish  what a client asks for besides, in the URL of a channel
 * @property {boolean} [fold]  of what it has missed, events that go together as one
 * @property {?(() => any)} [state]  gives the channel's state; null: it wants none, or there is none. Undefined, as its
 *     answer: the app fails to give it
 *
 * @typedef {{type: string, [field: string]: any}} Message  of the wire, in either direction
 *
 * @typedef {Object} Stored  an event, as it is on the wire
 * @property {"event"} type
 * @property {string} channel
 * @property {string} id
 * @property {string} event
 * @property {any} data
 * @property {number} time
 * @property {string} [key]
 * @property {string} [fold]
 * @property {number} [folded]
 *
 * @typedef {import("./api.js").End} Ending
 *
 * @typedef {Object} Page  what was read
 * @property {string} start  the place it was read from
 * @property {?Message} gap
 * @property {Stored[]} events
 * @property {?Ending} end  behind them, where the channel ends there
 * @property {string} cursor  behind them
 * @property {boolean} isAll  whether that is the newest
 *
 * @typedef {Object} Time
 * @property {(call: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now
 *
 * @typedef {Object} World  what all parts of the server share
 * @property {Log} log
 * @property {Time} clock
 * @property {() => number} random
 * @property {() => number} wall  ms since 1970
 * @property {(url: string | URL, data: any, options?: PublishOptions) => void} publish
 * @property {(url: string | URL) => boolean} hasEnded  the channel there
 * @property {(error: unknown) => void} trouble  what went wrong in the test
 *
 * @typedef {Object} Who  that was let in
 * @property {?string} token
 * @property {?string} subject
 * @property {number} until  by the world's clock
 *
 * @typedef {{route: import("./fake-routes.js").Route, params: Record<string, string>}} Found
 *
 * @typedef {Object} Wire  of a connection, to its client
 * @property {(message: Message) => void} write
 * @property {(code: number, reason: string) => void} close
 *
 * @typedef {Object} Call  a WebSocket that asks to be opened
 * @property {URL} url
 * @property {string[]} protocols
 * @property {import("./fake-network.js").Pipe} pipe
 * @property {(hear: (text: string) => void) => Wire} accept
 * @property {() => void} refuse
 *
 * @typedef {{status: number, data: any, retry?: number, repeated?: boolean}} Given  the answer of a command
 */

export {};
