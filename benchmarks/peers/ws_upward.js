/* Node's ws: answers, and a room in which all hear all.   node ws_upward.js PORT */
"use strict";

const { WebSocketServer } = require("ws");

const room = new Set();
let number = 0;

/** The event that is made of a message, as large as Triolet's. */
function event(message) {
  const data = JSON.stringify(JSON.parse(message).data);
  const cursor = `0123abcd.${String(++number).padStart(4, "0")}`;
  return `{"type":"event","channel":"room","id":"${cursor}","event":"message","data":${data},"time":${Date.now()}}`;
}

const ways = {
  "/raw": (client) => client.on("message", (message, binary) => client.send(message, { binary })),
  "/json": (client) => client.on("message", (message) => client.send(JSON.stringify(JSON.parse(message)))),
  "/chat": (client) => {
    room.add(client);
    client.on("close", () => room.delete(client));
    client.on("message", (message) => {
      const said = Buffer.from(event(message));
      for (const each of room) each.send(said, { binary: false });
    });
  },
};

const options = { port: Number(process.argv[2]), host: "127.0.0.1", backlog: 2048, perMessageDeflate: false };
new WebSocketServer(options).on("connection", (client, request) => ways[request.url](client));
