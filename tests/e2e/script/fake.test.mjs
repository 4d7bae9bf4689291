/** The fake server of the package, as users' tests have it: what happens to a page, and what a test is told. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Socket, command, connect, follow } from "../../../src/triolet/static/triolet.js";
import { fakeServer } from "../../../src/triolet/static/fake.js";

const BASE = "https://shop.test";
const URL_OF_A1 = "/orders/A1/events";
const WAYS = ["websocket", "socket", "sse", "long-poll", "poll", "shared sse", "shared long-poll"];

/** A page that follows an order, and what it hears. */
function open(t, { way, after, fake, ...options } = {}) {
  const server = fakeServer(fake);
  t.after(() => server.close());
  server.channel("/orders/<id>/events", { name: "orders/<id>" });
  server.socket("/live");
  const transports = way && [way === "socket" ? "websocket" : way.replace("shared ", "")];
  const socket = way?.startsWith("s") && way !== "sse" ? "/live" : undefined;
  const client = connect(BASE, { ...server.options, transports, socket, ...options });
  const follow = client.follow(URL_OF_A1, { after });
  const heard = [];
  follow.on("event", ({ id, data }) => heard.push([id, data]));
  follow.on("gap", ({ to, missed, reason }) => heard.push([to, missed, reason]));
  return { server, client, follow, heard };
}

/** What is printed of a trouble is not of interest here. */
function quietly(t) {
  return t.mock.method(console, "error", () => {});
}

// --- on all ways -------------------------------------------------------------------------------------------

for (const way of WAYS) {
  test(`a page on ${way} hears what is published, whatever happens to its network`, async (t) => {
    const { server, client, follow, heard } = open(t, { way });
    await server.settle();
    assert.deepEqual([client.state, follow.channel], ["live", "orders/A1"]);
    server.publish(URL_OF_A1, 1);
    await server.advance(2_000); // a short poll asks again by then
    server.drop();
    server.publish(URL_OF_A1, 2);
    await server.advance(3_000);
    server.online = false;
    server.publish(URL_OF_A1, 3);
    await server.advance(60_000);
    assert.equal(client.state, "connecting");
    server.online = true;
    await server.settle();
    assert.deepEqual(heard, [["fake-1.1", 1], ["fake-1.2", 2], ["fake-1.3", 3]]);
    assert.equal(client.state, "live");
  });

  test(`a page on ${way} is told of a gap, and goes on behind it`, async (t) => {
    const { server, follow, heard } = open(t, { way });
    await server.settle();
    server.gap(URL_OF_A1, 5, "skipped");
    server.publish(URL_OF_A1, "next");
    await server.advance(2_000);
    assert.deepEqual(heard, [["fake-1.5", 5, "skipped"], ["fake-1.6", "next"]]);
    assert.equal(follow.state, "live");
  });

  test(`a page on ${way} whose connection goes dead finds it out by the silence`, async (t) => {
    const { server, follow, heard } = open(t, { way });
    await server.settle();
    server.vanish();
    server.publish(URL_OF_A1, 1);
    await server.advance(2_000);
    if (way !== "poll") assert.deepEqual([heard, follow.state], [[], "live"]); // polls come anew each time
    await server.advance(60_000);
    assert.deepEqual([heard, follow.state], [[["fake-1.1", 1]], "live"]);
  });

  test(`a page on ${way} that is refused, or sent to a login, is told so`, async (t) => {
    const { server, client, follow } = open(t, { way });
    server.refuse(URL_OF_A1);
    server.refuse("/orders/A2/events", "login");
    const other = client.follow("/orders/A2/events");
    await server.settle();
    assert.deepEqual([follow.state, follow.why.reason], ["gone", "refused"]);
    assert.equal(other.why.reason, way === "socket" ? "refused" : "login");
    server.allow(URL_OF_A1);
    const again = client.follow(URL_OF_A1);
    await server.settle();
    assert.equal(again.state, "live");
  });

  test(`a page on ${way} is asked once for what its command does, though the answer is lost`, async (t) => {
    const { server, client, heard } = open(t, { way });
    let sold = 0;
    server.command("/orders/<id>/pay", async (data, { params, publish }) => {
      sold += 1;
      publish(URL_OF_A1, { [params.id]: data });
      await server.wait(1_000);
      return { status: 201, data: { sold } };
    });
    await server.settle();
    const sent = client.send("/orders/A1/pay", 7, { id: "once" });
    await server.settle();
    server.drop();
    await server.advance(5_000);
    assert.deepEqual(await sent, { status: 201, data: { sold: 1 }, repeated: true });
    assert.deepEqual(heard, [["fake-1.1", { A1: 7 }]]);
    assert.deepEqual(server.commands, [{ id: "once", url: "/orders/A1/pay", data: 7 }]);
  });
}

