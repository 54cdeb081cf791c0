// Terminals of one container. Bytes go both ways untouched: xterm decodes, so a character cut by a frame is whole
// again. Credits are returned when xterm has drawn, which keeps a flooded terminal quick to answer Ctrl-C.
// The session lives on the server; what is kept here is its id (for a reload) and a picture of the screen.

import { Terminal } from "../vendor/xterm/xterm.mjs";
import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { SearchAddon } from "../vendor/xterm/addon-search.mjs";
import { SerializeAddon } from "../vendor/xterm/addon-serialize.mjs";
import { UnicodeGraphemesAddon } from "../vendor/xterm/addon-unicode-graphemes.mjs";
import { WebLinksAddon } from "../vendor/xterm/addon-web-links.mjs";
import { WebglAddon } from "../vendor/xterm/addon-webgl.mjs";
import { post } from "./actions.js";
import { ask } from "./ask.js";
import { copyText } from "./copy.js";
import { clone, meta, recall, remember } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";
import { placeBeside } from "./menu.js";
import { CODES, Link } from "./socket.js";
import { controlled, keySequence, lineCount, pasteable } from "./terminal-keys.js";
import { toast } from "./toast.js";

const CREDIT_EVERY_BYTES = 32 * 1024; // of the 256 KiB the server sends ahead
const FRAME_MAX_BYTES = 16 * 1024; // of what is typed or pasted
const SCROLLBACK_LINES = 10_000;
const KEPT_LINES = [5_000, 1_000, 200]; // of the scrollback, in the picture for a reload: the most that fits
const KEPT_MAX_CHARS = 1_500_000; // of the 5 million a site may store
const FONT_PX = { default: 13, min: 8, max: 28 };
const TYPED_AHEAD_MAX = 4096; // characters kept while the line is down
const RESIZE_WAIT_MS = 60;
const NUDGE_MS = 120;
const TITLE_MAX_CHARS = 120;
const PANES_MAX = 2;

const THEME = {
  background: "#0b0e13", foreground: "#d8dee6", cursor: "#d8dee6", cursorAccent: "#0b0e13",
  selectionBackground: "#2f5c96", selectionInactiveBackground: "#2a3a4d",
  black: "#2a323c", red: "#ff7b72", green: "#56d08a", yellow: "#e3b341", blue: "#79b8ff", magenta: "#d2a8ff", cyan: "#56d4dd", white: "#c9d1d9",
  brightBlack: "#7d8794", brightRed: "#ffa198", brightGreen: "#7ee2a8", brightYellow: "#f2cc60", brightBlue: "#a5d0ff", brightMagenta: "#e2c5ff", brightCyan: "#8ae6ed", brightWhite: "#ffffff",
};
const FOUND = { matchBackground: "#6b5200", matchOverviewRuler: "#e3b341", activeMatchBackground: "#ffb74a", activeMatchColorOverviewRuler: "#ffffff" };

const root = document.querySelector("[data-terminals]");
const container = root.dataset.terminals;
const store = `terminals:${container}`;
const encoder = new TextEncoder();
const panes = [];

// xterm writes its own style elements; the page's policy lets them in by this page's nonce only.
const nonce = document.querySelector("script[nonce]")?.nonce;
const createElement = document.createElement.bind(document);
document.createElement = (name, options) => {
  const element = createElement(name, options);
  if (name === "style" && nonce) element.nonce = nonce;
  return element;
};

