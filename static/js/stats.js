// The charts of one container: CPU, memory, network, disk, processes; a point each second, the last hour kept.

import { Charts } from "./charts.js";
import { count, memory, percent, rate } from "./format.js";
import { Link } from "./socket.js";

const GAP_S = 5; // without news: a hole in the line
const HISTORY_GAP_S = 45;
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
  { kept: 3_600, shown_s: 300, least_s: 60, gap_s: GAP_S },
);

// The hour before this page was opened, measured more seldom: its points belong together.
function begin(points) {
  charts.gap_s = HISTORY_GAP_S;
  for (const point of points) charts.push(point);
}

function receive(message) {
  if (message.type === "history") return begin(message.points);
  if (message.type !== "stats") return;
  charts.push(message);
  charts.gap_s = GAP_S;
  root.querySelector("[data-limit]").textContent = message.memory_limit ? `of ${memory(message.memory_limit)}` : "";
  charts.show();
}

for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[data-span]")) other.setAttribute("aria-pressed", String(other === button));
    charts.shown_s = Number(button.dataset.span);
    charts.draw();
    charts.show();
  });
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
