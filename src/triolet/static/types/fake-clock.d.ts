/** Time that stands still until a test lets it go on, and a page whose life the test plays. */
/** Turns in which nothing stirs, until all counts as done: what goes from promise to promise takes a few of them. */
export declare const QUIET = 10;
/** The next turn of the event loop: what was ready to run has run by then. @returns {Promise<void>} */
export declare function turn(): Promise<void>;
/** Lets everything run that is ready to run. */
export declare function settle(): Promise<void>;
/** A clock as `connect` takes it, whose time goes on by `advance` alone. */
/**
 * The timers of the page, as they are at each use: a runner may have put its own there.
 *
 * @type {import("./api.js").Clock}
 */
export declare const REAL: import("./api.js").Clock;
export declare class Clock {
    #private;
    time: number;
    /** How often it was used: whether anything stirs. */
    uses: number;
    /** `settle()` is waited for between two timers. */
    constructor(settled?: typeof settle);
    now: () => number;
    /** @param {() => void} call @param {number} ms */
    setTimeout: (call: () => void, ms: number) => number;
    /** @param {any} number */
    clearTimeout: (number: any) => void;
    /** The delays that somebody is waiting for, in ms from now. */
    get pending(): number[];
    /** @param {number} ms */
    advance(ms: number): Promise<void>;
}
/** A page, as the option `page` takes it: `say` is what the browser tells of it, `turn` hides it and shows it again. */
export declare class Page extends EventTarget {
    #private;
    /** @type {"visible" | "hidden"} */
    visibilityState: "visible" | "hidden";
    /** `settle()` is waited for after each. */
    constructor(settled?: typeof settle);
    /** @param {string} type  "pagehide", "pageshow", "freeze", "resume", "online" or "offline" @returns {Promise<void>} */
    say(type: string): Promise<void>;
    /** @param {"visible" | "hidden"} visibilityState @returns {Promise<void>} */
    turn(visibilityState: "visible" | "hidden"): Promise<void>;
}
