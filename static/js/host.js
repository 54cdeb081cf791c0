// The machine over the last hour: processor, memory, disk, network.

import { Charts } from "./charts.js";
import { memory, percent, rate, size } from "./format.js";
import { gettext, interpolate } from "./i18n.js";
import { Link } from "./socket.js";

const root = document.querySelector("[data-host]");
const charts = root && new Charts(
  root,
  {
    cpu: { keys: ["cpu_percent"], format: percent, mark: (value) => `${value} %`, floor: 100, top: () => 100 },
    memory: { keys: ["memory_used"], format: memory, floor: 1, top: ({ memory_total }) => memory_total, base: 1024 },
    disk: { keys: ["disk_used"], format: size, floor: 1, top: ({ disk_total }) => disk_total, base: 1000 },
    network: { keys: ["rx", "tx"], format: rate, floor: 1000, base: 1000 },
  },
  { kept: 720, shown_s: 3_600, least_s: 300, gap_s: 30, compact: true },
);

function totals({ memory_total, disk_total }) {
  root.querySelector('[data-total="memory"]').textContent = interpolate(gettext("of %s"), [memory(memory_total)]);
  root.querySelector('[data-total="disk"]').textContent = interpolate(gettext("of %s"), [size(disk_total)]);
}

if (root) {
  charts.draw();
  new Link("ws/host/", {
    text(message) {
      if (message.type === "host") {
        charts.clear(); // after a lost connection everything comes again
        for (const sample of message.samples) charts.push(sample);
        if (message.samples.length) charts.show();
      } else if (message.type === "sample") {
        charts.push(message);
        totals(message);
        charts.show();
      }
    },
  }, { banner: false });
}
