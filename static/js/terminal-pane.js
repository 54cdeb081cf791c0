// One terminal on the page: xterm, its bar and menu, and what is typed and pasted. xterm decodes the bytes, so a
// character cut by a frame is whole again. The session itself lives on the server and comes through a Line.

import { Terminal } from "../vendor/xterm/xterm.mjs";
import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { SearchAddon } from "../vendor/xterm/addon-search.mjs";
import { UnicodeGraphemesAddon } from "../vendor/xterm/addon-unicode-graphemes.mjs";
import { WebLinksAddon } from "../vendor/xterm/addon-web-links.mjs";
import { WebglAddon } from "../vendor/xterm/addon-webgl.mjs";
import { post } from "./actions.js";
import { ask } from "./ask.js";
import { copyText } from "./copy.js";
import { clone, make, meta, place, recall, remember } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";
import { placeBeside } from "./menu.js";
import { CODES } from "./socket.js";
import { muteAnswers } from "./terminal-answers.js";
import { controlled, keySequence, lineCount, pasteable } from "./terminal-keys.js";
import { Line } from "./terminal-line.js";
import { themeOf } from "./terminal-themes.js";
import { toast } from "./toast.js";

const SCROLLBACK_LINES = 10_000;
const FONT_PX = { default: 13, min: 8, max: 28 };
const RESIZE_WAIT_MS = 60;
const TITLE_MAX_CHARS = 120;
const FOUND = { matchBackground: "#6b5200", matchOverviewRuler: "#e3b341", activeMatchBackground: "#ffb74a", activeMatchColorOverviewRuler: "#ffffff" };

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
const chosen = (name) => recall(`terminal-${name}`) === "1";

