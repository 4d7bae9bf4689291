/** What ends, is deleted, begins with a state or comes folded, as a page hears it and word by word: see scenes.mjs. */

import { EVENTS, dial, got, leave, noteBlocks } from "./wire_scenes.mjs";

const STATE = "/c/NAME/state";

/** Ms: who is asked again after what the server has drawn, ten seconds at most, and each time that it fails. */
const FAILED = 60_000;

/** Words of an answer that one has in three parts, each of them with the same key. */
async function write(world, ...parts) {
  for (const data of parts) await world.publish(data, { key: "text", fold: "concat" });
}

export const ENDING = {
  async "a channel ends"(stage) {
    const follow = stage.follow(stage.connect());
    await stage.isIn(follow, "live");
    await stage.world.publish(1);
    await stage.world.end({ outcome: "done" });
    await stage.heard(2);
    await stage.isIn(follow, "gone");
  },

  async "it has ended before"(stage) {
    for (const data of [1, 2]) await stage.world.publish(data);
    await stage.world.end({ outcome: "done" });
    await stage.world.end("a second end");
    const client = stage.connect();
    for (const [as, after] of [[""], [" all", "0"], [" one", "1"], [" there", "3"], [" newest", -1], [" beyond", "9"]]) {
      await stage.isIn(stage.follow(client, { after }, { as }), "gone");
    }
  },

  async "more had gone than is kept when it ended"(stage) {
    for (const data of [1, 2, 3, 4, 5, 6]) await stage.world.publish(data);
    await stage.world.end(null);
    await stage.isIn(stage.follow(stage.connect(), { after: "1" }), "gone");
  },

  async "a channel is deleted, and begins anew"(stage) {
    const client = stage.connect();
    const first = stage.follow(client);
    await stage.isIn(first, "live");
    for (const data of [1, 2]) await stage.world.publish(data);
    await stage.heard(2);
    await stage.world.delete();
    await stage.isIn(first, "gone");
    await stage.isIn(stage.follow(client, { after: "1" }, { as: " meanwhile" }), "gone");
    await stage.isIn(stage.follow(client, {}, { as: " now" }), "gone");
    await stage.world.publish("anew");
    const anew = stage.follow(client, { after: "0" }, { as: " anew" });
    await stage.isIn(anew, "live");
    const late = stage.follow(client, { after: first.cursor }, { as: " late" });
    await stage.isIn(late, "live");
    await stage.isIn(stage.follow(client, { after: "1" }, { as: " from before" }), "live");
    await stage.world.publish("more");
    await stage.heard(2, " anew");
    await stage.heard(2, " late");
    await stage.heard(3, " from before");
  },

  async "a command publishes to what has ended"(stage) {
    await stage.world.end(null);
    const client = stage.connect();
    for (const id of ["one", "one"]) await stage.send(client, { publish: 1 }, { id });
    stage.note("done", await stage.world.done());
  },

  async "it begins with a state"(stage) {
    const url = stage.url.replace("events", "state");
    for (const data of [1, 2, 3]) await stage.world.publish(data);
    const client = stage.connect();
    const follow = stage.follow(client, { snapshot: true }, { url });
    await stage.isIn(follow, "live");
    await stage.world.publish(4);
    await stage.heard(2);
    for (const [as, more] of [[" with a cursor", { after: "2" }], [" too late", { after: "another.1" }]]) {
      await stage.isIn(stage.follow(client, { snapshot: true, ...more }, { url, as }), "live");
    }
    await stage.isIn(stage.follow(client, { after: "another.1" }, { url, as: " who asks for none" }), "live");
    await stage.isIn(stage.follow(client, { snapshot: true }, { as: " where there is none" }), "live");
  },

  async "the app fails to give the state"(stage) {
    const url = stage.url.replace("events", "state");
    await stage.world.fail(true);
    const client = stage.connect();
    const other = stage.follow(client, {}, { as: " another" });
    await stage.isIn(other, "live");
    const follow = stage.follow(client, { snapshot: true }, { url });
    await stage.world.until(() => stage.world.failed());
    await stage.world.publish("meanwhile");
    await stage.heard(1, " another");
    await stage.world.fail(false);
    await stage.world.until(() => follow.state === "live", FAILED);
    await stage.world.publish("then");
    await stage.heard(2);
    await stage.heard(2, " another");
  },

  async "it comes back too late, to a state"(stage) {
    const url = stage.url.replace("events", "state");
    const follow = stage.follow(stage.connect(), { snapshot: true }, { url });
    await stage.isIn(follow, "live");
    await stage.world.publish(1);
    await stage.heard(2);
    stage.world.online(false);
    await stage.isIn(follow, "connecting");
    for (const data of [2, 3, 4, 5, 6, 7]) await stage.world.publish(data);
    stage.world.online(true);
    await stage.heard(3);
    await stage.isIn(follow, "live");
    await stage.world.end(null);
    await stage.isIn(follow, "gone");
  },

  async "what is only for now"(stage) {
    const follow = stage.follow(stage.connect());
    await stage.isIn(follow, "live");
    if (stage.way === "poll") await stage.world.tell("nobody hears it");
    // Between two long polls nobody waits: it is told again until it was heard.
    else if (stage.way === "long-poll") {
      await stage.world.until(async () => stage.notes.told || (await stage.world.tell("ann"), false));
    } else {
      await stage.world.tell({ who: "ann" }, { event: "typing", key: "ann" });
      await stage.world.tell(null);
      await stage.world.until(() => stage.notes.told?.length === 2);
    }
    await stage.world.publish(1);
    await stage.heard(1);
    if (stage.way === "long-poll") stage.notes.told.length = 1;
  },

  async "what was missed comes as one"(stage) {
    await write(stage.world, "Hel", "lo", " wörld");
    await stage.world.publish({ a: 1 }, { key: "text", fold: "merge" });
    const client = stage.connect();
    for (const [as, options] of [["", { fold: true }], [" each", {}], [" some", { after: 1, fold: true }]]) {
      const follow = stage.follow(client, { after: "0", ...options }, { as });
      await stage.isIn(follow, "live");
    }
    for (const [place, data] of ["live", "!"].entries()) {
      await write(stage.world, data);
      await stage.heard(3 + place);
      await stage.heard(5 + place, " each");
      await stage.heard(3 + place, " some");
    }
  },

  async "what was missed while it was away comes as one"(stage) {
    const follow = stage.follow(stage.connect(), { fold: true });
    await stage.isIn(follow, "live");
    stage.world.online(false);
    await stage.isIn(follow, "connecting");
    for (const [data, fold] of [[1, "sum"], [2, "sum"], [{ a: 1, b: 2 }, "merge"], [{ a: null, c: 3 }, "merge"]]) {
      await stage.world.publish(data, { key: "k", fold });
    }
    stage.world.online(true);
    await stage.heard(2);
    await stage.isIn(follow, "live");
    await stage.world.publish("last", { key: "k", fold: "latest" });
    await stage.heard(3);
  },
};

