// Follows a URL with the npm package eventsource, which comes back by itself; prints each event as a line of JSON.
// node eventsource.mjs URL NAME...   (an EventSource hears only the names it asks for)
import { EventSource } from "eventsource";

const [url, ...names] = process.argv.slice(2);
const source = new EventSource(url);
const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
for (const name of ["message", ...names]) {
  source.addEventListener(name, (event) => print({ id: event.lastEventId, event: event.type, data: event.data }));
}
source.addEventListener("error", (event) => print({ error: event.code ?? null, state: source.readyState }));
