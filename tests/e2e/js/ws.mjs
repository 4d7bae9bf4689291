// Follows a URL with the npm package ws; prints each message, and at the end the close code, as a line of JSON.
// node ws.mjs URL [MESSAGE...]   (messages to send once it is open)
import WebSocket from "ws";

const [url, ...messages] = process.argv.slice(2);
const socket = new WebSocket(url);
const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
socket.on("open", () => messages.forEach((text) => socket.send(text)));
socket.on("message", (data, binary) => print(binary ? { binary: data.length } : JSON.parse(data.toString())));
socket.on("unexpected-response", (_, answer) => print({ type: "status", status: answer.statusCode }));
socket.on("error", (error) => print({ type: "error", message: error.message }));
socket.on("close", (code, reason) => print({ type: "close", code, reason: reason.toString() }));
