/** What a server says, word by word: the same of the fake one as of the real one, but for epochs, times and draws. */

/** Words as they are the same for all servers. */
export class Words {
  #epoch = null;
  said = [];

  note(text) {
    this.#epoch ??= /"cursor":"([\w-]+)\.\d+"/.exec(text)?.[1] ?? null;
    const known = this.#epoch === null ? text : text.replaceAll(`${this.#epoch}.`, "E.");
    const timed = known.replace(/"time":\d+/g, '"time":0').replace(/^time: \d+$/gm, "time: 0");
    this.said.push(timed.replace(/("reason":"(?:snapshot|internal error)","retry":)\d+/g, "$10"));
  }

  /** From here on order says nothing, but within a bracket. */
  sort(from) {
    const parts = [];
    for (const text of this.said.splice(from)) {
      const left = parts.at(-1)?.left ?? 0;
      if (left > 0) Object.assign(parts.at(-1), { left: left - 1, texts: [...parts.at(-1).texts, text] });
      else parts.push({ left: JSON.parse(text).next ?? 0, texts: [text] });
    }
    const texts = parts.map((part) => part.texts.join("\n"));
    this.said.push(...texts.sort().flatMap((part) => part.split("\n")));
  }

  /** Which events those with a name have heard since `from`, however these came: in a bracket, or after a `live`. */
  heardBy(from) {
    const heard = {};
    let [named, next, live] = [[], 0, []];
    for (const { type, subs, next: count, id } of this.said.slice(from).map((text) => JSON.parse(text))) {
      if (type === "for") [named, next] = [subs, count];
      else {
        if (type === "live") live = subs;
        if (type === "event") for (const sub of next > 0 ? named : live) heard[sub] = [...(heard[sub] ?? []), id];
        if (next > 0) next -= 1;
      }
    }
    return heard;
  }
}

/** What an event stream said is noted, without beats: a server sends them by the clock, also before it has an answer. */
export function noteBlocks(text, { name }, words) {
  for (const block of text.replaceAll(name, "NAME").split("\n\n")) if (!block.includes("triolet.beat")) words.note(block);
}

/** A WebSocket whose messages are noted, without beats. */
export async function dial(world, path, words) {
  const { base, name, options } = world;
  const url = new URL(path.replace("NAME", name), base);
  url.protocol = "ws:";
  const socket = new options.WebSocket(url, "triolet.1");
  socket.onmessage = ({ data }) => JSON.parse(data).type !== "beat" && words.note(data.replaceAll(name, "NAME"));
  socket.onclose = ({ code }) => words.note(`closed ${code}`);
  const say = (message) => socket.send(JSON.stringify(message).replaceAll("NAME", name));
  const heard = (count) => world.until(() => words.said.length >= count);
  return { socket, say, heard };
}

/** Without another word. */
export function leave(socket) {
  socket.onclose = null;
  socket.close();
}

export const EVENTS = "/c/NAME/events";

