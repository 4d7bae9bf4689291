/** A clock, a fetch and a WebSocket that a test holds in its hand: no socket is opened, and no time passes. */

import { settle } from "../../../src/triolet/static/fake-clock.js";

// What is loaded late is there already: from a disk it would take its time.
for (const late of ["answers", "bundle", "roster", "sharing", "tabs", "why"]) await import(`../../../src/triolet/static/${late}.js`);

export { Clock, Page, settle } from "../../../src/triolet/static/fake-clock.js";

/** A response that the test writes, piece by piece. */
export class Stream {
  #controller;
  aborted = false;

  constructor() {
    const start = (controller) => (this.#controller = controller);
    const body = new ReadableStream({ start });
    this.response = new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }

  /** Sends text as it is, or a message of the protocol: `("live", {…})`. */
  async send(text, data) {
    const block = data ? `event: triolet.${text}\ndata: ${JSON.stringify(data)}\n\n` : text;
    await this.bytes(new TextEncoder().encode(block));
  }

  async bytes(bytes) {
    this.#controller.enqueue(bytes);
    await settle();
  }

  async event(id, data = {}) {
    await this.send(`id: ${id}\nevent: note\ndata: ${JSON.stringify(data)}\ntime: 7\n\n`);
  }

  async end() {
    this.#controller.close();
    await settle();
  }

  abort(reason) {
    this.aborted = true;
    try {
      this.#controller.error(reason);
    } catch {
      // it had ended by itself
    }
  }
}

/** An answer that the test gives when it likes. */
export class Held {
  aborted = false;

  constructor() {
    this.response = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  }

  async give({ response }) {
    this.resolve(response);
    await settle();
  }

  abort(reason) {
    this.aborted = true;
    this.reject(reason);
  }
}

export function json(body, headers = {}, code = 200) {
  return { response: Response.json(body, { headers, status: code }) };
}

export function status(code, headers = {}) {
  return { response: new Response([204, 304].includes(code) ? null : "", { status: code, headers }) };
}

/** A network that gives prepared answers in turn; without one, it is down. */
export class Network {
  requests = [];
  answered = [];

  constructor(...answers) {
    this.answers = answers;
  }

  fetch = async (url, { method = "GET", headers, body, signal }) => {
    this.requests.push({ method, host: url.host, path: url.pathname + url.search, headers, body });
    const answer = this.answers.shift();
    if (!answer) throw new TypeError("network down");
    this.answered.push(answer);
    signal.addEventListener("abort", () => answer.abort?.(signal.reason));
    return answer.response;
  };
}

/** Sockets that were opened, newest last: each is told by the test what happens to it. */
export function makeSockets() {
  const opened = [];
  class FakeSocket {
    readyState = 0;
    sent = [];
    closed = false;

    constructor(url, protocol) {
      Object.assign(this, { url: String(url), protocol });
      opened.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close() {
      this.closed = true;
      this.readyState = 3;
    }

    async open() {
      this.readyState = 1;
      this.onopen();
      await settle();
    }

    async say(...messages) {
      for (const message of messages) this.onmessage({ data: JSON.stringify(message) });
      await settle();
    }

    async lose(code = 1006) {
      this.readyState = 3;
      this.onclose({ code, reason: "" });
      await settle();
    }
  }
  return { WebSocket: FakeSocket, opened };
}

/** A browser, as far as its tabs share it: its locks, and its channels. */
export function makeBrowser() {
  const held = new Map();
  const channels = new Set();
  const next = (name) => {
    const [asked] = held.get(name) ?? [];
    if (!asked || asked.runs) return;
    asked.runs = true;
    const free = () => {
      held.set(name, held.get(name).filter((one) => one !== asked));
      next(name);
    };
    Promise.resolve()
      .then(() => asked.call({ name }))
      .then((result) => (free(), asked.resolve(result)), (error) => (free(), asked.reject(error)));
  };
  const locks = {
    request(name, ...rest) {
      const call = rest.pop();
      const { signal, steal } = rest[0] ?? {};
      return new Promise((resolve, reject) => {
        const asked = { call, resolve, reject, runs: false };
        const [holder, ...others] = held.get(name) ?? [];
        if (steal) {
          holder?.reject(new DOMException("stolen", "AbortError"));
          held.set(name, [asked, ...others]);
        } else held.set(name, [...(held.get(name) ?? []), asked]);
        signal?.addEventListener("abort", () => {
          if (asked.runs) return;
          held.set(name, held.get(name).filter((one) => one !== asked));
          reject(signal.reason);
        });
        next(name);
      });
    },
  };
  class FakeChannel {
    constructor(name) {
      this.name = name;
      channels.add(this);
    }

    postMessage(data) {
      const copy = structuredClone(data);
      for (const other of channels) {
        if (other === this || other.name !== this.name) continue;
        setImmediate(() => channels.has(other) && other.onmessage?.({ data: structuredClone(copy) }));
      }
    }

    close() {
      channels.delete(this);
    }
  }
  return { locks, BroadcastChannel: FakeChannel };
}
