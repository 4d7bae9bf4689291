/** A network that can be lost on purpose: `connect("/", network.options)` takes it in place of the browser's own. */

export class Network {
  #sockets = new Set();
  #requests = new AbortController();

  get isCut() {
    return this.#requests.signal.aborted;
  }

  /** Ends whatever is open, and lets nothing through until it is mended. */
  cut(isCut) {
    if (!isCut) this.#requests = new AbortController();
    else this.#requests.abort(new TypeError("the network is cut"));
    if (isCut) for (const socket of this.#sockets) socket.close(4000, "cut by the page");
  }

  get options() {
    const network = this;
    const sockets = this.#sockets;
    return {
      fetch: (url, asked = {}) => {
        const signals = [asked.signal, this.#requests.signal].filter(Boolean);
        return fetch(url, { ...asked, signal: AbortSignal.any(signals) });
      },
      WebSocket: class extends WebSocket {
        constructor(...how) {
          super(...how);
          sockets.add(this);
          this.addEventListener("close", () => sockets.delete(this));
          if (network.isCut) super.close();
        }
      },
    };
  }
}