// --- time ----------------------------------------------------------------------------------------------------

test("beats come by the clock, and when the test says so", async (t) => {
  const { server, follow } = open(t, { way: "sse" });
  const beats = [];
  follow.on("beat", ({ time, stale = false }) => beats.push([time - begun, stale]));
  const begun = server.time;
  await server.advance(70_000);
  assert.deepEqual(beats, [[10_000, false], [30_000, false], [50_000, false], [70_000, false]]);
  server.beat({ stale: true });
  await server.settle();
  assert.deepEqual(beats.at(-1), [70_000, true]);
});

test("with a real clock the page's own timers go on, or those of the test's runner", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, heard } = open(t, { way: "poll", fake: { clock: "real" } });
  await server.settle(() => server.time > 0);
  server.publish(URL_OF_A1, 1);
  await server.settle();
  assert.deepEqual(heard, []);
  t.mock.timers.tick(2_000);
  await server.settle(() => heard.length === 1);
  await assert.rejects(server.advance(1), /advance: time is real here/);
});

test("with a real clock a test waits for what it expects", async (t) => {
  const { server, heard } = open(t, { fake: { clock: "real" } });
  await server.settle(() => server.followers(URL_OF_A1) === 1);
  server.drop();
  server.publish(URL_OF_A1, 1);
  assert.deepEqual(await server.settle(() => heard.at(0)), ["fake-1.1", 1]);
});

test("a command that is never answered ends by the clock", async (t) => {
  const { server, client } = open(t);
  server.command("/never", () => server.wait(Infinity));
  await server.settle();
  const sent = assert.rejects(client.send("/never", null, { timeout: 90_000 }), { name: "Unanswered", sent: true });
  await server.advance(90_000);
  await sent;
  assert.equal(server.commands.length, 1);
});

// --- credentials ------------------------------------------------------------------------------------------------

for (const way of ["websocket", "socket", "sse"]) {
  test(`a token on ${way} is renewed when the server warns, and nothing is missed`, async (t) => {
    const tokens = ["one", "two"];
    const { server, client, follow, heard } = open(t, { way, token: () => (tokens.length > 1 ? tokens.shift() : tokens[0]) });
    const told = [];
    for (const one of [client, follow]) {
      one.on("expiring", ({ in: left }) => told.push(left));
      one.on("renewed", ({ in: left }) => told.push(left));
    }
    await server.settle();
    server.expire({ token: "one", in: 20_000 });
    await server.advance(20_000);
    server.publish(URL_OF_A1, 1);
    await server.settle();
    assert.deepEqual([told, heard, follow.state], [[20_000, null], [["fake-1.1", 1]], "live"]);
  });
}

for (const way of WAYS) {
  test(`a token on ${way} that has run out is the end`, async (t) => {
    const { server, client, follow } = open(t, { way, token: "one" });
    await server.settle();
    server.expire({ in: 10_000 });
    await server.advance(12_000);
    if (way === "socket") return assert.equal(client.state, "idle");
    assert.deepEqual([follow.state, follow.why.reason], ["gone", "expired"]);
  });
}

test("who a client is says the test", async (t) => {
  const { server, client, follow } = open(t, { token: "ann" });
  server.identify((token) => (token === "ann" ? { subject: "ann", expiresAt: server.time + 60_000 } : null));
  await server.settle();
  assert.equal(follow.state, "live");
  const stranger = connect(BASE, { ...server.options, token: "eve" }).follow(URL_OF_A1);
  await server.settle();
  assert.deepEqual([stranger.state, stranger.why.reason], ["gone", "expired"]);
  assert.equal(client.state, "live");
});

