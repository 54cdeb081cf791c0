// The overview's numbers of one running container.

import { bytes, count, percent, rate } from "./format.js";
import { Link } from "./socket.js";

const root = document.querySelector("[data-stats]");

function show(name, text) {
  const element = root.querySelector(`[data-stat="${name}"]`);
  if (element.textContent !== text) element.textContent = text;
}

if (root) {
  new Link(
    `ws/stats/${root.dataset.stats}/`,
    {
      text(message) {
        if (message.type !== "stats") return;
        show("cpu", percent(message.cpu));
        show("memory", bytes(message.memory));
        show("memory-more", message.memory_limit ? `of ${bytes(message.memory_limit)}` : "no limit");
        show("network", rate(message.rx));
        show("network-more", `in, ${rate(message.tx)} out`);
        show("pids", count(message.pids));
      },
    },
    { banner: false },
  );
}