const openLink = (event, uri) => {
  if (!/^https?:\/\//i.test(uri)) return;
  event.preventDefault();
  window.open(uri, "_blank", "noopener,noreferrer");
};

// The server names sockets from its own root; behind a proxy's sub-path the page knows better.
function below(path) {
  const base = meta("webdock-base");
  return path.startsWith(base) ? path : base + path.replace(/^\//, "");
}

const monospace = () => getComputedStyle(document.documentElement).getPropertyValue("--mono").trim();
const fontSize = () => Math.min(FONT_PX.max, Math.max(FONT_PX.min, Number(recall("terminal-font")) || FONT_PX.default));

class Pane {
  constructor() {
    this.element = clone("pane");
    this.menu = this.element.querySelector("[data-menu]");
    this.sticky = { ctrl: false, alt: false };
    this.uncredited = 0;
    this.typedAhead = "";
    this.watching = false;
    this.over = false;
    root.append(this.element);
    this.makeTerminal();
    this.listen();
  }

  part(name) {
    return this.element.querySelector(`[data-${name}]`);
  }

  makeTerminal() {
    const term = new Terminal({
      allowProposedApi: true, // unicode versions and search decorations
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fontFamily: monospace(),
      fontSize: fontSize(),
      lineHeight: 1.15,
      linkHandler: { activate: openLink },
      macOptionIsMeta: true,
      minimumContrastRatio: 3,
      screenReaderMode: recall("terminal-reader") === "1",
      scrollback: SCROLLBACK_LINES,
      theme: THEME,
    });
    this.fit = new FitAddon();
    this.search = new SearchAddon({ highlightLimit: 500 });
    this.serialize = new SerializeAddon();
    term.loadAddon(this.fit);
    term.loadAddon(this.search);
    term.loadAddon(this.serialize);
    term.loadAddon(new WebLinksAddon(openLink));
    term.loadAddon(new UnicodeGraphemesAddon());
    term.open(this.part("screen"));
    this.term = term;
    this.drawFast();
    this.fitNow();
  }

  // WebGL where it is; a lost context (laptop sleep, too many tabs) falls back to the DOM without a word.
  drawFast() {
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      this.term.loadAddon(webgl);
    } catch {
      // the DOM renderer is in place already
    }
  }

  // -- size --

  fitNow() {
    const screen = this.part("screen");
    if (screen.clientWidth < 40 || screen.clientHeight < 20) return;
    this.fit.fit();
    this.part("grid").textContent = `${this.term.cols}×${this.term.rows}`;
  }

  sendSize() {
    if (!this.watching) this.link?.send({ type: "resize", cols: this.term.cols, rows: this.term.rows });
  }

  // One row less and back: a program that draws the whole screen draws it anew after a loss or a reload.
  nudge() {
    const { cols, rows } = this.term;
    if (this.watching || rows < 3) return;
    this.link.send({ type: "resize", cols, rows: rows - 1 });
    setTimeout(() => this.sendSize(), NUDGE_MS);
  }

  setFont(px) {
    const size = Math.min(FONT_PX.max, Math.max(FONT_PX.min, px));
    remember("terminal-font", size === FONT_PX.default ? null : String(size));
    for (const pane of panes) {
      pane.term.options.fontSize = size;
      pane.fitNow();
    }
  }

  // -- session --

  async open(kind) {
    this.reset();
    this.state("accent", gettext("opening"));
    const fields = new URLSearchParams({ kind, cols: this.term.cols, rows: this.term.rows });
    const answer = await post(root.dataset.open, fields);
    if (!answer.ok || !answer.websocket) {
      this.state("bad", gettext("not open"));
      return this.note("bad", answer.message || gettext("The terminal could not be opened."), gettext("Try again"), () => this.open(kind));
    }
    this.join({ session: answer.session, websocket: answer.websocket, title: answer.title, kind });
  }

  // A session of this person that no window shows any more.
  resume({ session, kind, name }) {
    this.reset();
    this.join({ session, websocket: `/ws/terminal/${session}/`, title: name, kind, again: true });
  }

  join(session, picture = "") {
    this.session = session;
    this.again = Boolean(picture || session.again); // it was on a screen before
    this.watching = session.kind === "attach" && !session.control;
    this.over = false;
    this.note();
    this.title(session.title);
    this.mode();
    if (picture) this.term.write(picture);
    this.link?.stop();
    this.link = new Link(below(session.websocket), {
      bytes: (data) => this.write(data),
      text: (message) => this.control(message),
      state: (state, detail) => this.follow(state, detail),
    }, { banner: false });
    keep();
  }

  reset() {
    this.link?.stop();
    this.link = null;
    this.over = false;
    this.uncredited = 0;
    this.typedAhead = "";
    this.term.reset();
    this.note();
  }

  write(data) {
    const link = this.link;
    this.term.write(data, () => {
      this.uncredited += data.length;
      if (this.uncredited < CREDIT_EVERY_BYTES || link !== this.link) return;
      if (link.send({ type: "credit", bytes: this.uncredited })) this.uncredited = 0;
    });
  }

  control(message) {
    if (message.type === "control") {
      this.watching = false;
      this.session.control = true;
      this.state("ok", gettext("connected"));
      this.mode();
      this.isReady = true;
      this.sendTypedAhead();
      keep();
    } else if (message.type === "ready") {
      this.restored = false;
      this.term.options.convertEol = message.tty === false; // no terminal inside: lines end without a return
      this.title(message.title ?? this.session.title);
      this.state("ok", this.watching ? gettext("watching") : gettext("connected"));
      this.mode();
      this.sendSize();
      if (this.again) this.nudge();
      this.again = true;
      // A new line only looks on; whoever had control takes it again before what was typed goes out.
      if (this.session.kind === "attach" && this.session.control) return this.link.send({ type: "control" });
      this.isReady = !this.watching;
      this.sendTypedAhead();
    } else if (message.type === "exit") {
      this.ended(Number.isInteger(message.code) ? interpolate(gettext("The session ended with code %s."), [message.code]) : gettext("The session ended."));
    } else if (message.type === "error") {
      this.note("bad", message.message);
    }
  }

  // The line's state stands in the bar, never over the text; what is typed while it is down is kept and sent
  // once, when the same session answers again.
  follow(state, detail) {
    if (this.over) return;
    if (state !== "open") this.isReady = false;
    if (state === gettext("connecting")) this.state("accent", gettext("connecting"));
    else if (state === "open") {
      this.uncredited = 0;
      this.state("ok", this.watching ? gettext("watching") : gettext("connected"));
    } else if (state === "waiting") {
      const seconds = Math.max(1, Math.round(detail.delay / 1000));
      this.state("warn", interpolate(gettext("reconnecting in %s s, typing waits"), [seconds]));
    } else if (state === "stopped") this.stopped(detail);
    this.mode();
  }

  stopped({ code, reason }) {
    if (this.restored && code === CODES.gone) {
      this.restored = false;
      return this.open(this.session.kind); // the kept session is gone: a new one takes its place
    }
    this.ended(reason || gettext("The session is over."));
  }

  ended(text) {
    this.over = true;
    this.link?.stop();
    this.state("", gettext("ended"));
    this.mode();
    this.lastWords = text;
    this.offerShell();
    this.session = null;
    keep();
  }

  // Only a running container can give a new one.
  offerShell() {
    if (root.dataset.state === "running") this.note("", this.lastWords, gettext("New shell"), () => this.open("shell"));
    else this.note("", this.lastWords);
  }

  // -- what is shown around the screen --

  state(tone, words) {
    const element = this.part("line-state");
    element.dataset.tone = tone;
    element.textContent = words;
  }

  title(text) {
    this.part("title").textContent = (text || gettext("Terminal")).slice(0, TITLE_MAX_CHARS);
  }

  note(tone, text, button, act) {
    const element = this.part("note");
    element.hidden = !text;
    if (!text) return;
    element.dataset.tone = tone;
    this.part("note-text").textContent = text;
    const action = this.part("note-action");
    action.hidden = !button;
    action.textContent = button ?? "";
    action.onclick = act ?? null;
  }

  mode() {
    this.term.options.disableStdin = this.watching || this.over;
    this.element.dataset.mode = this.watching ? "watch" : "type";
    this.element.querySelector('[data-do="control"]').hidden = !this.watching || this.over;
    this.element.querySelector('[data-do="end"]').hidden = this.over || this.watching || !this.session;
  }

  // -- typing --

  type(text) {
    if (this.watching || this.over) return;
    let typed = text;
    if (this.sticky.ctrl && typed.length === 1) typed = controlled(typed);
    if (this.sticky.alt && typed.length === 1) typed = `\x1b${typed}`;
    this.hold("ctrl", false);
    this.hold("alt", false);
    this.send(typed);
  }

  send(text) {
    if (this.isReady && this.link?.isOpen) this.sendBytes(encoder.encode(text));
    else if (this.typedAhead.length + text.length <= TYPED_AHEAD_MAX) this.typedAhead += text;
    else toast(gettext("The line is down and what was typed ahead is full: this was not taken."), "warn");
  }

  sendTypedAhead() {
    const text = this.typedAhead;
    this.typedAhead = "";
    if (text) this.send(text);
  }

  sendBytes(bytes) {
    for (let at = 0; at < bytes.length; at += FRAME_MAX_BYTES) this.link.send(bytes.subarray(at, at + FRAME_MAX_BYTES));
  }

  hold(key, on) {
    this.sticky[key] = on;
    const name = key === "ctrl" ? "Control" : "Alt";
    this.element.querySelector(`.key-bar [data-key="${name}"]`).setAttribute("aria-pressed", String(on));
  }

  async paste(text) {
    const clean = pasteable(text);
    if (!clean || this.term.options.disableStdin) return;
    const lines = lineCount(clean);
    const guarded = lines > 1 || clean.endsWith("\n");
    if (guarded && !this.term.modes.bracketedPasteMode) {
      const sure = await ask("ask-paste", { count: lines, text: clean.slice(0, 4000) });
      if (!sure) return this.term.focus();
    }
    this.term.paste(clean);
    this.term.focus();
  }

  async pasteFromClipboard() {
    try {
      await this.paste(await navigator.clipboard.readText());
    } catch {
      toast(gettext("The browser did not let this page read the clipboard. Use its own paste."), "warn");
    }
  }

  press(key) {
    if (key === "Control" || key === "Alt") {
      const name = key === "Control" ? "ctrl" : "alt";
      return this.hold(name, !this.sticky[name]);
    }
    if (key === "Paste") return this.pasteFromClipboard();
    const sequence = keySequence(key, { application: this.term.modes.applicationCursorKeysMode, ...this.sticky });
    this.hold("ctrl", false);
    this.hold("alt", false);
    if (!this.term.options.disableStdin) this.send(sequence);
  }

  // -- find --

  showFind(on) {
    this.part("find-bar").hidden = !on;
    if (on) {
      this.part("find").focus();
      this.part("find").select();
    } else {
      this.search.clearDecorations();
      this.term.focus();
    }
    this.fitNow();
  }

  findNext(by) {
    const words = this.part("find").value;
    const options = { decorations: FOUND };
    if (!words) return this.search.clearDecorations();
    if (by > 0) this.search.findNext(words, options);
    else this.search.findPrevious(words, options);
  }

  // -- buttons and keys --

  async do(name, button) {
    const act = {
      resume: () => this.resume(button.dataset),
      find: () => this.showFind(this.part("find-bar").hidden),
      "find-on": () => this.findNext(1),
      "find-back": () => this.findNext(-1),
      "find-close": () => this.showFind(false),
      smaller: () => this.setFont(fontSize() - 1),
      bigger: () => this.setFont(fontSize() + 1),
      copy: () => this.copySelection(),
      paste: () => this.pasteFromClipboard(),
      clear: () => this.term.clear(),
      reader: () => setChoice("reader", !choice("reader")),
      "copy-on-select": () => setChoice("copy-on-select", !choice("copy-on-select")),
      fullscreen: () => this.fullScreen(),
      split: () => split(),
      close: () => closePane(this),
      attach: () => this.open("attach"),
      shell: () => this.open("shell"),
      control: () => this.takeControl(),
      end: () => this.end(),
      settings: () => this.showMenu(),
    }[name];
    await act?.();
  }

  showMenu() {
    if (this.menu.matches(":popover-open")) return this.menu.hidePopover();
    this.menu.showPopover();
    placeBeside(this.menu, this.element.querySelector('[data-do="settings"]'));
  }

  async fullScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.element.requestFullscreen();
    this.term.focus();
  }

  async takeControl() {
    if (!(await ask("ask-control", { name: root.dataset.name }))) return;
    this.link?.send({ type: "control" });
    this.term.focus();
  }

  async end() {
    if (!(await ask("ask-end", { name: root.dataset.name }))) return;
    this.link?.send({ type: "end" });
  }

  copySelection() {
    const text = this.term.getSelection();
    if (text) copyText(text);
    else toast(gettext("Nothing is selected."));
    this.term.focus();
  }

  // Keys of ours; everything else belongs to the program in the container.
  key(event) {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return true;
    const name = { F: "find", C: "copy", V: "paste", ENTER: "fullscreen", "+": "bigger", _: "smaller" }[event.key.toUpperCase()];
    if (!name) return true;
    event.preventDefault();
    this.do(name);
    return false;
  }

  listen() {
    const { term, element } = this;
    term.onData((text) => this.type(text));
    term.onBinary((text) => {
      if (!term.options.disableStdin && this.isReady) this.sendBytes(Uint8Array.from(text, (char) => char.charCodeAt(0)));
    });
    term.onTitleChange((text) => this.title(text));
    term.onResize(() => {
      clearTimeout(this.resizing);
      this.resizing = setTimeout(() => this.sendSize(), RESIZE_WAIT_MS);
    });
    term.onSelectionChange(() => {
      clearTimeout(this.selecting);
      if (!choice("copy-on-select") || !term.hasSelection()) return;
      this.selecting = setTimeout(() => navigator.clipboard?.writeText(term.getSelection()).catch(() => {}), 250);
    });
    term.attachCustomKeyEventHandler((event) => this.key(event));
    this.search.onDidChangeResults(({ resultIndex, resultCount }) => {
      this.part("found").textContent = resultCount ? interpolate(gettext("%(at)s of %(total)s"), { at: resultIndex + 1, total: resultCount }) : this.part("find").value ? gettext("nothing found") : "";
    });
    const screen = this.part("screen");
    screen.addEventListener("paste", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.paste(event.clipboardData?.getData("text/plain") ?? "");
    }, { capture: true });
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (!button) return;
      if (button.closest("[data-menu]")) this.menu.hidePopover();
      this.do(button.dataset.do, button);
    });
    const bar = element.querySelector(".key-bar");
    bar.addEventListener("pointerdown", (event) => event.preventDefault()); // the on-screen keyboard stays
    bar.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.press(button.dataset.key);
    });
    this.part("find").addEventListener("input", () => this.findNext(1));
    this.part("find").addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.findNext(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") this.showFind(false);
      else return;
      event.preventDefault();
    });
    let frame = 0;
    this.watch = new ResizeObserver(() => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => this.fitNow());
    });
    this.watch.observe(screen);
  }

  close() {
    this.watch.disconnect();
    this.link?.stop();
    this.term.dispose();
    this.element.remove();
  }
}

