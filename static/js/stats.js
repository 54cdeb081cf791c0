// The charts of one container: CPU, memory, network, disk, processes; a point each second, the last hour kept.

import { Charts } from "./charts.js";
import { count, memory, percent, rate } from "./format.js";
import { Link } from "./socket.js";

const root = document.querySelector("[data-charts]");
const charts = new Charts(
  root,
  {
    cpu: { keys: ["cpu"], format: percent, mark: (value) => `${value} %`, floor: 10 },
    memory: { keys: ["memory"], format: memory, floor: 1024 * 1024, base: 1024 },
    network: { keys: ["rx", "tx"], format: rate, floor: 1000, base: 1000 },
    disk: { keys: ["read", "write"], format: rate, floor: 1000, base: 1000 },
    pids: { keys: ["pids"], format: count, floor: 4 },
  },
  { kept: 3_600, shown_s: 300, least_s: 60, gap_s: 5 },
);

function receive(message) {
  if (message.type !== "stats") return;
  charts.push(message);
  root.querySelector("[data-limit]").textContent = message.memory_limit ? `of ${memory(message.memory_limit)}` : "";
  charts.show();
}

let link;
function connect() {
  root.hidden = false;
  document.querySelector(".main > .panel:has(> .empty)")?.setAttribute("hidden", "");
  charts.show();
  link?.stop();
  link = new Link(`ws/stats/${root.dataset.charts}/`, { text: receive });
}

document.addEventListener("webdock:state", ({ detail }) => {
  if (detail.state === "running" && (!link || link.stopped)) connect();
});
if (!root.hidden) connect();
