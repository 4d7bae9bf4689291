/* Socket.IO on Node: emit to everybody, over its WebSocket transport.   node socketio_server.js PORT */
"use strict";

const http = require("node:http");
const { Server } = require("socket.io");
const { Publisher, value } = require("./publishing.js");

const publisher = new Publisher((size) => io.emit("message", value(size)));
const server = http.createServer((request, response) => publisher.serve(request, response));
const io = new Server(server, { transports: ["websocket"] });
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 2048 });
