// The terminal tab: one pane, or two side by side, and which sessions a reload takes up again.

import { recall, remember } from "./dom.js";
import { gettext } from "./i18n.js";
import { Pane } from "./terminal-pane.js";
import "./terminal-policy.js";
import { fontSize, rememberFont } from "./terminal-screen.js";

const PANES_MAX = 2;

const root = document.querySelector("[data-terminals]");
const store = `terminals:${root.dataset.terminals}`;
const panes = [];
let shells = root.dataset.shells.split(" ").filter(Boolean); // paths, as far as they are known
const deck = { root, panes, keep, offer, split, choose, setFont, close: closePane };

// -- choices for all panes ------------------------------------------------------------

function choose(name, value) {
  remember(`terminal-${name}`, value);
  for (const pane of panes) {
    if (name === "reader") pane.screen.setReader(Boolean(value));
    if (name === "theme") pane.screen.paint();
  }
  showChoices();
}

function setFont(px) {
  rememberFont(px);
  for (const pane of panes) pane.screen.setFont(fontSize());
}

function showChoices() {
  for (const item of root.querySelectorAll("[role=menuitemcheckbox]:not([data-do=record])")) item.setAttribute("aria-checked", String(recall(`terminal-${item.dataset.do}`) === "1"));
  const theme = recall("terminal-theme") || "dark";
  for (const item of root.querySelectorAll("[role=menuitemradio]")) item.setAttribute("aria-checked", String(item.dataset.theme === theme));
}

// -- panes ------------------------------------------------------------------------------

function addPane() {
  const pane = new Pane(deck);
  pane.offer(shells);
  panes.push(pane);
  arrange();
  pane.focus();
  return pane;
}

function offer(found) {
  shells = found;
  for (const pane of panes) pane.offer(shells);
}

function split() {
  if (panes.length >= PANES_MAX) return;
  addPane().session.open("shell");
}

function closePane(pane) {
  if (panes.length < 2) return;
  panes.splice(panes.indexOf(pane), 1);
  pane.close();
  arrange();
  keep();
}

function arrange() {
  for (const pane of panes) {
    pane.element.querySelector('[data-do="split"]').hidden = panes.length >= PANES_MAX;
    pane.element.querySelector('[data-do="close"]').hidden = panes.length < 2;
  }
  showChoices();
}

// -- a reload takes the same sessions up again ----------------------------------------------

function keep() {
  const kept = panes.map(({ session }) => session.about).filter(Boolean);
  try {
    if (kept.length) sessionStorage.setItem(store, JSON.stringify(kept));
    else sessionStorage.removeItem(store);
  } catch {
    // storage is off or full: a reload opens a new shell, and the old one is in the list
  }
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(store) ?? "[]").slice(0, PANES_MAX);
  } catch {
    return [];
  }
}

document.addEventListener("webdock:state", ({ detail }) => {
  root.dataset.state = detail.state;
  for (const { session } of panes) {
    if (session.over) session.offerShell();
    else if (detail.state === "running" && !session.about) session.open("shell");
  }
});

// Taken up from the list of terminals.
function asked(sessions) {
  const { session, kind, title } = root.dataset;
  if (!session) return sessions;
  history.replaceState(null, "", location.pathname);
  if (sessions.some((one) => one.session === session)) return sessions;
  return [{ session, kind, title, websocket: `/ws/terminal/${session}/` }];
}

function start() {
  const sessions = asked(kept());
  for (const about of sessions) {
    const { session } = addPane();
    session.restored = true;
    session.join(about);
  }
  if (sessions.length) return;
  const { session, bar } = addPane();
  if (root.dataset.state === "running") return session.open("shell");
  bar.state("", gettext("not running"));
  session.mode();
  bar.note("", gettext("The container is not running. Start it, and a shell opens here."));
}

start();
