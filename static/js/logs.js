// A container's log, live. The DOM holds at most SHOWN_MAX lines in chunks the browser may skip when off screen;
// a flood is drawn in slices per frame, the rest waits in a bounded ring. While the reader is not at the end,
// nothing they look at moves: new lines only count up on a button.

import { parseAnsi, plain } from "./ansi.js";
import { saveText } from "./copy.js";
import { recall, remember } from "./dom.js";
import { count } from "./format.js";
import { gettext, interpolate, ngettext } from "./i18n.js";
import { levelOf } from "./levels.js";
import { followRange } from "./range.js";
import { Ring } from "./ring.js";
import { Link } from "./socket.js";

const SHOWN_MAX = 6_000; // lines in the document
const CHUNK_LINES = 100;
const WAITING_MAX = 6_000; // lines not drawn yet
const KEPT_MAX = 50_000; // lines for the download
const PER_FRAME_MS = 7;
const LINE_MAX_CHARS = 16_384; // drawn of one line; the download has it whole
const END_PX = 24; // this close to the end counts as at the end
const TAIL = 1000; // lines at first
const TAIL_AGAIN = 10_000; // at most, of what was missed
const CREDIT_EVERY = 200; // lines

const root = document.querySelector("[data-logs]");
const view = root.querySelector(".log-view");
const newest = root.querySelector("[data-newest]");
const findInput = root.querySelector("[data-find]");
const found = root.querySelector("[data-found]");

const sources = JSON.parse(document.getElementById("log-sources")?.textContent ?? "null"); // number -> name, of merged logs
let range = { since: 0, until: 0 }; // seconds since 1970; 0: open
let waiting = new Ring(WAITING_MAX);
const kept = new Ring(KEPT_MAX);
let style; // SGR state, runs on from line to line
let chunk = null;
let shown = 0;
let following = true;
let frame = 0;
let uncredited = 0;

// -- the socket ------------------------------------------------------------------------

let link;
const lastTimes = new Map(); // container -> of its newest line
let again = new Map(); // the same, when this connection began
const WORDS = { connecting: "connecting", open: "live", waiting: "reconnecting", stopped: "ended" };

function connect() {
  link?.stop();
  link = new Link(address(), {
    text: receive,
    state(state, { code, reason } = {}) {
      if (state === "connecting") again = new Map(lastTimes);
      if (state === "open") uncredited = 0;
      if (state === "waiting") link.aim(address());
      tellState(state === "stopped" && code !== 1000 && reason ? reason : WORDS[state]);
    },
  });
}

function tellState(words) {
  ended = words === WORDS.stopped;
  root.querySelector("[data-log-state]").textContent = words;
}

let ended = false;

// After a loss only what came since is asked for; lines seen already are left out.
function address() {
  const [path, which = ""] = root.dataset.logs.split("?");
  const query = new URLSearchParams(which);
  const newest = [...lastTimes.values()].map((time) => Math.floor(Date.parse(time) / 1000));
  query.set("tail", newest.length || range.since || range.until ? TAIL_AGAIN : TAIL);
  const since = newest.length ? Math.min(...newest) : range.since;
  if (since) query.set("since", since);
  if (range.until) query.set("until", range.until);
  return `${path}?${query}`;
}

// Whether an RFC 3339 time is later than another, to the nanosecond; fractions come with their zeros cut.
export function later(time, than) {
  const parts = (text) => /^(.{19})(?:\.(\d+))?/.exec(text) ?? ["", text, ""];
  const [[, a, fractionA = ""], [, b, fractionB = ""]] = [parts(time), parts(than)];
  return a === b ? fractionA.padEnd(9, "0") > fractionB.padEnd(9, "0") : a > b;
}

function receive(message) {
  if (message.type === "skipped") waiting.push({ skipped: message.count });
  else if (message.type === "end") tellState("ended");
  if (message.type !== "lines") return;
  for (const [stream, text, time, source = 0] of message.lines) {
    if (again.has(source) && time && !later(time, again.get(source))) continue;
    if (time) lastTimes.set(source, time);
    const line = { stream, text, time, source };
    kept.push(line);
    waiting.push(line);
  }
  credit(message.lines.length);
  if (following) draw();
  else tellNew();
}

function credit(lines) {
  uncredited += lines;
  if (uncredited < CREDIT_EVERY) return;
  link.send({ type: "credit", lines: uncredited });
  uncredited = 0;
}

// -- drawing -----------------------------------------------------------------------------

function draw() {
  if (!frame) frame = requestAnimationFrame(drawSome);
}

