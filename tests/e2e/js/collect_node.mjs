// node collect_node.mjs URL-OF-STREAM FILE-OF-NAMES   prints what the npm package eventsource heard, as JSON
import { readFileSync } from "node:fs";
import { EventSource } from "eventsource";
import { collect } from "./collect.mjs";

const [url, names] = process.argv.slice(2);
const heard = await collect(EventSource, url, JSON.parse(readFileSync(names, "utf8")));
process.stdout.write(JSON.stringify(heard));