export const WIRE = {
  async "a channel's WebSocket"(world, words) {
    await world.publish({ state: "new" }, { event: "order-status", key: "A1" });
    await world.publish([1, "ü"]);
    const { heard } = await dial(world, `${EVENTS}?after=0`, words);
    await heard(4);
    await world.publish(null);
    await heard(5);
    await world.revoke();
    await heard(7);
  },

  async "a gap on a WebSocket"(world, words) {
    for (const data of [1, 2, 3, 4, 5, 6]) await world.publish(data);
    const { heard, socket } = await dial(world, `${EVENTS}?after=1`, words);
    await heard(7);
    leave(socket);
  },

  async "many follows on a socket"(world, words) {
    for (const data of [1, 2]) await world.publish(data);
    const { say, heard } = await dial(world, "/talk/NAME", words);
    await heard(1);
    say({ type: "follow", url: EVENTS, after: "0", sub: "s1" });
    await heard(6);
    say({ type: "follow", url: EVENTS, sub: "s2" });
    await heard(9);
    await world.publish(3);
    await heard(10);
    say({ type: "unfollow", sub: "s1", channel: "c/NAME" });
    say({ type: "message", data: "hello" });
    await heard(11);
    await world.publish(4);
    await heard(12);
    say({ type: "follow", url: EVENTS, after: -1, sub: "s3" });
    await heard(16);
    await world.revoke();
    await heard(18);
  },

  async "beside a follow without a name"(world, words) {
    const { say, heard } = await dial(world, "/talk/NAME", words);
    await heard(1);
    say({ type: "follow", url: EVENTS, sub: "s1" });
    await heard(4);
    say({ type: "message", data: "follow" });
    await heard(10);
    words.sort(6); // the app's own, and that the others stand in brackets now
    await world.publish(1);
    await heard(13);
    say({ type: "follow", url: EVENTS, sub: "s2", after: "0" });
    await heard(17);
    say({ type: "message", data: "unfollow" });
    say({ type: "message", data: "done" });
    await world.until(() => words.said.slice(17).some((said) => said.includes('"echo":"done"')));
    // Which of the two has the way without brackets, and from when on, is chance: each hears all of it.
    for (const data of [2, 3]) {
      await world.publish(data);
      await world.until(() => ["s1", "s2"].every((sub) => words.heardBy(17)[sub]?.length === data - 1));
    }
    const { s1, s2 } = words.heardBy(17);
    words.said.splice(17, Infinity, `s1 ${s1}`, `s2 ${s2}`);
  },

  async "what a socket is refused"(world, words) {
    const { say, heard } = await dial(world, "/talk/NAME", words);
    await heard(1);
    await world.refuse(403);
    say({ type: "follow", url: EVENTS, sub: "s1" });
    await heard(2);
    say({ type: "follow", url: EVENTS });
    await heard(3);
    await world.allow();
    say({ type: "follow", url: `${EVENTS}?after=0` });
    await heard(5);
    say({ type: "no such thing" });
    await heard(7);
  },

  async "commands on a WebSocket"(world, words) {
    const { say, heard, socket } = await dial(world, EVENTS, words);
    await heard(2);
    const command = { type: "command", id: "one", url: "/c/NAME/do", data: { publish: "done" } };
    say(command);
    await heard(4);
    say(command);
    await heard(5);
    say({ ...command, id: "two", data: { busy: 9 } });
    await heard(6);
    leave(socket);
  },

  async "commands by POST"(world, words) {
    const post = async (id, data) => {
      const headers = { "Content-Type": "application/json", "Idempotency-Key": `"${id}"` };
      const asked = world.options.fetch ?? fetch;
      const url = new URL(`/c/${world.name}/do`, world.base);
      const answer = { isThere: false };
      asked(url, { method: "POST", headers, body: JSON.stringify(data) }).then((found) => (answer.isThere = found));
      await world.until(() => answer.isThere);
      const { status, headers: said } = answer.isThere;
      words.note(`${status} ${said.get("Idempotency-Replayed")} ${said.get("Retry-After")}`);
      if (status < 400) words.note(await answer.isThere.text().then((text) => JSON.stringify(JSON.parse(text))));
      else words.note(JSON.parse((await answer.isThere.text()) || "null")?.error ?? "");
    };
    await post("one", { status: 201 });
    await post("one", { status: 201 });
    await post("one", { status: 200 });
    await post("two", { busy: 9 });
  },

  async "an event stream"(world, words) {
    await world.publish({ state: "new" }, { event: "order-status", key: "A1" });
    for (const [query, id] of [["?after=0"], ["?after=-1"], ["", "nonsense"]]) {
      let text = "";
      const gone = new AbortController();
      const url = new URL(`/c/${world.name}/events${query}`, world.base);
      const headers = { Accept: "text/event-stream", ...(id && { "Last-Event-ID": id }) };
      const response = await got(world, url, { headers, signal: gone.signal });
      words.note(`${response.status} ${response.headers.get("Content-Type")}`);
      const reader = response.body.getReader();
      const read = async () => {
        for (let part = {}; !part.done; part = await reader.read()) text += new TextDecoder().decode(part.value);
      };
      read().catch(() => null);
      await world.until(() => text.includes("triolet.live") && text.endsWith("\n\n"));
      await world.publish([query, "ü"]);
      await world.until(() => text.includes(`["${query}"`) && text.endsWith("\n\n"));
      if (id) {
        await world.revoke();
        await world.until(() => text.includes("triolet.bye") && text.endsWith("\n\n"));
      }
      noteBlocks(text, world, words);
      gone.abort();
    }
  },

  async "polls"(world, words) {
    for (const data of [1, 2, 3, 4, 5, 6]) await world.publish(data, { key: "k" });
    const poll = async (query, headers = {}) => {
      const response = await got(world, new URL(`/c/${world.name}/events${query}`, world.base), { headers });
      const text = response.status === 200 ? JSON.parse((await response.text()).replaceAll(world.name, "NAME")) : null;
      if (text) text.retry = 0; // how often polls come is a limit of the server's
      words.note(`${response.status} ${JSON.stringify(text)}`);
      return { tag: response.headers.get("ETag"), cursor: text?.cursor };
    };
    const { tag, cursor } = await poll("");
    await poll("", { "If-None-Match": tag });
    await poll("?after=1");
    await poll("?after=0");
    await poll("?after=-2");
    await poll("?after=-9&wait=5");
    await poll(`?after=${cursor}&wait=0.2`);
    await poll("?after=99&wait=5");
    await poll("?after=another.1");
    await poll("?after=nonsense");
    const waiting = poll(`?after=${cursor}&wait=20`);
    await world.publish("late");
    await waiting;
  },
};

export async function got(world, url, init) {
  const found = { response: null };
  const asked = (world.options.fetch ?? fetch)(url, init).then((response) => (found.response = response));
  await world.until(() => found.response);
  return asked;
}

