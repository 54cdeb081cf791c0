// CPU and memory of the running rows, with the last two minutes as a line; asked for only while the page is looked at.

import { make } from "./dom.js";
import { memory, percent } from "./format.js";
import { Link } from "./socket.js";

const POINTS = 60;
const WIDTH = 44;
const HEIGHT = 16;
const SVG = "http://www.w3.org/2000/svg";

const kept = new Map(); // id -> [[cpu, memory, limit], …], the newest last
let watched = "";

const rows = () => document.querySelectorAll("table.containers tbody tr[data-id]");
const runs = (row) => row.dataset.state === "running";

function watch() {
  const ids = document.hidden ? [] : [...rows()].filter(runs).map((row) => row.dataset.id);
  const now = ids.join();
  if (now === watched || !link.isOpen) return;
  watched = now;
  link.send({ type: "watch", ids });
}

// A line through the points, "top" at the top unless one is higher: idling stays flat at the bottom, and steady memory below the edge.
function path(values, least) {
  const top = Math.max(least, 1e-9, ...values);
  const step = WIDTH / (POINTS - 1);
  const from = WIDTH - (values.length - 1) * step;
  const place = (value, at) => `${(from + at * step).toFixed(1)} ${(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1)}`;
  return `M${values.map(place).join("L")}`;
}

function gaugeOf(cell) {
  if (cell.firstElementChild) return cell;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "path"));
  cell.append(svg, make("span", "gauge"));
  return cell;
}

function show(cell, text, values, least) {
  if (!cell) return;
  gaugeOf(cell).lastElementChild.textContent = text;
  cell.firstElementChild.firstElementChild.setAttribute("d", path(values, least));
}

function draw(row) {
  const points = kept.get(row.dataset.id);
  if (!points?.length || !runs(row)) {
    for (const cell of row.querySelectorAll("[data-gauge]")) cell.replaceChildren();
    return;
  }
  const [cpu, used] = points.at(-1);
  show(row.querySelector('[data-gauge="cpu"]'), percent(cpu), points.map(([one]) => one), 5);
  show(row.querySelector('[data-gauge="memory"]'), memory(used), points.map(([, one]) => one), 1.3 * Math.max(...points.map(([, one]) => one)));
}

const link = new Link(
  "ws/gauges/",
  {
    open() {
      watched = "";
      kept.clear();
      watch();
    },
    text(message) {
      if (message.type !== "gauges") return;
      for (const [id, points] of Object.entries(message.rows)) {
        kept.set(id, [...(points.length > 1 ? [] : (kept.get(id) ?? [])), ...points].slice(-POINTS));
      }
      for (const row of rows()) if (row.dataset.id in message.rows) draw(row);
    },
  },
  { banner: false },
);

// Rows are swapped whole: what was drawn in them is drawn again before anybody sees the gap.
function again() {
  for (const row of rows()) if (!row.querySelector("[data-gauge]")?.firstElementChild) draw(row);
  watch();
}
for (const name of ["webdock:rows", "webdock:swapped", "visibilitychange"]) document.addEventListener(name, again);