export class Pane {
  constructor(deck) {
    this.deck = deck;
    this.element = clone("pane");
    this.menu = this.element.querySelector("[data-menu]");
    this.sticky = { ctrl: false, alt: false };
    this.watching = false;
    this.over = false;
    this.people = [];
    this.answers = true; // of several browsers one answers what a program asks its terminal
    this.replaying = false;
    deck.root.append(this.element);
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
      screenReaderMode: chosen("reader"),
      scrollback: SCROLLBACK_LINES,
      theme: themeOf(recall("terminal-theme")),
    });
    this.fit = new FitAddon();
    this.search = new SearchAddon({ highlightLimit: 500 });
    term.loadAddon(this.fit);
    term.loadAddon(this.search);
    term.loadAddon(new WebLinksAddon(openLink));
    term.loadAddon(new UnicodeGraphemesAddon());
    term.open(this.part("screen"));
    this.term = term;
    muteAnswers(term, () => this.replaying || !this.answers);
    term.parser.registerOscHandler(7, (text) => this.noteDirectory(text));
    this.paint();
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

  // The screen is as large as the pane; when others type too, or one only looks on, as the smallest of those
  // who type: then it stands in the middle of the pane.
  fitNow() {
    const screen = this.part("screen");
    if (screen.clientWidth < 40 || screen.clientHeight < 20) return;
    const room = this.fit.proposeDimensions();
    if (!room || !room.cols || !room.rows) return;
    this.room = room;
    const shared = this.agreed && (this.watching || this.people.filter(({ types }) => types).length > 1);
    const { cols, rows } = shared ? this.agreed : room;
    if (cols !== this.term.cols || rows !== this.term.rows) this.term.resize(cols, rows);
    this.element.toggleAttribute("data-smaller", cols < room.cols || rows < room.rows);
    this.part("grid").textContent = `${cols}×${rows}`;
    clearTimeout(this.resizing);
    this.resizing = setTimeout(() => this.sendSize(), RESIZE_WAIT_MS);
  }

  sendSize() {
    if (!this.watching && this.room) this.line?.tell({ type: "resize", cols: this.room.cols, rows: this.room.rows });
  }

  setFont(px) {
    const size = Math.min(FONT_PX.max, Math.max(FONT_PX.min, px));
    remember("terminal-font", size === FONT_PX.default ? null : String(size));
    for (const pane of this.deck.panes) {
      pane.term.options.fontSize = size;
      pane.fitNow();
    }
  }

  paint() {
    const theme = themeOf(recall("terminal-theme"));
    this.term.options.theme = theme;
    this.element.style.setProperty("--screen", theme.background);
  }

  // -- session --

  async open(kind, more = {}) {
    this.reset();
    this.state("accent", gettext("opening"));
    const fields = new URLSearchParams({ kind, cols: this.term.cols, rows: this.term.rows, ...more });
    const answer = await post(this.deck.root.dataset.open, fields);
    if (!answer.ok || !answer.websocket) {
      this.state("bad", gettext("not open"));
      if (answer.debug) return this.note("warn", answer.message, gettext("Debug shell"), () => this.open(kind, { debug: "on" }));
      return this.note("bad", answer.message || gettext("The terminal could not be opened."), gettext("Try again"), () => this.open(kind));
    }
    this.join({ session: answer.session, websocket: answer.websocket, title: answer.title, kind });
  }

  // A session that goes on in the server, of this person or shared with them.
  resume({ session, kind, name }) {
    this.reset();
    this.join({ session, websocket: `/ws/terminal/${session}/`, title: name, kind });
  }

  join(session) {
    this.session = session;
    this.watching = session.kind === "attach" && !session.control;
    this.over = false;
    this.note();
    this.title(session.title);
    this.mode();
    this.line?.stop();
    this.line = new Line(below(session.websocket), {
      begin: (replay) => this.begin(replay),
      bytes: (data, about) => this.write(data, about),
      control: (message) => this.control(message),
      state: (state, detail) => this.follow(state, detail),
      doubt: (text) => this.doubt(text),
    });
    this.deck.keep();
  }

  reset() {
    this.line?.stop();
    this.line = null;
    this.over = false;
    this.session = null;
    this.agreed = null;
    this.people = [];
    this.showPeople();
    this.term.reset();
    this.note();
    this.mode();
  }

  // The server sends the whole screen: it is drawn on an empty one of the size it was written for.
  begin({ bytes, rows, cols }) {
    this.term.write("", () => {
      this.term.reset();
      this.replaying = bytes > 0;
      if (rows && cols) this.term.resize(cols, rows);
    });
  }

  write(data, { last, drawn }) {
    this.term.write(data, () => {
      drawn();
      if (!last) return;
      this.replaying = false;
      this.fitNow();
    });
  }

  doubt(text) {
    const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
    this.note("warn", interpolate(gettext("The server was restarted and does not know whether this arrived: %s"), [shown]), gettext("Send again"), () => {
      this.note();
      this.send(text);
    });
  }

  control(message) {
    const act = {
      ready: () => this.begun(message),
      people: () => this.met(message),
      may: () => this.allowed(message.types),
      control: () => this.controlled(),
      size: () => {
        this.agreed = { cols: message.cols, rows: message.rows };
        this.fitNow();
      },
      recording: () => this.recording(message),
      exit: () => this.ended(Number.isInteger(message.code) ? interpolate(gettext("The session ended with code %s."), [message.code]) : gettext("The session ended.")),
      error: () => this.note("bad", message.message),
    }[message.type];
    act?.();
  }

  begun(message) {
    this.restored = false;
    this.note();
    this.session.own = message.own;
    this.session.may = message.may;
    this.watching = !message.types;
    this.term.options.convertEol = message.tty === false; // no terminal inside: lines end without a return
    this.title(message.own ? message.title ?? this.session.title : interpolate(gettext("%s, shared by %s"), [message.title, message.owner]));
    this.state("ok", this.watching ? gettext("watching") : gettext("connected"));
    this.mode();
    this.fitNow();
    if (message.lost) this.note("warn", interpolate(gettext("The engine went away while you typed: %s bytes may not have arrived."), [message.lost]));
    // A new line only looks on; whoever had control takes it again before what was typed goes out.
    if (this.session.kind === "attach" && this.session.control) this.line.tell({ type: "control" });
  }

  controlled() {
    this.session.control = true;
    this.allowed(true);
    this.deck.keep();
  }

  allowed(types) {
    this.watching = !types;
    if (this.session.kind !== "attach") this.session.may = types;
    this.state("ok", types ? gettext("connected") : gettext("watching"));
    this.mode();
    this.fitNow();
  }

  met({ people, typed, answers }) {
    this.people = people;
    this.answers = answers;
    this.typist = typed;
    this.showPeople();
    this.fitNow();
  }

  showPeople() {
    const place = this.part("people");
    place.hidden = this.people.length < 2;
    place.replaceChildren(...this.people.map(({ name, types }) => {
      const words = types ? (name === this.typist ? gettext("typed last") : gettext("may type")) : gettext("looks on");
      const chip = make("span", "chip", make("bdi", "", name), ` ${words}`);
      chip.toggleAttribute("data-typed", name === this.typist);
      return chip;
    }));
  }

  recording({ on }) {
    this.element.toggleAttribute("data-recording", on);
    this.part("recording").hidden = !on;
    const item = this.element.querySelector('[data-do="record"]');
    if (item) item.setAttribute("aria-checked", String(on));
  }

  // The line's state stands in the bar, never over the text; what is typed while it is down is kept and sent
  // once, when the same session answers again.
  follow(state, detail) {
    if (this.over) return;
    if (state === "connecting") this.state("accent", gettext("connecting"));
    else if (state === "open") {
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
    this.line?.stop();
    this.state("", gettext("ended"));
    this.mode();
    this.lastWords = text;
    this.offerShell();
    this.session = null;
    this.deck.keep();
  }

  // Only a running container can give a new one.
  offerShell() {
    if (this.deck.root.dataset.state === "running") this.note("", this.lastWords, gettext("New shell"), () => this.open("shell"));
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
    const { kind, own = true, may = true } = this.session ?? {};
    this.element.querySelector('[data-do="control"]').hidden = kind !== "attach" || !may || !this.watching || this.over;
    for (const name of ["end", "share", "record"]) {
      const button = this.element.querySelector(`[data-do="${name}"]`);
      if (button) button.hidden = this.over || !this.session || !own || (name === "end" && this.watching);
    }
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
    if (!this.line || this.line.type(text)) return;
    toast(gettext("The line is down and what was typed ahead is full: this was not taken."), "warn");
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
      reader: () => this.deck.choose("reader", chosen("reader") ? null : "1"),
      "copy-on-select": () => this.deck.choose("copy-on-select", chosen("copy-on-select") ? null : "1"),
      theme: () => this.deck.choose("theme", button.dataset.theme),
      share: () => this.share(),
      record: () => this.record(),
      fullscreen: () => this.fullScreen(),
      split: () => this.deck.split(),
      close: () => this.deck.close(this),
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
    if (!(await ask("ask-control", { name: this.deck.root.dataset.name }))) return;
    this.line?.tell({ type: "control" });
    this.term.focus();
  }

  async end() {
    if (!(await ask("ask-end", { name: this.deck.root.dataset.name }))) return;
    this.line?.tell({ type: "end" });
  }

  async share() {
    const answer = await ask("ask-share", { name: this.session.title });
    if (answer) this.say(await post(place(`terminals/${this.session.session}/share/`), answer));
    this.term.focus();
  }

  async record() {
    const on = this.element.hasAttribute("data-recording");
    this.say(await post(place(`terminals/${this.session.session}/record/`), new URLSearchParams({ on: on ? "" : "on" })));
    this.term.focus();
  }

  say(answer) {
    toast(answer.message || gettext("That did not work."), answer.ok ? "ok" : "bad");
  }

  // Where the shell is, when it says so: file://host/path.
  noteDirectory(text) {
    const path = /^file:\/\/[^/]*(\/[^\0]*)$/.exec(text)?.[1];
    try {
      if (path) this.directory = decodeURIComponent(path);
    } catch {
      // not a path after all
    }
    return true;
  }

  async bringIn(files) {
    if (!files.length || this.over) return;
    const names = [...files].map(({ name }) => name).join(", ");
    const answer = await ask("ask-upload", { name: names.slice(0, 200), path: this.directory ?? this.deck.root.dataset.directory });
    if (!answer) return this.term.focus();
    for (const file of files) {
      const form = new FormData();
      form.set("path", answer.get("path"));
      form.set("file", file);
      this.say(await post(this.deck.root.dataset.upload, form));
    }
    this.term.focus();
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
      if (!term.options.disableStdin) this.send(Uint8Array.from(text, (char) => char.charCodeAt(0)));
    });
    term.onTitleChange((text) => this.title(text));
    term.onSelectionChange(() => {
      clearTimeout(this.selecting);
      if (!chosen("copy-on-select") || !term.hasSelection()) return;
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
    screen.addEventListener("dragover", (event) => {
      if (![...event.dataTransfer.items].some(({ kind }) => kind === "file")) return;
      event.preventDefault();
      element.dataset.drop = "";
    });
    for (const name of ["dragleave", "drop"]) screen.addEventListener(name, () => delete element.dataset.drop);
    screen.addEventListener("drop", (event) => {
      event.preventDefault();
      this.bringIn([...event.dataTransfer.files]);
    });
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (!button) return;
      if (button.closest("[data-menu]")) this.menu.hidePopover();
      this.do(button.dataset.do, button);
    });
    const bar = element.querySelector(".key-bar");
    for (const part of [bar, this.part("note"), element.querySelector(".panel-head")]) {
      // The on-screen keyboard stays, and on a phone, where the focus makes room, nothing moves under a finger.
      part.addEventListener("pointerdown", (event) => event.target.closest("button") && event.preventDefault());
    }
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
    this.line?.stop();
    this.term.dispose();
    this.element.remove();
  }
}
