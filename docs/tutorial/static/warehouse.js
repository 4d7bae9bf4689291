import { Socket } from "/triolet/triolet.js";

const socket = new Socket("/warehouse", {
  onMessage: (message) => (document.querySelector("#answer").textContent = message.thanks ?? message.error),
});

socket.follow("/tasks/events", {
  after: "0",
  onEvent: (event) => {
    const button = document.createElement("button");
    button.textContent = event.data.pick;
    button.onclick = () => socket.send({ picked: event.data.pick });
    const line = document.createElement("li");
    line.append(button);
    document.querySelector("#tasks").append(line);
  },
});
