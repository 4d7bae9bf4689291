import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { connect } from "triolet-client";
import { fakeServer } from "triolet-client/fake";
import { showOrder } from "./order.js";

const EVENTS = "/orders/A1/events";
const status = (state) => server.publish(EVENTS, { state }, { event: "order-status" });
const element = () => Object.assign(new EventTarget(), { textContent: "" }); // jsdom's do as well

let server;
let page;

beforeEach(() => {
  server = fakeServer();
  server.channel("/orders/<id>/events", { name: "orders/<id>" });
  page = { state: element(), connection: element(), note: element(), cancel: element() };
  showOrder(connect("https://shop.test", server.options), "A1", page);
});

afterEach(() => server.close());

test("shows each step", async () => {
  status("paid");
  await server.settle();
  assert.equal(page.state.textContent, "paid");
  status("packed");
  await server.settle();
  assert.equal(page.state.textContent, "packed");
});

test("says when there is no network, and misses nothing", async () => {
  await server.settle();
  server.online = false;
  await server.settle();
  assert.match(page.connection.textContent, /No connection/);
  status("packed");
  server.online = true;
  await server.settle();
  assert.deepEqual([page.state.textContent, page.connection.textContent], ["packed", ""]);
});

test("comes back by itself when a connection breaks", async () => {
  await server.settle();
  server.drop();
  status("packed");
  await server.settle();
  assert.equal(page.state.textContent, "");
  await server.advance(1_000); // the client waits a little, and draws how long
  assert.equal(page.state.textContent, "packed");
});

test("asks to reload where something is missing", async () => {
  await server.settle();
  server.gap(EVENTS, 3);
  await server.settle();
  assert.match(page.note.textContent, /please reload/);
});

test("cancels, once, however late the answer is", async () => {
  server.command("/orders/<id>/cancel", async (data, { params }) => {
    status(`${params.id} is cancelled`);
    await server.wait(3_000);
    return { status: 200 };
  });
  page.cancel.dispatchEvent(new Event("click"));
  await server.settle();
  assert.deepEqual([page.cancel.disabled, page.note.textContent], [true, ""]);
  server.drop(); // the answer is lost, and the client asks again
  await server.advance(10_000);
  assert.deepEqual([page.state.textContent, page.note.textContent], ["A1 is cancelled", "Cancelled."]);
  assert.equal(server.commands.length, 1);
});

test("says that it is too late", async () => {
  server.command("/orders/<id>/cancel", { status: 409, data: { error: "shipped" } });
  page.cancel.dispatchEvent(new Event("click"));
  await server.settle();
  assert.match(page.note.textContent, /Too late/);
});

test("shows no order of others", async () => {
  server.refuse(EVENTS, 403);
  await server.settle();
  assert.match(page.note.textContent, /not yours/);
});

test("asks to log in when the session is over", async () => {
  await server.settle();
  server.expire();
  await server.settle();
  assert.match(page.note.textContent, /log in/);
});

test("waits for what it expects, where timers are real", async () => {
  const real = fakeServer({ clock: "real" });
  real.publish(EVENTS, { state: "paid" }, { event: "order-status" });
  showOrder(connect("https://shop.test", real.options), "A1", page);
  await real.settle(() => page.state.textContent === "paid");
  real.close();
});