// --- what else there is ------------------------------------------------------------------------------------------

test("an app's socket speaks with the page, and follows for it", async (t) => {
  const server = fakeServer();
  t.after(() => server.close());
  const client = connect(BASE, { ...server.options, socket: "/warehouse" });
  const heard = [];
  client.on("message", (data) => heard.push(data));
  client.on("event", ({ channel, data }) => heard.push([channel, data]));
  server.socket("/warehouse", {
    open: (page) => page.send("welcome"),
    message: ({ show }, page) => page.follow(show),
  });
  await server.settle();
  client.tell({ show: "/tasks" });
  await server.settle();
  server.publish("/tasks", "pick");
  server.say("/warehouse", "bye");
  await server.settle();
  assert.deepEqual(heard, ["welcome", ["tasks", "pick"], "bye"]);
});

test("members come and go", async (t) => {
  const { server, client } = open(t);
  const here = client.presence("/orders/A1/presence");
  const changes = [];
  here.on("join", ({ member, info }) => changes.push(["join", member, info]));
  here.on("leave", ({ member }) => changes.push(["leave", member]));
  server.join("/orders/A1/presence", "ann", { name: "Ann" });
  server.join("/orders/A1/presence", "bob");
  await server.settle();
  assert.equal(here.state, "live");
  server.leave("/orders/A1/presence", "ann");
  await server.settle();
  assert.deepEqual(changes, [["join", "ann", { name: "Ann" }], ["join", "bob", null], ["leave", "ann"]]);
  assert.throws(() => server.leave("/orders/A1/presence", "eve"), /eve is not in .*; there: bob \(fake\.2\)/);
});

test("a page that leaves is a follower less, and one that sleeps comes back", async (t) => {
  const { server, client, follow, heard } = open(t);
  await server.settle();
  assert.equal(server.followers(URL_OF_A1), 1);
  await server.page.say("pagehide");
  assert.equal(server.followers(URL_OF_A1), 0);
  server.publish(URL_OF_A1, 1);
  await server.page.say("pageshow");
  assert.deepEqual([server.followers(URL_OF_A1), heard.length, client.state], [1, 1, "live"]);
  follow.close();
  await server.settle();
  assert.equal(server.followers(URL_OF_A1), 0);
});

test("a page that is loaded anew goes on where it was", async (t) => {
  const kept = new Map();
  const store = { get: (key) => kept.get(key), set: (key, value) => kept.set(key, value) };
  const { server, client, heard } = open(t, { store });
  await server.settle();
  server.publish(URL_OF_A1, 1);
  await server.settle();
  client.close();
  server.publish(URL_OF_A1, 2);
  const again = connect(BASE, { ...server.options, store }).follow(URL_OF_A1);
  again.on("event", ({ id, data }) => heard.push([id, data]));
  await server.settle();
  assert.deepEqual(heard, [["fake-1.1", 1], ["fake-1.2", 2]]);
});

test("a restart is said, and what is lost with it is a gap", async (t) => {
  const { server, follow, heard } = open(t);
  await server.settle();
  for (const data of [1, 2]) server.publish(URL_OF_A1, data);
  await server.settle();
  const reasons = [];
  follow.on("state", (state, { reason }) => state === "connecting" && reasons.push(reason));
  for (const lose of [0, 1, "all"]) {
    server.restart({ lose });
    await server.advance(5_000);
  }
  assert.deepEqual(reasons, ["restarting", "restarting", "restarting"]);
  assert.deepEqual(heard.slice(2), [["fake-2.1", null, "future"], ["fake-3.0", null, "epoch"]]);
});

