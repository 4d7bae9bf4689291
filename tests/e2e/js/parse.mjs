// node parse.mjs FILE   parses an event stream with the npm package eventsource-parser, in pieces of 7 characters
import { readFileSync } from "node:fs";
import { createParser } from "eventsource-parser";

const heard = [];
let last = "";
const parser = createParser({
  onEvent({ id, event, data }) {
    last = id ?? last;
    heard.push({ id: last, event: event ?? "message", data });
  },
});
const text = readFileSync(process.argv[2], "utf8");
for (let start = 0; start < text.length; start += 7) parser.feed(text.slice(start, start + 7));
process.stdout.write(JSON.stringify(heard));
