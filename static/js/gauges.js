// CPU and memory of the running rows, with the last minute as a line, each second; asked for only while the
// page is looked at, and drawn only in rows that are in sight: once for each message, all rows in one frame.

import { make } from "./dom.js";
import { memory, percent } from "./format.js";
import { Link } from "./socket.js";

const POINTS = 60;
const STEP = 8; // of the drawing's own units, from one second to the next
const WIDTH = (POINTS - 1) * STEP;
const HEIGHT = 160;
const EDGE = 10; // above and below the line, so that its stroke is whole
const NEAR = "120px"; // rows this close to the window are drawn too: nobody scrolls into an empty one
const SVG = "http://www.w3.org/2000/svg";

const kept = new Map(); // id -> {cpu: [...], memory: [...]}, the newest last
let watched = [];
let number = 0; // of what is watched: an answer to an older question is none

const rows = () => document.querySelectorAll("table.containers tbody tr[data-id]");
const runs = (row) => row.dataset.state === "running";

function watch() {
  const ids = document.hidden ? [] : [...rows()].filter(runs).map((row) => row.dataset.id);
  if (!link.isOpen || (number && ids.join() === watched.join())) return;
  watched = ids;
  number += 1;
  link.send({ type: "watch", ids, as: number });
}

// -- what came ---------------------------------------------------------------------

function push(values, value) {
  values.push(value);
  if (values.length > POINTS) values.shift();
}

function take({ past = {}, now }) {
  for (const [id, points] of Object.entries(past)) {
    kept.set(id, { cpu: points.map(([one]) => one), memory: points.map(([, one]) => one) });
  }
  const moved = new Map(now.map((one) => [one[0], one]));
  for (const [place, id] of watched.entries()) {
    if (id in past) continue; // its newest is in it
    const [, cpu, used] = moved.get(place) ?? [];
    const known = kept.get(id);
    if (cpu !== undefined) {
      if (!known) kept.set(id, { cpu: [cpu], memory: [used] });
      else {
        push(known.cpu, cpu);
        push(known.memory, used);
      }
    } else if (moved.has(place)) kept.delete(id);
    else if (known) {
      push(known.cpu, known.cpu.at(-1));
      push(known.memory, known.memory.at(-1));
    }
  }
}

// -- drawing -------------------------------------------------------------------------

// A line through the values, "top" at the top unless one is higher: idling stays flat at the bottom, and steady
// memory below the edge. Of a flat piece only its ends are points.
export function path(values, least) {
  const top = Math.max(least, 1e-9, ...values);
  const height = (value) => Math.round(HEIGHT - EDGE - (value / top) * (HEIGHT - 2 * EDGE));
  let x = WIDTH - (values.length - 1) * STEP;
  let y = height(values[0]);
  let line = `M${x} ${y}`;
  let drawn = x;
  for (const value of values.slice(1)) {
    const next = height(value);
    if (next !== y) {
      if (drawn < x) line += `H${x}`;
      line += `L${x + STEP} ${next}`;
      drawn = x + STEP;
      y = next;
    }
    x += STEP;
  }
  return drawn < x ? `${line}H${x}` : line;
}

function gaugeOf(cell) {
  if (!cell.firstElementChild) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "spark");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS(SVG, "path"));
    cell.append(svg, make("span", "gauge", " "));
  }
  return { line: cell.firstElementChild.firstElementChild, text: cell.lastElementChild.firstChild };
}

function show(cell, text, values, least) {
  if (!cell) return;
  const gauge = gaugeOf(cell);
  if (gauge.text.data !== text) gauge.text.data = text;
  const line = path(values, least);
  if (gauge.line.getAttribute("d") !== line) gauge.line.setAttribute("d", line);
}

function draw(row) {
  const known = runs(row) && kept.get(row.dataset.id);
  if (!known) {
    for (const cell of row.querySelectorAll("[data-gauge]")) if (cell.firstChild) cell.replaceChildren();
    return;
  }
  show(row.querySelector('[data-gauge="cpu"]'), percent(known.cpu.at(-1)), known.cpu, 5);
  show(row.querySelector('[data-gauge="memory"]'), memory(known.memory.at(-1)), known.memory, 1.3 * Math.max(...known.memory));
}

const inSight = new Set();
let due = false;

function drawAll() {
  due = false;
  for (const row of inSight) {
    if (row.isConnected) draw(row);
    else inSight.delete(row);
  }
}

function drawSoon() {
  if (due || document.hidden) return;
  due = true;
  requestAnimationFrame(drawAll);
}

const eye = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) inSight.add(target);
      else inSight.delete(target);
    }
    drawSoon();
  },
  { rootMargin: `${NEAR} 0px` },
);

const link = new Link(
  "ws/gauges/",
  {
    open() {
      number = 0;
      kept.clear();
      watch();
    },
    text(message) {
      if (message.type !== "gauges" || message.as !== number) return;
      take(message);
      drawSoon();
    },
  },
  { banner: false },
);

function again() {
  for (const row of rows()) eye.observe(row); // one that is known already stays as it is
  drawSoon();
  watch();
}
for (const name of ["webdock:rows", "webdock:swapped", "visibilitychange"]) document.addEventListener(name, again);
again();