export const ENDING_WIRE = {
  async "an end on a channel's WebSocket"(world, words) {
    await world.publish(1);
    const { heard } = await dial(world, `${EVENTS}?after=0`, words);
    await heard(3);
    await world.end({ outcome: "done" });
    await heard(6);
    for (const after of ["", "?after=0", "?after=2"]) {
      const begun = words.said.length;
      const { heard: more } = await dial(world, `${EVENTS}${after}`, words);
      await more(begun + (after === "?after=0" ? 5 : 4));
    }
  },

  async "an end on a socket"(world, words) {
    const { say, heard, socket } = await dial(world, "/talk/NAME", words);
    await heard(1);
    say({ type: "follow", url: EVENTS, sub: "s1" });
    await heard(4);
    say({ type: "follow", url: EVENTS, sub: "s2" });
    await heard(7);
    await world.end(["over"]);
    await heard(8);
    say({ type: "message", data: "hello" });
    await heard(9);
    say({ type: "follow", url: EVENTS, sub: "s3" });
    await heard(12);
    say({ type: "message", data: "follow" });
    await heard(14);
    leave(socket);
  },

  async "an end in an event stream, and a state"(world, words) {
    await write(world, "a", "b", "c");
    await world.end(null);
    for (const query of ["state?snapshot=1", "events?after=0&fold=1", "events?after=0", "state?snapshot=1&after=another.1"]) {
      let text = "";
      const url = new URL(`/c/${world.name}/${query}`, world.base);
      const response = await got(world, url, { headers: { Accept: "text/event-stream" } });
      const reader = response.body.getReader();
      const read = async () => {
        for (let part = {}; !part.done; part = await reader.read()) text += new TextDecoder().decode(part.value);
        text += "over";
      };
      read().catch(() => (text += "broken"));
      await world.until(() => text.endsWith("over"));
      noteBlocks(text, world, words);
      const id = /.*id: (\S+)/s.exec(text)[1];
      const again = await got(world, url, { headers: { Accept: "text/event-stream", "Last-Event-ID": id } });
      words.note(`${again.status}`);
    }
  },

  async "what is told on a WebSocket, a socket and an event stream"(world, words) {
    const { heard, socket } = await dial(world, EVENTS, words);
    await heard(2);
    await world.tell({ who: "ann" }, { event: "typing", key: "ann" });
    await heard(3);
    leave(socket);
    const shared = await dial(world, "/talk/NAME", words);
    await heard(4);
    shared.say({ type: "follow", url: EVENTS, sub: "s1" });
    await heard(7);
    await world.tell(1);
    await heard(8);
    leave(shared.socket);
    let text = "";
    const gone = new AbortController();
    const url = new URL(EVENTS.replace("NAME", world.name), world.base);
    const response = await got(world, url, { headers: { Accept: "text/event-stream" }, signal: gone.signal });
    const reader = response.body.getReader();
    const read = async () => {
      for (let part = {}; !part.done; part = await reader.read()) text += new TextDecoder().decode(part.value);
    };
    read().catch(() => null);
    await world.until(() => text.includes("triolet.live") && text.endsWith("\n\n"));
    await world.tell([2]);
    await world.until(() => text.includes("triolet.tell") && text.endsWith("\n\n"));
    gone.abort();
    words.note(text.replaceAll(world.name, "NAME").split("\n\n").find((block) => block.includes("triolet.tell")));
  },

  async "a long poll that is told"(world, words) {
    const poll = async () => {
      const url = new URL(`${EVENTS.replace("NAME", world.name)}?wait=20`, world.base);
      const response = await got(world, url, {});
      return JSON.parse((await response.text()).replaceAll(world.name, "NAME"));
    };
    let answer = null;
    poll().then((body) => (answer = body));
    await world.until(async () => answer || (await world.tell("ann", { event: "typing" }), false));
    words.note(JSON.stringify(answer));
  },

  async "a state on a socket"(world, words) {
    await world.publish(1);
    const { say, heard, socket } = await dial(world, "/talk/NAME", words);
    await heard(1);
    say({ type: "follow", url: `${STATE}?snapshot=1&fold=1`, sub: "s1" });
    await heard(5);
    await write(world, "a");
    await heard(6);
    leave(socket);
  },

  async "a state that fails on a WebSocket, a socket and in an event stream of many"(world, words) {
    await world.fail(true);
    const own = await dial(world, `${STATE}?snapshot=1`, words);
    await own.heard(2);
    const { say, heard, socket } = await dial(world, "/talk/NAME", words);
    await heard(3);
    say({ type: "follow", url: `${STATE}?snapshot=1`, sub: "s1" });
    await heard(4);
    say({ type: "follow", url: `${STATE}?snapshot=1&fold=1` });
    await heard(5);
    leave(socket);
    const path = (rest) => encodeURIComponent(`/c/${world.name}/${rest}`);
    for (const follow of [path("state?snapshot=1"), `${path("state?snapshot=1")}&follow=${path("presence")}`]) {
      let text = "";
      const gone = new AbortController();
      const asked = { headers: { Accept: "text/event-stream" }, signal: gone.signal };
      const response = await got(world, new URL(`/live?follow=${follow}`, world.base), asked);
      const reader = response.body.getReader();
      const read = async () => {
        for (let part = {}; !part.done; part = await reader.read()) text += new TextDecoder().decode(part.value);
      };
      read().catch(() => null);
      await world.until(() => /triolet.(bye|refused)/.test(text) && text.endsWith("\n\n"));
      gone.abort();
      const said = text.replaceAll(world.name, "NAME").replace(/^retry: \d+$/gm, "retry: 0");
      words.note(said.split("\n\n").find((block) => /triolet.(bye|refused)/.test(block)));
    }
    for (const query of ["snapshot=1", "snapshot=1&wait=20"]) {
      const response = await got(world, new URL(`/c/${world.name}/state?${query}`, world.base), {});
      words.note(`${response.status}`);
    }
  },

  async "polls of what has ended, with a state, and folded"(world, words) {
    await write(world, "a", "b", "c");
    const poll = async (query, headers = {}) => {
      const response = await got(world, new URL(`/c/${world.name}/${query}`, world.base), { headers });
      const text = response.status === 200 ? JSON.parse((await response.text()).replaceAll(world.name, "NAME")) : null;
      if (text?.retry) text.retry = 0;
      words.note(`${response.status} ${JSON.stringify(text)}`);
      return { tag: response.headers.get("ETag"), cursor: text?.cursor };
    };
    const { tag } = await poll("state?snapshot=1");
    await poll("state?snapshot=1", { "If-None-Match": tag });
    await poll("state?snapshot=1&wait=5");
    await poll("state?snapshot=1&after=another.1");
    await poll("events?after=0&fold=1");
    const { cursor } = await poll("events?after=1&fold=1");
    const waiting = poll(`events?after=${cursor}&wait=20&fold=1`);
    await world.end({ outcome: "done" });
    await waiting;
    await poll("events?after=0");
    const ended = await poll("events");
    await poll(`events?after=${ended.cursor}&wait=20`);
    await poll(`events?after=${ended.cursor}`, { "If-None-Match": ended.tag });
    await world.delete();
    await poll("events?after=1");
    await world.publish("anew");
    await poll("events?after=1");
  },
};
