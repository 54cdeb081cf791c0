// Live rows: applies the rows the server renders, in its order, and keeps what the reader was doing:
// focus, ticks, scroll. Also follows one container's header, the counts and the engine's state.

import { heard, mark } from "./actions.js";
import { serverSays } from "./age.js";
import { fill, say } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";
import { Link } from "./socket.js";

const NEWS_MS = 1_200;
const REFETCH_MS = 10_000; // lists whose rows no socket brings

const table = () => document.querySelector("table[data-rows]");
const one = document.querySelector("[data-follow-one]");
const body = () => table()?.tBodies[0];

// -- the socket -------------------------------------------------------------------

const kind = table()?.dataset.rows ?? "containers";
let cursor = 0;
let order = []; // ids of the page, as the server last told them
let fresh = false; // the next rows message is the first of its page: nothing in it is news

function query() {
  if (one) return `id=${one.dataset.followOne}`;
  if (table()) return location.search;
  return document.querySelector("[data-counts]") ? "id=none" : null;
}

function follow() {
  const asked = query();
  if (asked === null) return;
  fresh = true;
  link.send({ type: "follow", query: asked, cursor });
}

const link = new Link(`ws/rows/${kind}/`, {
  open: follow,
  text(message) {
    if (message.type === "rows") apply(message);
    else if (message.type === "engine") showEngine(message);
    else if (message.type === "stale") staleKinds(message.kinds);
  },
  state(state) {
    if (state === "waiting") cursor = 0;
  },
});

// -- rows ------------------------------------------------------------------------------

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // rendered and escaped by the server, the same template as the page
  return template.content.firstElementChild;
}

const rowOf = (id) => (body() ?? document.querySelector("[data-refetch] tbody"))?.querySelector(`:scope > tr[data-id="${CSS.escape(id)}"]`);

function apply(message) {
  const calm = fresh;
  fresh = false;
  cursor = message.cursor;
  showCounts(message.counts ?? {});
  if (message.header) swapHeader(message.header);
  if (one) return heardOfOne(message);
  const rows = body();
  if (!rows) return;
  const focus = whereFocusIs();
  for (const { id, html } of message.rows ?? []) {
    const now = parse(html);
    const before = rowOf(id);
    if (before) replace(before, now, calm);
    else {
      adopt(now);
      rows.append(now);
      if (!calm) flash(now);
    }
  }
  for (const id of message.removed ?? []) {
    rowOf(id)?.remove();
    heard(id);
  }
  if (message.order) order = message.order;
  if (message.order || message.rows?.length) arrange(rows);
  backTo(focus);
  count();
  pager(message.counts);
  document.dispatchEvent(new CustomEvent("webdock:rows"));
}

function arrange(rows) {
  const there = new Map([...rows.children].map((row) => [row.dataset.id, row]));
  if (order.some((id) => !there.has(id)) && cursor) {
    cursor = 0; // a row moved here from another page without being newer: ask for all of this one
    return follow();
  }
  const wanted = new Set(order);
  for (const [id, row] of there) if (!wanted.has(id)) row.remove();
  let at = rows.firstElementChild;
  for (const id of order) {
    const row = there.get(id);
    if (!row) continue;
    if (row === at) at = at.nextElementSibling;
    else rows.insertBefore(row, at);
  }
}

function replace(before, now, calm) {
  const id = before.dataset.id;
  const box = before.querySelector("input[name=ids]");
  const changed = before.dataset.rev !== now.dataset.rev;
  const to = now.querySelector("input[name=ids]");
  if (box?.checked && to) to.checked = true; // where the whole row is changed for another
  adopt(now);
  const stateChanged = before.dataset.state !== now.dataset.state;
  const there = patch(before, now);
  if (changed) heard(id);
  mark(id);
  if (stateChanged && !calm) flash(there);
  const menu = document.querySelector(`.menu[popover][data-id="${CSS.escape(id)}"]`);
  if (menu && stateChanged) menu.dataset.state = now.dataset.state;
}

// The row stays, what differs in it is changed: a new row makes the browser look at the whole table again, and would
// take along what other scripts drew into it. Returns the row that stands there now.
function patch(before, now) {
  const cells = [...before.cells];
  const news = [...now.cells];
  if (cells.length !== news.length) {
    before.replaceWith(now);
    return now;
  }
  for (const name of Object.keys(before.dataset)) if (!(name in now.dataset)) delete before.dataset[name];
  for (const [name, value] of Object.entries(now.dataset)) if (before.dataset[name] !== value) before.dataset[name] = value;
  for (const [at, cell] of cells.entries()) {
    if (!cell.matches("[data-gauge], .pick") && !cell.isEqualNode(news[at])) cell.replaceWith(news[at]);
  }
  return before;
}

function flash(row) {
  row.classList.add("news");
  setTimeout(() => row.classList.remove("news"), NEWS_MS);
}