// -- choices for all panes ------------------------------------------------------------

const choice = (name) => recall(`terminal-${name}`) === "1";

function setChoice(name, on) {
  remember(`terminal-${name}`, on ? "1" : null);
  for (const pane of panes) if (name === "reader") pane.term.options.screenReaderMode = on;
  showChoices();
}

function showChoices() {
  for (const item of root.querySelectorAll("[role=menuitemcheckbox]")) item.setAttribute("aria-checked", String(choice(item.dataset.do)));
}

// -- panes ------------------------------------------------------------------------------

function addPane() {
  const pane = new Pane();
  panes.push(pane);
  arrange();
  pane.term.focus();
  return pane;
}

function split() {
  if (panes.length >= PANES_MAX) return;
  addPane().open("shell");
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

function keep(pictures = false) {
  const kept = panes
    .filter(({ session }) => session)
    .map((pane) => ({ ...pane.session, picture: pictures ? picture(pane) : "" }));
  try {
    if (kept.length) sessionStorage.setItem(store, JSON.stringify(kept));
    else sessionStorage.removeItem(store);
  } catch {
    // storage is off or full: a reload has no picture, or opens a new shell
    if (pictures) keep();
  }
}

function picture(pane) {
  for (const scrollback of KEPT_LINES) {
    const text = pane.serialize.serialize({ scrollback });
    if (text.length <= KEPT_MAX_CHARS) return text;
  }
  return "";
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(store) ?? "[]").slice(0, PANES_MAX);
  } catch {
    return [];
  }
}

addEventListener("pagehide", () => keep(true));

document.addEventListener("webdock:state", ({ detail }) => {
  root.dataset.state = detail.state;
  for (const pane of panes) {
    if (pane.over) pane.offerShell();
    else if (detail.state === "running" && !pane.session) pane.open("shell");
  }
});

// Taken up from the list of terminals: this one, unless the window has it with its picture.
function asked(sessions) {
  const { session, kind, title } = root.dataset;
  if (!session) return sessions;
  history.replaceState(null, "", location.pathname);
  if (sessions.some((one) => one.session === session)) return sessions;
  return [{ session, kind, title, websocket: `/ws/terminal/${session}/`, again: true }];
}

function start() {
  const sessions = asked(kept());
  for (const { picture: screen, ...session } of sessions) {
    const pane = addPane();
    pane.restored = true;
    pane.join(session, screen);
  }
  if (sessions.length) return;
  const pane = addPane();
  if (root.dataset.state === "running") return pane.open("shell");
  pane.state("", gettext("not running"));
  pane.mode();
  pane.note("", gettext("The container is not running. Start it, and a shell opens here."));
}

start();