function drawSome() {
  frame = 0;
  if (!following || !waiting.length) return;
  const until = performance.now() + PER_FRAME_MS;
  const lines = [...waiting];
  const dropped = waiting.dropped;
  waiting.clear();
  if (dropped) note(dropped);
  let at = 0;
  while (at < lines.length && (at % 50 || performance.now() < until)) append(lines[at++]);
  if (at < lines.length) for (const line of lines.slice(at)) waiting.push(line);
  trim();
  view.scrollTop = view.scrollHeight;
  if (query) searchSoon();
  if (waiting.length) draw();
}

function append(line) {
  if (line.skipped) return note(line.skipped);
  if (!chunk || chunk.childElementCount >= CHUNK_LINES) {
    chunk = document.createElement("div");
    chunk.className = "log-chunk";
    view.append(chunk);
  }
  chunk.append(lineElement(line));
  shown += 1;
}

function lineElement({ stream, text, time, source }) {
  const element = document.createElement("div");
  element.className = stream === 2 ? "log-line err" : "log-line";
  element.dataset.level = levelOf(text);
  if (sources) {
    const name = document.createElement("b");
    name.dataset.source = source;
    name.textContent = sources[source] ?? "";
    element.append(name);
  }
  if (time) {
    const stamp = document.createElement("time");
    stamp.dateTime = time;
    stamp.textContent = clock(time);
    element.append(stamp);
  }
  const body = text.length > LINE_MAX_CHARS ? text.slice(0, LINE_MAX_CHARS) : text;
  let parts;
  [parts, style] = parseAnsi(body, style);
  const isolated = document.createElement("bdi");
  for (const { text: words, classes, fg, bg } of parts) {
    if (!classes && !fg && !bg) {
      isolated.append(words);
      continue;
    }
    const span = document.createElement("span");
    span.className = classes;
    if (fg) span.style.color = fg;
    if (bg) span.style.backgroundColor = bg;
    span.textContent = words;
    isolated.append(span);
  }
  if (body !== text) isolated.append(interpolate(gettext(" … %s more characters"), [count(text.length - LINE_MAX_CHARS)]));
  element.append(isolated);
  if (query && plain(text).toLocaleLowerCase().includes(query)) element.classList.add("hit");
  return element;
}

// "2026-11-24T06:44:20.123456789Z" in the reader's time zone, to the millisecond.
export function clock(time) {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return time;
  const two = (number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

function note(skipped) {
  const element = document.createElement("p");
  element.className = "log-note";
  element.textContent = interpolate(gettext("%s lines skipped: they came faster than they can be shown. The container's log has them all."), [count(skipped)]);
  const before = view.lastElementChild;
  if (before?.classList.contains("log-note")) before.remove();
  view.append(element);
  chunk = null;
}

function trim() {
  while (shown > SHOWN_MAX) {
    const oldest = view.querySelector(".log-chunk");
    if (!oldest || oldest === chunk) return;
    shown -= oldest.childElementCount;
    while (view.firstElementChild !== oldest) view.firstElementChild.remove();
    oldest.remove();
  }
}

// -- following ------------------------------------------------------------------------------

const toggle = (name) => root.querySelector(`[data-toggle="${name}"]`);

function follow(on) {
  following = on;
  toggle("follow").setAttribute("aria-pressed", String(on));
  if (on) {
    newest.hidden = true;
    draw();
    view.scrollTop = view.scrollHeight;
  }
}

function tellNew() {
  const lines = waiting.length + waiting.dropped;
  newest.textContent = interpolate(ngettext("↓ %s new line", "↓ %s new lines", lines), [count(lines)]);
  newest.hidden = !lines;
}

let lastTop = 0;
view.addEventListener("scroll", () => {
  const up = view.scrollTop < lastTop - 1;
  lastTop = view.scrollTop;
  const atEnd = view.scrollHeight - view.clientHeight - view.scrollTop < END_PX;
  if (up && !atEnd && following) follow(false);
  else if (atEnd && !following && !selecting()) follow(true);
});
const selecting = () => {
  const selection = getSelection();
  return !selection.isCollapsed && view.contains(selection.anchorNode);
};
newest.addEventListener("click", () => follow(true));

// -- finding -----------------------------------------------------------------------------------

let query = "";
let ranges = [];
let current = -1;
let searchTimer;
const FOUND_MAX = 2_000;

function searchSoon() {
  clearTimeout(searchTimer);
  searchTimer = setTimeout(search, 160);
}

function search() {
  query = findInput.value.toLocaleLowerCase();
  ranges = [];
  for (const line of view.querySelectorAll(".log-line")) {
    const text = line.querySelector("bdi");
    const hit = query && text.textContent.toLocaleLowerCase().includes(query);
    line.classList.toggle("hit", Boolean(hit));
    if (hit && ranges.length < FOUND_MAX) ranges.push(...rangesIn(text, query));
  }
  if (globalThis.Highlight) CSS.highlights.set("found", new Highlight(...ranges));
  current = Math.min(current, ranges.length - 1);
  tellFound();
}

function rangesIn(element, words) {
  const whole = element.textContent.toLocaleLowerCase();
  const found = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const nodes = [];
  for (let node = walker.nextNode(), at = 0; node; at += node.length, node = walker.nextNode()) nodes.push([node, at]);
  const place = (offset) => {
    const [node, at] = nodes.findLast(([, start]) => start <= offset);
    return [node, Math.min(offset - at, node.length)];
  };
  for (let from = whole.indexOf(words); from >= 0; from = whole.indexOf(words, from + words.length)) {
    const range = new Range();
    range.setStart(...place(from));
    range.setEnd(...place(from + words.length));
    found.push(range);
  }
  return found;
}

function step(by) {
  if (!ranges.length) return;
  current = current < 0 ? (by > 0 ? 0 : ranges.length - 1) : (current + by + ranges.length) % ranges.length;
  follow(false);
  const range = ranges[current];
  if (globalThis.Highlight) CSS.highlights.set("found-now", new Highlight(range));
  range.startContainer.parentElement.scrollIntoView({ block: "center", inline: "nearest" });
  tellFound();
}

function tellFound() {
  const total = ranges.length >= FOUND_MAX ? `${count(FOUND_MAX)}+` : count(ranges.length);
  found.textContent = query ? (current >= 0 ? `${current + 1} / ${total}` : total) : "";
  if (!query && globalThis.Highlight) CSS.highlights.delete("found-now");
}

findInput.addEventListener("input", () => {
  current = -1;
  searchSoon();
});
findInput.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    clearTimeout(searchTimer);
    if (query !== findInput.value.toLocaleLowerCase()) search();
    step(event.shiftKey ? -1 : 1);
  } else if (event.key === "Escape") {
    findInput.value = "";
    current = -1;
    search();
    view.focus();
  }
});