const SECURE_PORTS = ["443", "8443"]; // inside the container

// Published TCP ports open in a tab, others are copied; the host is the one this page came from.
export function adopt(root) {
  for (const port of root.querySelectorAll("[data-port]")) {
    const ip = port.dataset.ip;
    const anyAddress = !ip || ip === "0.0.0.0" || ip === "::";
    const place = `${anyAddress ? location.hostname : ip.includes(":") ? `[${ip}]` : ip}:${port.dataset.port}`;
    if (port.localName === "a") {
      port.href = `${SECURE_PORTS.includes(port.dataset.inside) ? "https" : "http"}://${place}/`;
      port.target = "_blank";
      port.rel = "noopener noreferrer";
      port.title = port.href;
    } else {
      port.dataset.copy = place;
      port.title = interpolate(gettext("Copy %s"), [place]);
    }
  }
}

function whereFocusIs() {
  const element = document.activeElement;
  const row = element?.closest?.("tr[data-id], #container-header");
  if (!row) return null;
  return { id: row.dataset.id, at: [...row.querySelectorAll("a, button, input")].indexOf(element), element };
}

function backTo(focus) {
  if (!focus || document.activeElement === focus.element) return;
  const row = rowOf(focus.id) ?? (one && document.getElementById("container-header"));
  row?.querySelectorAll("a, button, input")[focus.at]?.focus({ preventScroll: true });
}

// -- one container ------------------------------------------------------------------------

function swapHeader(html) {
  const before = document.getElementById("container-header");
  const now = parse(html);
  if (!before || !now) return;
  const focus = whereFocusIs();
  const changed = before.dataset.rev !== now.dataset.rev;
  const state = now.dataset.state;
  const stateChanged = before.dataset.state !== state;
  before.replaceWith(now);
  if (changed) heard(now.dataset.id);
  mark(now.dataset.id);
  backTo(focus);
  if (stateChanged) document.dispatchEvent(new CustomEvent("webdock:state", { detail: { id: now.dataset.id, state } }));
}

function heardOfOne(message) {
  const gone = (message.removed ?? []).includes(one.dataset.followOne);
  if (!gone) return;
  heard(one.dataset.followOne);
  const header = document.getElementById("container-header");
  header.dataset.state = "removed";
  header.querySelector(".pill").dataset.state = "dead";
  header.querySelector(".pill").textContent = one.dataset.goneWord;
  for (const part of header.querySelectorAll(".acts, .status, .pill ~ .pill")) part.remove();
  document.dispatchEvent(new CustomEvent("webdock:state", { detail: { id: one.dataset.followOne, state: "removed" } }));
}

// The overview tab shows facts that a start or stop changes (addresses, ports, why it ended): fetch them anew.
document.addEventListener("webdock:state", ({ detail }) => {
  if (one && detail.state !== "removed" && document.querySelector("[data-refresh-on-state]")) load(location.href, "stay");
});

// -- counts and engine -------------------------------------------------------------------------

function showCounts(counts) {
  const all = kind === "images" ? { ...counts, images: counts.total } : { ...counts, containers: counts.total };
  for (const element of document.querySelectorAll("[data-count]")) {
    const value = all[element.dataset.count];
    if (value === undefined) continue;
    if (element.closest(".side") && !["containers", "images"].includes(element.dataset.count)) continue;
    say(element, value);
    const tab = element.closest("[data-unless-zero]");
    const hides = !value && !tab?.hasAttribute("aria-current");
    if (tab && tab.hidden !== hides) tab.hidden = hides;
  }
}

function showEngine({ connected, error, now }) {
  serverSays(now);
  const element = document.querySelector("[data-engine-state]");
  if (!element) return;
  element.dataset.connected = String(connected);
  element.title = error ?? "";
  element.querySelector(".engine-state-text").textContent = connected ? element.dataset.wordUp : element.dataset.wordDown;
}

// "1–50 of 128". The total is known from the counts unless words narrow the list; then the page's own stays.
function pager(counts = {}) {
  const range = document.querySelector("[data-page-range]");
  if (!range) return;
  const asked = new URLSearchParams(location.search);
  const narrowed = ["q", "image", "label", "network", "owner"].some((key) => asked.get(key));
  const pages = document.querySelector("#list .panel-foot nav");
  const first = Number(range.dataset.first || 1);
  if (!narrowed) range.dataset.total = counts[asked.get("state") || "total"] ?? range.dataset.total;
  else if (!pages) range.dataset.total = order.length;
  const values = { first, last: first + order.length - 1, total: range.dataset.total };
  say(range, order.length ? fill(range.dataset.words, values) : "");
}

// -- ticks -----------------------------------------------------------------------------------------

let lastTicked = null;
const idOf = (box) => box.closest("[data-id]").dataset.id;

