/**
 * A WebSocket whose line can be made slow: of what the server sends, four messages a second come through. What waits is
 * kept in order, as a network does it, and is older with every message that waits before it. Up it is as fast as ever.
 */

const SLOW_MS = 250;

export const line = { isSlow: false };

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class SlowableSocket extends WebSocket {
  #waiting = [];
  #isHanding = false;
  #call = null;

  get onmessage() {
    return this.#call;
  }

  set onmessage(call) {
    this.#call = call;
    super.onmessage = (event) => {
      this.#waiting.push(event);
      void this.#hand();
    };
  }

  async #hand() {
    if (this.#isHanding) return;
    this.#isHanding = true;
    while (this.#waiting.length) {
      if (line.isSlow) await sleep(SLOW_MS);
      this.#call?.(this.#waiting.shift());
    }
    this.#isHanding = false;
  }
}
