/** The two servers that a scene is played on: the real one, behind a network that breaks, and the fake one. */

import { createConnection, createServer } from "node:net";
import { WebSocket } from "ws";
import { fakeServer } from "../../../src/triolet/static/fake.js";
import { Page } from "../../../src/triolet/static/fake-clock.js";

/** As in twin_app.py. */
const KEEP = 4;

/** Ms: the upper bound of every wait for something that happens at once on an idle machine. All scenes wait together. */
const PATIENCE = 60_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A connection to a server that can be broken. */
class Cable {
  #sockets = new Set();
  #isOnline = true;

  async open({ hostname, port }) {
    this.server = createServer((near) => {
      if (!this.#isOnline) return near.destroy();
      const far = createConnection({ host: hostname, port });
      for (const [one, other] of [[near, far], [far, near]]) {
        this.#sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => (this.#sockets.delete(one), other.destroy()));
        one.pipe(other);
      }
    });
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${this.server.address().port}/`;
  }

  drop() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  set online(isOnline) {
    this.#isOnline = isOnline;
    if (!isOnline) this.drop();
  }
}

/** The real server. */
export class Real {
  #cable = new Cable();
  #url;
  page = new Page();

  constructor(name, url) {
    this.name = name;
    this.#url = url;
  }

  async open() {
    this.base = await this.#cable.open(new URL(this.#url));
    this.options = { WebSocket, page: this.page, random: () => 0.5, winners: new Map(), home: "/triolet/" };
  }

  async #happen(what, said = {}) {
    const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) };
    const response = await fetch(new URL(`/happen/${what}/${this.name}`, this.#url), post);
    if (!response.ok) throw new Error(`${what}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  async until(condition, patience = PATIENCE) {
    const end = performance.now() + patience;
    while (!(await condition())) {
      if (performance.now() > end) throw new Error(`${this.name}: waited for ${condition}`);
      await sleep(10);
    }
  }

  publish(data, { event = "message", key, fold } = {}) {
    return this.#happen("publish", { data, event, key, fold });
  }

  tell(data, { event = "message", key } = {}) {
    return this.#happen("tell", { data, event, key });
  }

  end = (data) => this.#happen("end", { data });
  delete = () => this.#happen("delete");

  refuse = (status) => this.#happen("refuse", { status });
  allow = () => this.#happen("refuse", { status: null });
  fail = (fails) => this.#happen("fail", { fails });
  failed = async () => (await this.#happen("fail")).failed;
  revoke = () => this.#happen("revoke");
  tokens = (tokens) => this.#happen("tokens", tokens);
  done = async () => (await this.#happen("done")).done;

  drop() {
    this.#cable.drop();
  }

  online(isOnline) {
    this.#cable.online = isOnline;
    this.page.dispatchEvent(new Event(isOnline ? "online" : "offline"));
  }

  close() {
    this.#cable.drop();
    this.#cable.server.close();
  }
}

/** Its twin on the fake server, made by the face that users have. */
export class Fake {
  #server = fakeServer({ keep: KEEP });
  #done = 0;
  #published = 0;
  #fails = false;
  #failed = 0;
  base = "http://twin.test/";

  constructor(name) {
    this.name = name;
  }

  async open() {
    const server = this.#server;
    this.options = server.options;
    const name = "c/<name>";
    server.channel("/c/<name>/events", { name });
    server.channel("/c/<name>/state", { name, snapshot: () => this.#state() });
    server.channel("/c/<name>/as/<member>", { name });
    server.channel("/c/<name>/presence", { name: `triolet.presence/${name}` });
    server.socket("/live");
    server.socket("/talk/<name>", {
      message: (data, connection) => {
        const url = `/c/${this.name}/events`;
        if (data === "follow") connection.follow(url);
        else if (data === "unfollow") connection.unfollow(url);
        else connection.send({ echo: data });
      },
    });
    server.command("/c/<name>/do", (data, { publish }) => {
      this.#done += 1;
      if (this.#done <= (data.busy ?? 0)) return { status: 503, retry: 1_000 };
      if ("publish" in data) publish(`/c/${this.name}/events`, data.publish);
      return { status: data.status ?? 200, data: { done: this.#done } };
    });
  }

  async until(condition) {
    for (let left = PATIENCE / 50; left > 0; left--) {
      await this.#server.settle();
      if (await condition()) return;
      await this.#server.advance(50);
    }
    throw new Error(`${this.name}: waited for ${condition}`);
  }

  async publish(data, options) {
    this.#published += 1;
    return this.#server.publish(`/c/${this.name}/events`, data, options);
  }

  async tell(data, options) {
    this.#server.tell(`/c/${this.name}/events`, data, options);
  }

  async end(data) {
    this.#server.end(`/c/${this.name}/events`, data);
  }

  async delete() {
    this.#server.delete(`/c/${this.name}/events`);
  }

  async refuse(status) {
    this.#server.refuse(`/c/${this.name}/events`, status, status === 503 ? { retry: 1_000 } : {});
  }

  #state() {
    if (!this.#fails) return { published: this.#published };
    this.#failed += 1;
    return undefined;
  }

  async failed() {
    return this.#failed;
  }

  async fail(fails) {
    this.#fails = fails;
  }

  async allow() {
    this.#server.allow(`/c/${this.name}/events`);
  }

  async revoke() {
    this.#server.revoke(`/c/${this.name}/events`);
  }

  async tokens(given) {
    const ends = new Map(Object.entries(given).map(([token, ms]) => [`${this.name}-${token}`, ms]));
    const begun = this.#server.time;
    this.#server.identify((token) => {
      if (token === null) return {};
      if (!ends.has(token)) return null;
      return { subject: "ann", ...(ends.get(token) !== null && { expiresAt: begun + ends.get(token) }) };
    });
  }

  async done() {
    return this.#done;
  }

  async restart(lose) {
    this.#server.restart({ lose });
    await this.#server.settle();
    this.#server.page.dispatchEvent(new Event("online"));
  }

  drop() {
    this.#server.drop();
  }

  online(isOnline) {
    this.#server.online = isOnline;
  }

  /** Of presence, which on the real server comes from members that follow. */
  join(member) {
    return this.#server.join(`/c/${this.name}/presence`, member);
  }

  leave(member) {
    this.#server.leave(`/c/${this.name}/presence`, member);
  }

  close() {
    this.#server.close();
  }
}