test("the older faces of the client have it too", async (t) => {
  const server = fakeServer();
  t.after(() => server.close());
  server.command("/pay", { status: 200, data: "paid" });
  server.channel(URL_OF_A1);
  server.socket("/live");
  const heard = [];
  const options = { ...server.options, onEvent: ({ data }) => heard.push(data) };
  const track = follow(`${BASE}${URL_OF_A1}`, options);
  const socket = new Socket(`${BASE}/live`, server.options);
  socket.follow(URL_OF_A1, { onEvent: ({ data }) => heard.push(data) });
  await server.settle();
  server.publish(URL_OF_A1, 1);
  await server.settle();
  assert.deepEqual([heard, track.state], [[1, 1], "live"]);
  const paid = command(`${BASE}/pay`, null, server.options);
  await server.settle();
  assert.equal((await paid).data, "paid");
  track.close();
  socket.close();
});

test("a rule says what a channel is called, and the newest that fits counts", async (t) => {
  const { server, client } = open(t);
  server.channel("/rooms/<int:number>", { name: ({ number }, url) => `room ${number} ${url.searchParams.get("as")}` });
  server.channel("/files/<path:file>", { name: "file/<file>" });
  server.channel("/files/a/ü", { name: "that one" });
  const urls = ["/rooms/7?as=guest", "/files/a/b", "/files/a/ü"];
  const follows = urls.map((url) => client.follow(url));
  const heard = [];
  for (const one of follows) one.on("event", ({ data }) => heard.push(data));
  await server.settle();
  assert.deepEqual(follows.map(({ channel }) => channel), ["room 7 guest", "file/a/b", "that one"]);
  for (const url of urls) server.publish(url, url);
  await server.settle();
  assert.deepEqual(heard, urls);
});

test("what may pass is tried again when the server says", async (t) => {
  const { server, client, follow } = open(t, { way: "sse" });
  server.refuse(URL_OF_A1, 503, { retry: 7_000 });
  server.command("/pay", () => (server.commands.length < 3 ? { status: 503, retry: 4_000 } : { data: "paid" }));
  const sent = client.send("/pay");
  await server.settle();
  server.allow(URL_OF_A1);
  await server.advance(6_999);
  assert.equal(follow.state, "connecting");
  await server.advance(1_001);
  assert.deepEqual([follow.state, (await sent).data], ["live", "paid"]);
});

// --- what a test is told -----------------------------------------------------------------------------------------

test("a URL that nobody serves fails the test, and the page is refused as by the server", async (t) => {
  const printed = quietly(t);
  const { server, client } = open(t);
  server.command("/orders/<id>/pay", {});
  const typo = client.follow("/order/A1/events");
  await assert.rejects(server.settle(), ({ message }) => {
    assert.match(message, /nothing is at \/order\/A1\/events, which was followed\. There are:/);
    assert.match(message, /\/orders\/<id>\/events \(channel\)\n {2}\/live \(socket\)\n {2}\/orders\/<id>\/pay \(command\)/);
    return true;
  });
  assert.equal(typo.why.reason, "refused");
  assert.ok(printed.mock.callCount() > 0);
  const sent = client.send("/orders/A1/pai");
  await assert.rejects(server.settle(), /nothing is at \/orders\/A1\/pai, which a command was asked of/);
  assert.equal((await sent).status, 404);
  await server.settle();
});

test("a handler that throws fails the test, and so does an answer that is none", async (t) => {
  quietly(t);
  const { server, client } = open(t);
  server.command("/throws", () => {
    throw new RangeError("out of stock");
  });
  server.command("/tells", () => "done");
  const [one, other] = [client.send("/throws"), client.send("/tells")];
  await assert.rejects(server.settle(), ({ errors: [first, second] }) => {
    assert.deepEqual([first.name, first.message], ["RangeError", "out of stock"]);
    assert.match(second.message, /a command answers \{status, data, retry\}, or nothing; not "done"/);
    return true;
  });
  assert.deepEqual([(await one).status, (await other).status], [500, 500]);
});

test("what nobody was told until the end is thrown there", async (t) => {
  quietly(t);
  const { server, follow } = open(t);
  await server.settle();
  connect(BASE, { ...server.options, transports: ["sse"] }).follow("/typo");
  for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
  assert.throws(() => server.close(), /nothing is at \/typo/);
  assert.equal(follow.state, "gone");
});

