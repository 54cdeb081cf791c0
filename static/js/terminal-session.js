// The session a pane shows: opened or taken up again, joined through a Line, shared with others, and its end. It
// lives on the server; this is what the page knows of it.

import { post } from "./actions.js";
import { meta } from "./dom.js";
import { gettext, interpolate } from "./i18n.js";
import { CODES } from "./socket.js";
import { muteAnswers } from "./terminal-answers.js";
import { whyBroke, whyEnded } from "./terminal-closes.js";
import { Line } from "./terminal-line.js";
import { toast } from "./toast.js";

const DOUBT_SHOWN_CHARS = 60;
const WHERE_WAIT_MS = 1500;

// The server names sockets from its own root; behind a proxy's sub-path the page knows better.
function below(path) {
  const base = meta("webdock-base");
  return path.startsWith(base) ? path : base + path.replace(/^\//, "");
}

export class Session {
  // The pane's screen and bar show it; the deck keeps it for a reload.
  constructor(pane) {
    this.pane = pane;
    this.deck = pane.deck;
    this.bar = pane.bar;
    this.about = null; // session, websocket, title, kind; own, owner and may, as the server says; control, once taken
    this.watching = false;
    this.over = false;
    this.restored = false; // taken up by a reload; when it is gone a new shell takes its place
    this.people = [];
    this.told = undefined; // the size the server knows this window has
    this.broke = ""; // why the line is down, until it stands again
    this.why = ""; // the same in the server's words
    this.answers = true; // of several browsers one answers what a program asks its terminal
    this.replaying = false;
  }

  get screen() {
    return this.pane.screen;
  }

  // Once there is a screen.
  show() {
    muteAnswers(this.screen.term, () => this.replaying || !this.answers);
  }

  // The size agreed with those who type too, or of whom this one looks at; undefined: the pane's own.
  bounds() {
    if (this.about?.kind === "attach") return undefined; // nobody gives a main process its size
    return this.watching || this.people.filter(({ types }) => types).length > 1 ? this.agreed : undefined;
  }

  // Each size once: the server answers with the size agreed on, which makes the screen fit again.
  sendSize() {
    const { room } = this.screen;
    if (this.watching || !room || (room.cols === this.told?.cols && room.rows === this.told.rows)) return;
    if (this.line?.tell({ type: "resize", cols: room.cols, rows: room.rows })) this.told = room;
  }

  // -- its beginning --

  async open(kind, more = {}) {
    this.reset();
    this.bar.state("accent", gettext("opening"));
    const { cols, rows } = this.screen.term;
    const answer = await post(this.deck.root.dataset.open, new URLSearchParams({ kind, cols, rows, ...more }));
    if (!answer.ok || !answer.websocket) {
      this.bar.state("bad", gettext("not open"));
      if (answer.debug) return this.bar.note("warn", answer.message, gettext("Debug shell"), () => this.open(kind, { debug: "on" }));
      return this.bar.note("bad", answer.message || gettext("The terminal could not be opened."), gettext("Try again"), () => this.open(kind));
    }
    this.deck.offer(answer.shells);
    this.join({ session: answer.session, websocket: answer.websocket, title: answer.title, kind });
  }

  // One that goes on in the server, of this person or shared with them.
  resume({ session, kind, name }) {
    this.reset();
    this.join({ session, websocket: `/ws/terminal/${session}/`, title: name, kind });
  }

  join(about) {
    this.about = about;
    this.watching = about.kind === "attach" && !about.control;
    this.over = false;
    this.bar.note();
    this.bar.title(about.title);
    this.mode();
    this.line?.stop();
    this.line = new Line(below(about.websocket), {
      begin: (replay) => this.begin(replay),
      bytes: (data, more) => this.write(data, more),
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
    this.about = null;
    this.agreed = undefined;
    this.people = [];
    this.bar.people([]);
    this.screen.term.reset();
    this.bar.note();
    this.mode();
  }

  mode() {
    this.screen.term.options.disableStdin = this.watching || this.over;
    this.bar.mode(this);
  }

  // -- bytes --

  // The server sends the whole screen: it is drawn on an empty one of the size it was written for.
  begin({ bytes, rows, cols }) {
    const { term } = this.screen;
    term.write("", () => {
      term.reset();
      this.replaying = bytes > 0;
      if (rows && cols) term.resize(cols, rows);
    });
  }

  write(data, { last, drawn }) {
    this.screen.term.write(data, () => {
      drawn();
      if (!last) return;
      this.replaying = false;
      this.screen.fit();
    });
  }

  send(text) {
    if (!this.line || this.line.type(text)) return;
    toast(gettext("The line is down and what was typed ahead is full: this was not taken."), "warn");
  }

  // The directory of the program that has the terminal; undefined when the engine cannot tell.
  where() {
    return new Promise((resolve) => {
      this.heardWhere = resolve;
      if (!this.line?.tell({ type: "where" })) resolve();
      setTimeout(resolve, WHERE_WAIT_MS);
    });
  }

  doubt(text) {
    const shown = text.length > DOUBT_SHOWN_CHARS ? `${text.slice(0, DOUBT_SHOWN_CHARS)}…` : text;
    this.bar.note("warn", interpolate(gettext("The server was restarted and does not know whether this arrived: %s"), [shown]), gettext("Send again"), () => {
      this.bar.note();
      this.send(text);
    });
  }

  // -- what the server says --

  control(message) {
    const act = {
      ready: () => this.begun(message),
      people: () => this.met(message),
      may: () => this.allowed(message.types),
      control: () => this.controlled(),
      size: () => {
        this.agreed = { cols: message.cols, rows: message.rows };
        this.screen.fit();
      },
      where: () => this.heardWhere?.(message.path ?? undefined),
      recording: () => this.bar.recording(message.on),
      exit: () => this.ended(Number.isInteger(message.code) ? interpolate(gettext("The session ended with code %s."), [message.code]) : gettext("The session ended.")),
      error: () => (this.why = message.message),
    }[message.type];
    act?.();
  }

  begun(message) {
    this.restored = false;
    this.told = undefined;
    this.broke = this.why = "";
    this.bar.note();
    this.about.own = message.own;
    this.about.owner = message.owner;
    this.about.may = message.may;
    this.watching = !message.types;
    this.screen.term.options.convertEol = message.tty === false; // no terminal inside: lines end without a return
    this.bar.title(message.own ? message.title ?? this.about.title : interpolate(gettext("%s, shared by %s"), [message.title, message.owner]));
    this.stand();
    if (message.lost) this.bar.note("warn", interpolate(gettext("The engine went away while you typed: %s bytes may not have arrived."), [message.lost]));
    // A new line only looks on; whoever had control takes it again before what was typed goes out.
    if (this.about.kind === "attach" && this.about.control) this.line.tell({ type: "control" });
  }

  controlled() {
    this.about.control = true;
    this.allowed(true);
    this.deck.keep();
  }

  allowed(types) {
    this.watching = !types;
    if (this.about.kind !== "attach") this.about.may = types;
    this.stand();
  }

  // The line stands, and it is known who may type.
  stand() {
    this.bar.state("ok", this.watching ? gettext("watching") : gettext("connected"));
    this.mode();
    this.screen.fit();
  }

  met({ people, typed, answers }) {
    this.people = people;
    this.answers = answers;
    this.bar.people(people, typed, this.about);
    this.screen.fit();
  }

  // -- the line, and the end --

  // The line's state stands in the bar, never over the text, and takes no room from the screen: a program would
  // have to draw it anew. What is typed while it is down is kept and sent once, when the same session answers.
  follow(state, detail) {
    if (this.over) return;
    if (state === "waiting") {
      const words = this.watching ? gettext("%s: reconnecting") : gettext("%s: reconnecting, typing waits");
      this.broke = interpolate(words, [whyBroke(detail.code)]);
      this.why ||= detail.reason;
    }
    if (this.broke) this.bar.state("warn", this.broke, this.why);
    else if (state === "connecting") this.bar.state("accent", gettext("connecting"));
    if (state === "stopped") this.stopped(detail);
    else if (state === "login") this.bar.state("warn", whyEnded(detail.code)); // and the page goes to sign in
    this.mode();
  }

  stopped({ code, reason }) {
    if (this.restored && code === CODES.gone) {
      this.restored = false;
      return this.open(this.about.kind); // the kept session is gone: a new one takes its place
    }
    this.ended(reason || this.why || whyEnded(code));
  }

  ended(text) {
    this.over = true;
    this.line?.stop();
    this.bar.state("", gettext("ended"));
    this.bar.people([]);
    this.bar.recording(false);
    this.mode();
    this.lastWords = text;
    this.offerShell();
    this.about = null;
    this.deck.keep();
  }

  // Only a running container can give a new one.
  offerShell() {
    if (this.deck.root.dataset.state === "running") this.bar.note("", this.lastWords, gettext("New shell"), () => this.open("shell"));
    else this.bar.note("", this.lastWords);
  }

  close() {
    this.line?.stop();
  }
}
