// What an EventSource makes of a stream that ends: every event as {id, event, data}, in order. The same for a browser's
// page and for Node. When the stream has ended the server answers the EventSource's return with 204, which ends it.
export function collect(EventSource, url, names) {
  return new Promise((resolve) => {
    const heard = [];
    const source = new EventSource(url);
    for (const name of names) {
      source.addEventListener(name, (event) => {
        if (typeof event.data !== "string") return; // an `open` or `error` of the EventSource's own
        heard.push({ id: event.lastEventId, event: event.type, data: event.data });
      });
    }
    source.addEventListener("error", () => {
      if (source.readyState === 2) resolve(heard);
    });
  });
}
