/** What does not compile with the fake server, and for which reason: the number is TypeScript's. */

import { fakeServer } from "triolet-client/fake";

// @ts-expect-error 2322: no such clock
fakeServer({ clock: "sundial" });
const server = fakeServer();
// @ts-expect-error 2322: an event's name is a text
server.publish("/x", 1, { event: 7 });
// @ts-expect-error 2345: neither an answer nor what gives one
server.command("/x", "packed");
// @ts-expect-error 2345: ms
server.advance("a minute");
// @ts-expect-error 2540: the server says what time it is
server.time = 0;
// @ts-expect-error 2339: nothing of a real server's
server.listen(8000);
