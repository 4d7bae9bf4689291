/**
 * What happens to a page, on every way to its server, and what it hears. Each scene is `(stage) => …`; what it notes is
 * compared between the fake server and the real one.
 */

import { connect } from "../../../src/triolet/static/triolet.js";

export const WAYS = {
  websocket: { transports: ["websocket"] },
  socket: { transports: ["websocket"] },
  sse: { transports: ["sse"] },
  "long-poll": { transports: ["long-poll"] },
  poll: { transports: ["poll"] },
};

/** One more way, on which only what is another there is played: all scenes are played at the same time. */
const SHARED = { "shared sse": { transports: ["sse"], socket: "/live" } };
const OF_SHARED = [
  "from now on",
  "the newest so many",
  "from what is kept no longer",
  "the connection breaks",
  "refused, and not there",
  "not now",
  "revoked",
  "two that follow one channel",
  "it has ended before",
  "it begins with a state",
  "the app fails to give the state",
  "what is only for now",
];

/** Scenes in which a token runs out by the clock, ten seconds after it was given. */
export const RUNNING_OUT = ["a token that runs out", "a token that is renewed"];

/** @returns {string[]} */
export function waysOf(name) {
  return Object.keys(OF_SHARED.includes(name) ? { ...WAYS, ...SHARED } : WAYS);
}

/** A page, with what it hears noted down. Cursors are noted by the order in which their epochs came. */
export class Stage {
  #epochs = [];
  #clients = [];
  notes = {};

  constructor(world, way) {
    this.world = world;
    this.way = way;
    this.url = `/c/${world.name}/events`;
  }

  connect(options = {}) {
    const { base, options: own, name } = this.world;
    const socket = this.way === "socket" ? `/talk/${name}` : undefined;
    const client = connect(base, { ...own, socket, ...(WAYS[this.way] ?? SHARED[this.way]), ...options });
    client.on("fault", () => {});
    this.#clients.push(client);
    return client;
  }

