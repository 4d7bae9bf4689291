/** What a browser does with a page: it hides, freezes, keeps and wakes it. Knows nothing of connections. */

/** From here on nobody looks at the page, and what it does costs a battery. */
const HIDDEN_LONG = 300_000;

/** Events of the document; the others are the window's. */
const OF_DOCUMENT = new Set(["freeze", "resume", "visibilitychange"]);

const WAKING = ["pageshow", "resume", "online"];
const PAUSING = ["pagehide", "freeze"];

/** The page that this script runs in; in a worker, or outside of a browser, what there is of it. */
const HERE = {
  addEventListener: (name, call) => target(name)?.addEventListener?.(name, call),
  removeEventListener: (name, call) => target(name)?.removeEventListener?.(name, call),
  get visibilityState() {
    return globalThis.document?.visibilityState ?? "visible";
  },
};

function target(name) {
  return OF_DOCUMENT.has(name) ? globalThis.document : globalThis;
}

/** Tells `owner` of the life of a page: `pause()`, and `wake(event)`, which may come without a pause before it. */
export class PageLife {
  #page;
  #clock;
  #owner;
  #hidden = null;
  #pause = () => this.#owner.pause();
  #wake = ({ type }) => this.#owner.wake(type);
  #look = () => this.#seen();

  constructor(owner, { page = HERE, clock }) {
    this.#page = page;
    this.#clock = clock;
    this.#owner = owner;
    if (page.visibilityState === "hidden") this.#hidden = clock.now();
    this.#each((name, call) => page.addEventListener(name, call));
  }

  #each(apply) {
    for (const name of WAKING) apply(name, this.#wake);
    for (const name of PAUSING) apply(name, this.#pause);
    apply("visibilitychange", this.#look);
  }

  #seen() {
    if (this.#page.visibilityState === "hidden") return (this.#hidden ??= this.#clock.now());
    this.#hidden = null;
    this.#owner.wake("visible");
  }

  /** Whether it has been hidden for long. */
  get isForgotten() {
    return this.#hidden !== null && this.#clock.now() - this.#hidden >= HIDDEN_LONG;
  }

  end() {
    this.#each((name, call) => this.#page.removeEventListener(name, call));
  }
}
