/** What a browser does with a page: it hides, freezes, keeps and wakes it. Knows nothing of connections. */

/** @import { Settings } from "./settings.js" */

/** From here on nobody looks at the page, and what it does costs a battery. */
const HIDDEN_LONG = 300_000;

// What each event is for a page.
/** @type {Record<string, "wake" | "pause" | "again">} */
const EVENTS = { pageshow: "wake", online: "wake", pagehide: "pause", resume: "wake", freeze: "pause", offline: "again" };

/**
 * Tells `owner` of the life of a page: `pause()`, and `wake()`, which may come without a pause before it. Without a network
 * what is connected is made anew, `again()`: a server on this machine is there all the same, of others it is seen at once
 * that they are not.
 */
export class PageLife {
  /** @type {(EventTarget & {visibilityState?: string} | undefined)[]} */
  #targets;
  #clock;
  #owner;
  /** @type {number | null} */
  #hidden = null;
  /** @param {Event} event */
  #hear = ({ type }) => (EVENTS[type] ? this.#owner[EVENTS[type]]?.() : this.#seen());

  /**
   * `page` takes the place of the window and its document, of which a worker has neither.
   *
   * @param {{pause?: () => unknown, wake: () => unknown, again?: () => unknown}} owner
   * @param {Pick<Settings, "page" | "clock">} settings
   */
  constructor(owner, { page, clock }) {
    this.#targets = page ? [page] : [globalThis, globalThis.document];
    this.#clock = clock;
    this.#owner = owner;
    if (this.#isHidden) this.#hidden = clock.now();
    this.#each("addEventListener");
  }

  get #isHidden() {
    return this.#targets.at(-1)?.visibilityState === "hidden";
  }

  /**
   * Some are told to the document and go up to the window, others stay: nothing is done twice by hearing both.
   *
   * @param {"addEventListener" | "removeEventListener"} method
   */
  #each(method) {
    for (const name of [...Object.keys(EVENTS), "visibilitychange"]) {
      for (const target of this.#targets) target?.[method]?.(name, this.#hear);
    }
  }

  #seen() {
    if (this.#isHidden) return (this.#hidden ??= this.#clock.now());
    this.#hidden = null;
    this.#owner.wake();
  }

  /** Whether it has been hidden for long. */
  get isForgotten() {
    return this.#hidden !== null && this.#clock.now() - this.#hidden >= HIDDEN_LONG;
  }

  end() {
    this.#each("removeEventListener");
  }
}