test("what is not so is said, with what is waited for", async (t) => {
  const { server, client } = open(t, { fake: { patience: 20 } });
  server.command("/never", () => server.wait(Infinity));
  void client.send("/never", null, { id: "c1" });
  await server.settle();
  await assert.rejects(server.settle(() => client.transport === "pigeon"), ({ message }) => {
    for (const part of [/it is not so after 20 ms: .*pigeon/, /websocket .*orders\/A1/, /command \/never \(c1\)/, /server\.advance\(ms\)/]) {
      assert.match(message, part);
    }
    return true;
  });
  server.online = false;
  await assert.rejects(server.settle(() => assert.equal(client.state, "live")), ({ message, cause }) => {
    assert.match(message, /there is no network/);
    assert.equal(cause.code, "ERR_ASSERTION");
    return true;
  });
});

test("what never comes to rest is said", async (t) => {
  const server = fakeServer();
  t.after(() => server.close());
  server.socket("/echo", { message: (data, page) => page.send(data) });
  const client = connect(BASE, { ...server.options, socket: "/echo" });
  client.on("message", (data) => client.tell(data));
  await server.settle();
  client.tell("ping");
  await assert.rejects(server.settle(), /it does not come to rest, in 50000 turns\n {2}websocket \/echo/);
});

test("what cannot be is refused where it is said", async (t) => {
  const { server } = open(t);
  const wrong = [
    [() => server.channel("orders/A1"), /channel\("orders\/A1"\): a URL from the root/],
    [() => server.publish("orders/A1", 1), /publish\("orders\/A1"\): a URL from the root/],
    [() => server.channel("/orders?after=0"), /without what comes behind the path/],
    [() => server.publish("/x", undefined), /data: has to be what JSON can say/],
    [() => server.publish("/x", [NaN]), /data: NaN is no JSON/],
    [() => server.publish("/x", 1, { event: "triolet.bye" }), /Triolet's own/],
    [() => server.publish("/x", 1, { event: "a\nb" }), /no line break/],
    [() => server.publish("/x", 1, { key: "" }), /key: a text/],
    [() => server.gap("/x", 0), /missed: a whole number/],
    [() => server.gap("/x", 1, "epoch"), /what `restart` leads to/],
    [() => server.restart({ lose: -1 }), /lose: a whole number/],
    [() => server.refuse("/x", 200), /a status from 400 to 599/],
    [() => server.allow("/x"), /\/x is not refused/],
    [() => server.command("/x", "done"), /an answer, \{status, data\}/],
    [() => server.expire({ in: -1 }), /not -1/],
    [() => server.identify("ann"), /identify: a function/],
    [() => server.say("/live", 1), /no page is connected/],
    [() => fakeServer({ clock: "fast" }), /clock: "virtual" or "real"/],
    [() => fakeServer({ keep: 0 }), /keep: a whole number/],
  ];
  for (const [call, message] of wrong) assert.throws(call, message);
  await assert.rejects(server.advance(-1), /a number of ms, not -1/);
  await server.settle();
  server.close();
  for (const call of [() => server.publish("/x", 1), () => server.drop(), () => server.channel("/x")]) {
    assert.throws(call, /this fake server is closed/);
  }
});

test("a message that nobody takes ends the socket as on the server, and fails the test", async (t) => {
  quietly(t);
  const { server, client } = open(t, { way: "socket" });
  await server.settle();
  client.tell("hello");
  await assert.rejects(server.settle(), /nobody takes messages: server\.socket\("\/live", \{ message \}\)/);
});

test("a client of a server that is closed is closed, and what it asks is answered by no one", async () => {
  const server = fakeServer();
  server.channel(URL_OF_A1);
  const client = connect(BASE, { ...server.options, transports: ["sse"] });
  const follow = client.follow(URL_OF_A1);
  await server.settle();
  const sent = client.send("/pay");
  server.close();
  assert.deepEqual([client.state, follow.state], ["gone", "gone"]);
  await assert.rejects(sent, { name: "Unanswered" });
});