  place(cursor) {
    const [epoch, offset] = cursor.split(".");
    if (!this.#epochs.includes(epoch)) this.#epochs.push(epoch);
    return `E${this.#epochs.indexOf(epoch)}.${offset}`;
  }

  note(where, what) {
    this.notes[where] ??= [];
    if (!where.startsWith("states") || this.notes[where].at(-1) !== what) this.notes[where].push(what);
  }

  follow(client, options = {}, { url = this.url, as = "" } = {}) {
    const follow = client.follow(url, options);
    follow.on("event", ({ id, event, data, fold, folded }) => {
      const made = fold ? ` ${fold} ${folded}` : "";
      this.note(`items${as}`, `${this.place(id)} ${event} ${JSON.stringify(data)}${made}`);
    });
    follow.on("snapshot", ({ cursor, data, missed }) => {
      this.note(`items${as}`, `state ${this.place(cursor)} ${JSON.stringify(data)} ${missed}`);
    });
    follow.on("end", ({ cursor, data }) => this.note(`items${as}`, `end ${this.place(cursor)} ${JSON.stringify(data)}`));
    follow.on("gap", ({ from, to, missed, reason }) => {
      this.note(`items${as}`, `gap ${this.place(from)} ${this.place(to)} ${missed} ${reason}`);
    });
    follow.on("tell", ({ event, data, key }) => this.note(`told${as}`, `${event} ${JSON.stringify(data)} ${key}`));
    follow.on("fault", ({ kind }) => this.note(`items${as}`, `fault ${kind}`));
    follow.on("state", (state, { reason }) => this.note(`states${as}`, state === "gone" ? `gone ${reason}` : state));
    return follow;
  }

  /** Until so many items were heard. */
  heard(count, as = "") {
    return this.world.until(() => (this.notes[`items${as}`] ?? []).length >= count);
  }

  isIn(follow, state) {
    return this.world.until(() => follow.state === state);
  }

  async send(client, data, options) {
    const asked = { isOver: false };
    const answer = client.send(`/c/${this.world.name}/do`, data, options).finally(() => (asked.isOver = true));
    await this.world.until(() => asked.isOver);
    const { status, data: said, repeated } = await answer;
    this.note("replies", [status, said, repeated]);
  }

  close() {
    for (const client of this.#clients) client.close();
  }
}

/** A page that follows from now on, and is up to date. */
async function settled(stage, options) {
  const client = stage.connect(options);
  const follow = stage.follow(client);
  await stage.isIn(follow, "live");
  return { client, follow };
}

export const SCENES = {
  async "from now on"(stage) {
    await stage.world.publish("before");
    await settled(stage);
    await stage.world.publish({ state: "paid" }, { event: "order-status", key: "A1" });
    await stage.world.publish(["ü", null, 1.5]);
    await stage.heard(2);
  },

  async "from the oldest on"(stage) {
    for (const data of [1, 2, 3]) await stage.world.publish(data);
    stage.follow(stage.connect(), { after: "0" });
    await stage.heard(3);
    await stage.world.publish(4);
    await stage.heard(4);
  },

  async "from an offset on"(stage) {
    for (const data of [1, 2, 3]) await stage.world.publish(data);
    stage.follow(stage.connect(), { after: 2 });
    await stage.heard(1);
  },

  async "the newest so many"(stage) {
    for (const data of [1, 2, 3, 4, 5, 6]) await stage.world.publish(data);
    const client = stage.connect();
    stage.follow(client, { after: -2 });
    stage.follow(client, { after: "-99" }, { as: " all" });
    await stage.heard(2);
    await stage.heard(4, " all");
    await stage.world.publish(7);
    await stage.heard(3);
    await stage.heard(5, " all");
  },

  async "from what is kept no longer"(stage) {
    for (const data of [1, 2, 3, 4, 5, 6, 7]) await stage.world.publish(data);
    const client = stage.connect();
    stage.follow(client, { after: "1" });
    stage.follow(client, { after: "0" }, { as: " from the oldest" });
    await stage.heard(5);
    await stage.heard(4, " from the oldest");
  },

  async "from a place that is not there yet"(stage) {
    await stage.world.publish(1);
    const follow = stage.follow(stage.connect(), { after: "9" });
    await stage.heard(1);
    await stage.isIn(follow, "live");
    await stage.world.publish(2);
    await stage.heard(2);
  },

  async "from a place of another log"(stage) {
    await stage.world.publish(1);
    stage.follow(stage.connect(), { after: "another.5" });
    await stage.heard(2);
  },

  async "the connection breaks"(stage) {
    const { follow } = await settled(stage);
    await stage.world.publish(1);
    await stage.heard(1);
    stage.world.drop();
    await stage.world.publish(2);
    await stage.heard(2);
    await stage.isIn(follow, "live");
  },

  async "the network goes and comes back"(stage) {
    const { follow } = await settled(stage);
    await stage.world.publish(1);
    await stage.heard(1);
    stage.world.online(false);
    await stage.isIn(follow, "connecting");
    for (const data of [2, 3]) await stage.world.publish(data);
    stage.world.online(true);
    await stage.heard(3);
    await stage.isIn(follow, "live");
  },

  async "it is back too late"(stage) {
    const { follow } = await settled(stage);
    await stage.world.publish(1);
    await stage.heard(1);
    stage.world.online(false);
    await stage.isIn(follow, "connecting");
    for (const data of [2, 3, 4, 5, 6, 7]) await stage.world.publish(data);
    stage.world.online(true);
    await stage.heard(6);
    await stage.isIn(follow, "live");
  },

  async "refused, and not there"(stage) {
    await stage.world.refuse(403);
    const client = stage.connect();
    await stage.isIn(stage.follow(client), "gone");
    await stage.world.allow();
    await stage.world.refuse(404);
    await stage.isIn(stage.follow(client, {}, { as: " not there" }), "gone");
  },

  async "a login in its place"(stage) {
    await stage.world.refuse("login");
    await stage.isIn(stage.follow(stage.connect()), "gone");
  },

  async "refused when it comes back"(stage) {
    if (stage.way === "websocket") return stage.note("items", "no WebSocket says why, and it is asked for long");
    const { follow } = await settled(stage);
    await stage.world.refuse(403);
    stage.world.drop();
    await stage.isIn(follow, "gone");
  },

  async "not now"(stage) {
    if (stage.way === "socket") return stage.note("items", "a socket is told no more than a no");
    await stage.world.refuse(503);
    const follow = stage.follow(stage.connect());
    await stage.world.until(() => follow.why.reason !== undefined || follow.why.error !== undefined);
    stage.note("items", follow.state);
    await stage.world.allow();
    await stage.isIn(follow, "live");
  },

  async "revoked"(stage) {
    const { follow } = await settled(stage);
    // A poll that is not under way just now is let in again.
    if (stage.way === "poll") return stage.note("items", "polls are asked each time");
    await stage.world.until(async () => (await stage.world.revoke(), follow.state === "gone"));
  },

  async "two that follow one channel"(stage) {
    for (const data of [1, 2]) await stage.world.publish(data);
    const client = stage.connect();
    const one = stage.follow(client, { after: "0" });
    await stage.heard(2);
    const two = stage.follow(client, { after: "1" }, { as: " two" });
    await stage.heard(1, " two");
    await stage.isIn(two, "live");
    await stage.world.publish(3);
    await stage.heard(3);
    await stage.heard(2, " two");
    one.close();
    await stage.world.publish(4);
    await stage.heard(3, " two");
    stage.follow(client, { after: "2" }, { as: " three" });
    await stage.heard(2, " three");
  },

  async "commands"(stage) {
    const { client } = await settled(stage);
    await stage.send(client, { publish: "by a command" }, { id: "one" });
    await stage.heard(1);
    await stage.send(client, { publish: "by a command" }, { id: "one" });
    await stage.send(client, { status: 403, publish: "never" });
    await stage.send(client, { publish: "another" });
    await stage.heard(2);
    stage.note("done", await stage.world.done());
  },

  async "a command that has to wait"(stage) {
    const { client } = await settled(stage);
    await stage.send(client, { busy: 1 });
    stage.note("done", await stage.world.done());
  },

  async "a command without a network"(stage) {
    const { client, follow } = await settled(stage);
    stage.world.online(false);
    await stage.isIn(follow, "connecting");
    const sent = stage.send(client, { publish: "late" });
    stage.note("done", client.unanswered);
    stage.world.online(true);
    await sent;
    await stage.heard(1);
  },

  async "what an app says on a socket"(stage) {
    if (stage.way !== "socket") return stage.note("items", "there is none");
    const client = stage.connect();
    client.on("message", (data) => stage.note("messages", data));
    client.on("event", ({ id, data }) => stage.note("chosen", `${stage.place(id)} ${data}`));
    stage.follow(client);
    await stage.world.until(() => client.state === "live");
    client.tell("hello");
    client.tell("follow");
    client.tell("done");
    await stage.world.until(() => stage.notes.messages?.length === 2);
    await stage.world.publish(1);
    await stage.heard(1);
    await stage.world.until(() => stage.notes.chosen?.length === 1);
    client.tell("unfollow");
    client.tell("done");
    await stage.world.until(() => stage.notes.messages?.length === 3);
    for (const data of [2, 3]) await stage.world.publish(data);
    await stage.heard(3);
  },

  async "a token that runs out"(stage) {
    await stage.world.tokens({ a: 10_000 });
    const client = stage.connect({ token: `${stage.world.name}-a` });
    const follow = stage.follow(client);
    client.on("expiring", ({ refused }) => stage.note("warned", refused));
    await stage.isIn(follow, "gone");
  },

  async "a token that is renewed"(stage) {
    await stage.world.tokens({ a: 10_000, b: null });
    const tokens = ["a", "b"];
    const token = () => `${stage.world.name}-${tokens.length > 1 ? tokens.shift() : tokens[0]}`;
    const client = stage.connect({ token });
    const follow = stage.follow(client);
    for (const one of [client, follow]) {
      one.on("expiring", ({ refused }) => stage.note("warned", refused));
      one.on("renewed", (said) => stage.note("renewed", said.in));
    }
    await stage.isIn(follow, "live");
    const polls = stage.way.endsWith("poll");
    await stage.world.until(() => (polls ? tokens.length === 1 : stage.notes.renewed));
    await stage.isIn(follow, "live");
    await stage.world.publish(1);
    await stage.heard(1);
  },

  async "a token that is no good"(stage) {
    await stage.world.tokens({});
    const client = stage.connect({ token: `${stage.world.name}-x` });
    if (stage.way !== "socket") return stage.isIn(stage.follow(client), "gone");
    stage.follow(client);
    client.on("fault", ({ error }) => stage.note("fault", error?.reason));
    await stage.world.until(() => stage.notes.fault);
  },

  async "who is there"(stage) {
    const client = stage.connect();
    const here = client.presence(`/c/${stage.world.name}/presence`);
    here.on("join", ({ member, info }) => stage.note("items", ["join", member, info]));
    here.on("leave", ({ member }) => stage.note("items", ["leave", member]));
    await stage.world.until(() => here.state === "live");
    const members = [];
    for (const member of ["ann", "bob", "ann"]) {
      members.push(await joined(stage, client, member));
      await stage.world.until(() => here.size === Math.min(2, members.length) && here.get(member)?.sessions);
    }
    await stage.world.until(() => here.get("ann").sessions === 2);
    await members[0]();
    await stage.world.until(() => here.get("ann").sessions === 1);
    await members[1]();
    await stage.world.until(() => here.size === 1);
    stage.note("there", [...here.values()]);
  },
};

/** Numbers that look like chance, the same each time (mulberry32). */
function drawn(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What nobody thought of: follows that come from anywhere and go, amid events and networks that break. */
class Day {
  #open = new Map();
  #head = 0;
  #number = 0;

  constructor(stage, seed) {
    this.stage = stage;
    this.client = stage.connect();
    this.draw = drawn(seed);
  }

  async publish(count = 1) {
    for (; count > 0; count -= 1) await this.stage.world.publish((this.#head += 1));
  }

  /** Until all have heard of the newest event, or of the gap that it is in. */
  async heard() {
    const last = (as) => Number(/^(?:gap \S+ )?E\d+\.(\d+)/.exec(this.stage.notes[`items${as}`]?.at(-1))?.[1] ?? 0);
    await this.stage.world.until(() => [...this.#open].every(([as, { from }]) => Math.max(from, last(as)) >= this.#head));
  }

  steps = [
    () => this.publish(),
    () => this.publish(1 + this.draw(3)),
    async () => {
      const as = ` ${(this.#number += 1)}`;
      const after = [undefined, "0", String(this.draw(this.#head + 1))][this.draw(3)];
      const follow = this.stage.follow(this.client, { after }, { as });
      this.#open.set(as, { follow, from: after === undefined ? this.#head : Number(after) });
      await this.stage.isIn(follow, "live");
    },
    () => {
      const [as, { follow } = {}] = [...this.#open][this.draw(Math.max(1, this.#open.size))] ?? [];
      this.#open.delete(as);
      follow?.close();
    },
    () => {
      this.stage.world.drop();
      return this.publish();
    },
    async () => {
      this.stage.world.online(false);
      await this.publish(1 + this.draw(6));
      this.stage.world.online(true);
    },
  ];

  async play(count) {
    for (; count > 0; count -= 1) {
      await this.steps[this.draw(this.steps.length)]();
      await this.heard();
    }
    for (const name of Object.keys(this.stage.notes)) if (name.startsWith("states")) delete this.stage.notes[name];
    this.stage.note("items", this.#head);
  }
}

for (const seed of [1, 2, 3]) SCENES[`a long day (${seed})`] = (stage) => new Day(stage, seed).play(30);

/** A member that is there until what this returns is called. */
async function joined(stage, client, member) {
  if (stage.world.join) {
    const session = stage.world.join(member);
    return () => stage.world.leave(session);
  }
  const other = stage.connect({ socket: undefined, transports: ["sse"] });
  await stage.isIn(other.follow(`/c/${stage.world.name}/as/${member}`), "live");
  return () => other.close();
}

/** What is one restart for the pages of all ways: `restart(lose)` is over when they have all asked for it. */
export const RESTARTS = {
  async "the server is restarted"(stage, restart) {
    const { follow } = await settled(stage);
    await stage.world.publish(1);
    await stage.heard(1);
    await restart(0);
    await stage.isIn(follow, "live");
    await stage.world.publish(2);
    await stage.heard(2);
    await stage.isIn(follow, "live");
  },

  async "its newest events are lost"(stage, restart) {
    const { follow } = await settled(stage);
    await stage.world.publish(1);
    await stage.heard(1);
    await restart("backup");
    for (const data of [2, 3]) await stage.world.publish(data);
    await stage.heard(3);
    await restart(2);
    await stage.heard(4);
    await stage.isIn(follow, "live");
    await stage.world.publish("another 2");
    await stage.heard(5);
  },

  async "its log is lost"(stage, restart) {
    const { follow } = await settled(stage);
    for (const data of [1, 2]) await stage.world.publish(data);
    await stage.heard(2);
    await restart("all");
    await stage.heard(3);
    await stage.isIn(follow, "live");
    await stage.world.publish("another 1");
    await stage.heard(4);
  },
};
