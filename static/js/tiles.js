// The overview's numbers of one running container.

import { count, memory, percent, rate } from "./format.js";
import { gettext, interpolate } from "./i18n.js";
import { Link } from "./socket.js";

let link;

function show(name, text) {
  const element = document.querySelector(`[data-stat="${name}"]`);
  if (element && element.textContent !== text) element.textContent = text;
}

function receive(message) {
  if (message.type !== "stats") return;
  show("cpu", percent(message.cpu));
  show("memory", memory(message.memory));
  show("memory-more", message.memory_limit ? interpolate(gettext("of %s"), [memory(message.memory_limit)]) : gettext("no limit"));
  show("network", rate(message.rx));
  show("network-more", `in, ${rate(message.tx)} out`);
  show("pids", count(message.pids));
}

// The tiles come and go with the state; the page's part that holds them is swapped then.
function connect() {
  const root = document.querySelector("[data-stats]");
  if (!root) {
    link?.stop();
    link = undefined;
  } else if (!link || link.stopped) link = new Link(`ws/stats/${root.dataset.stats}/`, { text: receive }, { banner: false });
}

document.addEventListener("webdock:swapped", connect);
connect();