function count() {
  const boxes = [...document.querySelectorAll("input[name=ids]")];
  const ticked = boxes.filter((box) => box.checked).length;
  const all = document.querySelector("[data-all]");
  if (all) {
    all.checked = ticked > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  }
  const output = document.querySelector(".bulk output");
  if (output) output.textContent = ticked ? `${ticked} ${output.dataset.word}` : "";
}

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-all]")) for (const box of document.querySelectorAll("input[name=ids]")) box.checked = target.checked;
  if (target.matches("[data-all], input[name=ids]")) count();
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-none]")) return untick();
  if (!event.target.matches("input[name=ids]")) return;
  const boxes = [...document.querySelectorAll("input[name=ids]")];
  const from = boxes.findIndex((box) => idOf(box) === lastTicked);
  const to = boxes.indexOf(event.target);
  if (event.shiftKey && from >= 0) {
    for (const box of boxes.slice(Math.min(from, to), Math.max(from, to) + 1)) box.checked = event.target.checked;
    count();
  }
  lastTicked = idOf(event.target);
});
function untick() {
  for (const box of document.querySelectorAll("input[name=ids]:checked")) box.checked = false;
  count();
}
// A cut name or image shows whole when pointed at.
document.addEventListener("pointerover", ({ target }) => {
  const cell = target.closest?.("td");
  if (cell && cell.scrollWidth > cell.clientWidth) cell.title = cell.textContent.trim();
});
document.addEventListener("webdock:untick", untick);
document.addEventListener("webdock:ticked", count);

// -- filter, sort, pages: the server's page, swapped in without leaving it -----------------------------

let loading;
const swapped = new Map(); // id of a part -> what the server sent of it last

// Nobody asked for a quiet one: when it fails, the page stays as it is.
export async function load(url, history_, quiet = false) {
  loading?.abort();
  loading = new AbortController();
  let page;
  try {
    const response = await fetch(url, { headers: { Accept: "text/html" }, signal: loading.signal });
    if (!response.ok || response.redirected) return quiet || location.assign(url);
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch (error) {
    if (error.name !== "AbortError" && !quiet) location.assign(url);
    return;
  }
  const ticked = new Set([...document.querySelectorAll("input[name=ids]:checked")].map(idOf));
  const focus = document.activeElement?.closest("[data-swap]") ? { id: document.activeElement.id, row: whereFocusIs() } : null;
  for (const before of document.querySelectorAll("[data-swap]")) {
    const now = page.getElementById(before.id);
    if (!now) continue;
    const same = swapped.get(before.id) === now.outerHTML;
    swapped.set(before.id, now.outerHTML);
    if (!quiet || !same) before.replaceWith(document.adoptNode(now));
  }
  if (focus?.id) document.getElementById(focus.id)?.focus({ preventScroll: true });
  else if (focus?.row) backTo(focus.row);
  for (const box of document.querySelectorAll("input[name=ids]")) box.checked = ticked.has(idOf(box));
  if (history_ === "push") history.pushState(null, "", url);
  if (history_ === "replace") history.replaceState(null, "", url);
  adopt(document);
  count();
  document.dispatchEvent(new CustomEvent("webdock:swapped"));
  if (history_ !== "stay") {
    cursor = Number(table()?.dataset.cursor ?? 0);
    follow();
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-swap] :is(.seg, th, .panel-foot, .chips) a[href], :is(.seg, .filters)[data-swap] a[href]");
  if (!link || !table() || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  load(link.href, "push");
});
addEventListener("popstate", () => {
  if (!table()) return;
  load(location.href, "none");
});

// -- lists that are not pushed: fetched again after a verb, when the page is looked at, and now and then ----

const refetched = () => document.querySelector("[data-refetch]");
const rowsThere = () => [...document.querySelectorAll("[data-refetch] tr[data-id]")].map((row) => row.dataset.id);

const leaving = () => document.querySelector("[data-gone].waiting"); // what the page is about may be gone already

async function refetch() {
  if (!refetched() || document.hidden || leaving() || document.querySelector("dialog[open]")) return;
  const ids = rowsThere();
  await load(location.href, "stay", true);
  for (const id of new Set([...ids, ...rowsThere()])) mark(id);
}

document.addEventListener("webdock:stale", async () => {
  if (!refetched()) return;
  const before = rowsThere();
  await load(location.href, "stay", true);
  for (const id of before) heard(id);
});
// A network or volume was made, removed or joined somewhere: only pages about that kind fetch again.
function staleKinds(kinds) {
  if (kinds.includes(refetched()?.dataset.refetch)) refetch();
}

if (refetched()) {
  document.addEventListener("visibilitychange", refetch);
  setInterval(refetch, REFETCH_MS);
}

cursor = Number(table()?.dataset.cursor ?? 0);
adopt(document);
count();