// -- buttons ---------------------------------------------------------------------------------------

function setToggle(name, on) {
  toggle(name).setAttribute("aria-pressed", String(on));
  view.classList.toggle(name, on);
  if (name === "times") aimWhole(on);
  if (name !== "only") remember(`logs-${name}`, on ? "1" : null);
  if (following) view.scrollTop = view.scrollHeight;
}

// The whole log, as far as it is looked at, with its times when they are shown.
function aimWhole(times = toggle("times").getAttribute("aria-pressed") === "true") {
  const whole = root.querySelector("[data-whole]"); // not there once the container is removed
  if (!whole) return;
  const query = new URLSearchParams();
  if (times) query.set("timestamps", "1");
  if (range.since) query.set("since", range.since);
  if (range.until) query.set("until", range.until);
  whole.search = String(query);
}

root.querySelector("[data-level]").addEventListener("change", ({ target }) => {
  view.dataset.level = target.value;
  if (following) view.scrollTop = view.scrollHeight;
});

followRange(root.querySelector("[data-range]"), root.querySelector("[data-range-words]"), (chosen) => {
  range = chosen;
  lastTimes.clear();
  waiting.clear();
  kept.clear();
  for (const old of view.querySelectorAll(".log-chunk, .log-note")) old.remove();
  chunk = null;
  style = undefined;
  shown = 0;
  aimWhole();
  follow(true);
  connect();
});

root.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.findStep) step(Number(button.dataset.findStep));
  else if (button.dataset.toggle === "follow") follow(!following);
  else if (button.dataset.toggle) setToggle(button.dataset.toggle, button.getAttribute("aria-pressed") !== "true");
  else if ("download" in button.dataset) download();
});

function download() {
  const lines = [];
  for (const { text, time, source } of kept) lines.push(`${sources ? `${sources[source] ?? ""} ` : ""}${time ? `${time} ` : ""}${plain(text)}\n`);
  saveText(lines, `${root.dataset.name}.log`);
}

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "f" || event.shiftKey) return;
  event.preventDefault();
  findInput.focus();
  findInput.select();
});
// A container that starts again writes again.
document.addEventListener("webdock:state", ({ detail }) => {
  if (detail.state === "running" && (ended || link?.stopped)) connect();
});
addEventListener("resize", () => {
  if (following) view.scrollTop = view.scrollHeight;
});

view.dataset.level = root.querySelector("[data-level]").value; // a browser may bring the choice back with the page
for (const name of ["times", "wrap"]) if (recall(`logs-${name}`)) setToggle(name, true);
connect();
