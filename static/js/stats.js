// The charts of one container: CPU, memory, network, disk, processes; a point each second, the last hour kept.

import { bytes, count, percent, rate } from "./format.js";
import { Link } from "./socket.js";

const KEPT_POINTS = 3_600;
const SHOWN_S = 300; // the window that moves with time
const SHOWN_MIN_S = 60;

const uPlot = globalThis.uPlot;
const root = document.querySelector("[data-charts]");
const CHARTS = {
  cpu: { keys: ["cpu"], format: percent, floor: 10 },
  memory: { keys: ["memory"], format: bytes, floor: 1024 * 1024, binary: true },
  network: { keys: ["rx", "tx"], format: rate, floor: 1024, binary: true },
  disk: { keys: ["read", "write"], format: rate, floor: 1024, binary: true },
  pids: { keys: ["pids"], format: count, floor: 4 },
};
const times = [];
const columns = Object.fromEntries(Object.values(CHARTS).flatMap(({ keys }) => keys.map((key) => [key, []])));
const drawn = new Map(); // name -> uPlot

// Round marks for bytes: 1, 2 or 5 times a power of 1024's tenth.
export function byteStep(span, marks) {
  let step = 1;
  while (step * 1024 <= span / marks) step *= 1024;
  for (const by of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]) if (step * by * marks >= span) return step * by;
  return step * 1024;
}

function splits(low, high) {
  const step = byteStep(high - low, 4);
  const found = [];
  for (let mark = Math.ceil(low / step) * step; mark <= high; mark += step) found.push(mark);
  return found;
}

// Colours with light-dark() resolved: a canvas does not understand it.
function colour(name) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  root.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

// As wide as what was heard, from one minute to five.
function window_() {
  const end = times.at(-1) ?? Date.now() / 1000;
  const width = Math.min(SHOWN_S, Math.max(SHOWN_MIN_S, end - (times[0] ?? end)));
  return [end - width, end];
}

const timeOfDay = (second) => new Date(second * 1000).toLocaleTimeString(document.documentElement.lang, { hour12: false });

function options(name, element) {
  const { keys, format, floor, binary } = CHARTS[name];
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: `11px ${getComputedStyle(document.body).fontFamily}` };
  return {
    width: element.clientWidth - 12,
    height: element.clientHeight - 6,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    padding: [8, 8, 0, 0],
    scales: {
      x: { time: true, range: window_ },
      y: { range: (_, __, high) => [0, Math.max(floor, (high ?? 0) * 1.15)] },
    },
    axes: [
      { ...axis, space: 80, size: 26, values: (_, marks) => marks.map(timeOfDay) },
      { ...axis, size: 72, space: 34, values: (_, marks) => marks.map((mark) => format(mark)), ...(binary ? { splits: (_, __, low, high) => splits(low, high) } : {}) },
    ],
    series: [
      {},
      ...keys.map((key, at) => ({
        label: key,
        stroke: colour(`--series-${at + 1}`),
        fill: at === 0 ? colour("--series-fill") : undefined,
        width: 1.5,
        points: { show: false },
        spanGaps: false,
      })),
    ],
    hooks: { setCursor: [(chart) => showValues(name, chart.cursor.idx)] },
  };
}

function draw() {
  for (const figure of root.querySelectorAll("[data-chart]")) {
    const name = figure.dataset.chart;
    const element = figure.querySelector(".chart-canvas");
    drawn.get(name)?.destroy();
    drawn.set(name, new uPlot(options(name, element), data(name), element));
  }
}

const data = (name) => [times, ...CHARTS[name].keys.map((key) => columns[key])];

// The values under the pointer, or the newest.
function showValues(name, at) {
  const { keys, format } = CHARTS[name];
  const figure = root.querySelector(`[data-chart="${name}"]`);
  const index = at ?? times.length - 1;
  keys.forEach((key, n) => {
    const text = format(columns[key][index] ?? NaN);
    const place = figure.querySelector(`[data-now="${n}"]`);
    if (place.textContent !== text) place.textContent = text;
  });
}

function receive(message) {
  if (message.type !== "stats") return;
  if (times.length && message.at / 1000 - times[times.length - 1] > 5) gap(times[times.length - 1] + 1);
  times.push(message.at / 1000);
  for (const key of Object.keys(columns)) columns[key].push(message[key] ?? null);
  while (times.length > KEPT_POINTS) {
    times.shift();
    for (const column of Object.values(columns)) column.shift();
  }
  const limit = root.querySelector("[data-limit]");
  limit.textContent = message.memory_limit ? `of ${bytes(message.memory_limit)}` : "";
  if (document.hidden) return;
  for (const [name, chart] of drawn) {
    chart.setData(data(name));
    if (chart.cursor.idx == null || chart.cursor.left < 0) showValues(name, undefined);
  }
}

// A hole in the line where nothing was heard.
function gap(at) {
  times.push(at);
  for (const column of Object.values(columns)) column.push(null);
}

let link;
function connect() {
  root.hidden = false;
  document.querySelector(".main > .panel:has(> .empty)")?.setAttribute("hidden", "");
  if (!drawn.size) draw();
  link?.stop();
  link = new Link(`ws/stats/${root.dataset.charts}/`, { text: receive });
}

document.addEventListener("webdock:state", ({ detail }) => {
  if (detail.state === "running" && (!link || link.stopped)) connect();
});
document.addEventListener("webdock:theme", draw);
new ResizeObserver(() => {
  for (const [name, chart] of drawn) {
    const element = root.querySelector(`[data-chart="${name}"] .chart-canvas`);
    if (element.clientWidth) chart.setSize({ width: element.clientWidth - 12, height: element.clientHeight - 6 });
  }
}).observe(root);
if (!root.hidden) connect();
