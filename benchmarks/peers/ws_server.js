/* Node's ws: each event made once, and sent to every client.   node ws_server.js PORT */
"use strict";

const http = require("node:http");
const { WebSocketServer } = require("ws");
const { Publisher, text } = require("./publishing.js");

const publisher = new Publisher((size) => {
  const event = Buffer.from(text(size));
  for (const client of sockets.clients) client.send(event, { binary: false });
});
const server = http.createServer((request, response) => publisher.serve(request, response) || response.end());
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 2048 });
